"""Raising the rate of the wire: the firmware's divider as its register has it, and a wire that reads bits by it."""

from __future__ import annotations

import os
import select
import subprocess
import termios
import time
import tty
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest
from device.fake import FakeDevice
from device.rfc2217_server import Rfc2217Server
from device.wire_model import Monitor, Wire, received
from graphs import quantized, random_codes, random_graph

from edge_tqs.boards.board import Board, load_board
from edge_tqs.boards.emulator import direct_boot, emulator
from edge_tqs.boards.firmware import Image, assemble, compile_firmware
from edge_tqs.device import messages as wire
from edge_tqs.device.baud import RATES, raise_baud
from edge_tqs.device.device import Device, Times, open_port
from edge_tqs.device.frames import Frame, FrameReader
from edge_tqs.device.messages import Baud, BaudReply, Hello
from edge_tqs.device.rollout import run_rollout
from edge_tqs.device.serial_port import SerialPort, has_rate
from edge_tqs.emit_c.emit import emit
from edge_tqs.errors import DeviceError, SilentError, UsageError
from edge_tqs.graph.graph import Array, Graph
from edge_tqs.quantization import simulate

#: pyserial's client of RFC 2217 sets up its thread in the old way.
pytestmark = pytest.mark.filterwarnings("ignore:set(Daemon|Name).. is deprecated:DeprecationWarning")

FIRST = 115_200
HASH = "ba" * 32
HORIZON = 30
#: For what is expected to go well, however busy the machine is; and for what is not, where each silence costs a wait.
PATIENT = Times(hello=20, hello_repeat=2, answer=10, step=10)
QUICK = Times(hello=10, hello_repeat=0.25, answer=1, step=1)


@dataclass(frozen=True)
class Divider:
    """How a board's rate follows from the registers of its UART. ``rate``: of their values, by the manual."""

    registers: tuple[int, ...]
    rate: Callable[..., float]
    #: the values that the manual's formula gives, worked out by hand
    values: dict[int, tuple[int, ...]]


def pl011(base: int, clock: int, values: dict[int, tuple[int, ...]]) -> Divider:
    """PL011 TRM, 3.3.6: UARTCLK / (16 * (IBRD + FBRD / 64))."""
    return Divider((base + 0x24, base + 0x28), lambda i, f: clock / (16 * (i + f / 64)), values)


def nrf51(value: int) -> float:
    """nRF51 Reference Manual, BAUDRATE: baud * 2^32 / 16 MHz, its lowest 12 bits 0.

    QEMU takes no value while the UART is disabled, as it is when the driver sets the first rate: it shows a reset's.
    """
    return FIRST if value == 0x0400_0000 else value * 16e6 / 2**32


DIVIDERS = {
    # DDI 0479, APB UART: 25 MHz / BAUDDIV
    "mps2-an385": Divider((0x4000_4010,), lambda d: 25e6 / d, {FIRST: (217,), 230_400: (109,), 921_600: (27,)}),
    # 50 MHz: 27.1267, 13.5634 and 3.3908, fractions in 64ths
    "lm3s6965evb": pl011(0x4000_C000, 50_000_000, {FIRST: (27, 8), 230_400: (13, 36), 921_600: (3, 25)}),
    # RM0090: 84 MHz (APB2) / BRR; RM0041: 24 MHz / BRR
    "netduinoplus2": Divider((0x4001_1008,), lambda d: 84e6 / d, {FIRST: (729,), 230_400: (365,), 921_600: (91,)}),
    "stm32vldiscovery": Divider((0x4001_3808,), lambda d: 24e6 / d, {FIRST: (208,), 230_400: (104,), 921_600: (26,)}),
    "qemu-microbit": Divider(
        (0x4000_2524,), nrf51, {FIRST: (0x01D7_E000,), 230_400: (0x03AF_B000,), 921_600: (0x0EBE_E000,)}
    ),
    # Linux' own driver of a PL011 of 24 MHz: 13.0208, 6.5104 and 1.6276
    "qemu-virt-aarch64": pl011(0x0900_0000, 24_000_000, {FIRST: (13, 1), 230_400: (6, 33), 921_600: (1, 40)}),
}


@dataclass
class Running:
    """A board in QEMU: its port, its monitor, the model that it runs."""

    port: str
    monitor: Monitor
    divider: Divider
    graph: Graph
    seed: Array = field(init=False)

    def __post_init__(self) -> None:
        shape = (1, self.graph.forecast.window, self.graph.forecast.channels)
        self.seed = random_codes(np.random.default_rng(0), self.graph, shape)

    def values(self) -> tuple[int, ...]:
        return tuple(self.monitor.word(register) for register in self.divider.registers)

    def baud(self) -> float:
        """By its registers; while they are not written yet, after a reset, a rate at which nothing arrives."""
        values = self.values()
        return self.divider.rate(*values) if values[0] else 300.0

    def expect_rollout(self, device: Device) -> None:
        """Bit for bit what the host computes."""
        expected = simulate.integer_rollout(self.graph, self.seed, HORIZON)
        outputs, _, hashes = run_rollout(device, self.seed[0], HORIZON)
        np.testing.assert_array_equal(outputs, expected.outputs[0])
        assert expected.state_hashes is not None
        np.testing.assert_array_equal(hashes, expected.state_hashes[0])


def model() -> Graph:
    rng = np.random.default_rng(12)
    return quantized(rng, random_graph(rng, "lstm"))


def compiled(board: Board, folder: Path) -> Image:
    graph = model()
    generated = emit(graph, HASH, graph.name)
    return compile_firmware(assemble(board, generated.files, generated.kernels, folder))


@contextmanager
def running(name: str, folder: Path) -> Iterator[Running]:
    board = load_board(name)
    assert board.emulator is not None
    with Monitor(folder) as monitor:
        watched = replace(board, emulator=replace(board.emulator, args=(*board.emulator.args, *monitor.arguments)))
        with emulator.start(watched, compiled(board, folder / "firmware").elf) as started:
            yield Running(started.port, monitor, DIVIDERS[name], model())


@pytest.fixture(scope="module")
def an385(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running("mps2-an385", tmp_path_factory.mktemp("an385")) as board:
        yield board


@contextmanager
def wired(board: Running, times: Times = PATIENT, limit: float = 10e6) -> Iterator[tuple[Device, Wire]]:
    """A device at a wire whose board's end has the rate of the board's registers."""
    with Wire(board.port, board.baud, limit) as line, Device(open_port(line.path), times) as device:
        device.require_model(HASH)
        yield device, line


# ------------------------------------------------------------------------------------------------ bits and frames


@pytest.mark.parametrize("by_level", [False, True])
@pytest.mark.parametrize("off", [0.98, 1.0, 1.02])
@pytest.mark.parametrize("rate", RATES)
def test_every_hello_at_a_lower_rate_ends_a_broken_frame(rate: int, off: float, by_level: bool) -> None:
    """PROTOCOL.md: with the next one at the latest. So four of them bring a board back, a second's worth."""
    for sequence in range(1, 256):
        reader = FrameReader()
        heard = received(b"\0" + Hello().frame(sequence), FIRST, rate * off, by_level=by_level)
        assert reader.feed(4 * heard) == []
        assert reader.dropped >= 3


def test_beyond_eight_times_the_rate_a_hello_is_silence() -> None:
    """Every low is a whole 0x00 then: why such rates are not proposed."""
    assert set(received(Hello().frame(1), FIRST, 1_000_000)) == {0}
    with FakeDevice() as fake, Device(open_port(fake.path, 9600), PATIENT) as device:
        assert raise_baud(device, 4_000_000) == 9600
    assert wire.MessageType.BAUD not in {frame.type for frame in fake.requests}


def test_the_model_of_a_receiver_reads_what_a_uart_reads() -> None:
    every = bytes(range(256))
    for off in (0.98, 1.0, 1.02):
        assert received(every, FIRST, FIRST * off) == every
    # eight times as fast: a start bit and 0x01's first bit are 0x80 and idle, its seven zeros one long break
    assert received(b"\x01", FIRST, 8 * FIRST) == b"\x80\x00"
    assert received(b"\x00", FIRST, 2 * FIRST) == b"\x00"
    assert received(b"\x00", FIRST, 2 * FIRST, by_level=True)[0] == 0
    # half as fast: two bits at once
    assert received(b"\xff", 2 * FIRST, FIRST) == b""


def test_a_wire_outlives_what_a_board_says_to_a_closed_port() -> None:
    board, port = os.openpty()
    tty.setraw(port)
    try:
        with Wire(port, lambda: FIRST) as line:
            os.write(board, b"late")
            wait_for(lambda: not select.select([port], [], [], 0)[0])
            with closing(open_port(line.path)) as opened:
                os.write(board, b"heard")
                wait_for(lambda: opened.read(9).endswith(b"heard"))
    finally:
        os.close(board)
        os.close(port)


def test_ports_without_a_rate() -> None:
    with FakeDevice() as fake, Rfc2217Server(fake.path) as server:
        for url, expected in ((fake.path, False), (server.url, True)):
            port = open_port(url)
            assert has_rate(port) == expected
            port.close()


# -------------------------------------------------------------------------------------------- every driver's divider


@pytest.mark.emulated
@pytest.mark.parametrize("name", [name for name in DIVIDERS if name != "mps2-an385"])
def test_the_divider_of_every_driver_follows(name: str, tmp_path: Path) -> None:
    with running(name, tmp_path) as board:
        expect_both_rates(board)


@pytest.mark.emulated
def test_the_divider_of_the_cmsdk_follows(an385: Running) -> None:
    expect_both_rates(an385)


def expect_both_rates(board: Running) -> None:
    """Raised, the registers hold what the manual says, and the run is exact; closed, they are at the first rate."""
    values = board.divider.values
    with wired(board):
        assert abs(board.baud() / FIRST - 1) < 0.02
    for rate in (921_600, 230_400):
        with wired(board) as (device, line):
            assert raise_baud(device, rate) == rate
            assert board.values() == values[rate]
            board.expect_rollout(device)
            assert board.values() == values[rate]
            assert (line.rates[0][0], line.rates[-1][0]) == (FIRST, rate)
        wait_for(lambda: board.values() == values[FIRST])


def wait_for(what: Callable[[], bool], seconds: float = 5) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.emulated
@pytest.mark.parametrize(
    ("name", "register", "divided"),
    [
        ("bluepill", 0x4001_3808, {FIRST: 556, 921_600: 69}),  # RM0008: 64 MHz / BRR
        # TRM 26: 40 MHz / 921600 is 43 and 6 sixteenths, of 115200 347 and 4; the fraction from bit 20 on
        ("esp32c3", 0x6000_0014, {FIRST: 347 | 4 << 20, 921_600: 43 | 6 << 20}),
    ],
)
def test_the_divider_follows_in_labwired(name: str, register: int, divided: dict[int, int], tmp_path: Path) -> None:
    from labwired import Sim

    board = load_board(name)
    assert board.emulator is not None
    image = compiled(board, tmp_path / "firmware")
    elf = image.elf
    if image.bin is not None and name == "esp32c3":
        elf = tmp_path / "mapped.elf"
        elf.write_bytes(direct_boot.mapped(image.bin.read_bytes(), name))
    with Sim(elf, chip=board.emulator.machine) as sim:

        def ask(message: wire.Message) -> list[Frame]:
            sim.send_bytes(message.frame(1))
            reader = FrameReader()
            for _ in range(200):
                sim.run_for("200us")
                if frames := reader.feed(sim.read_uart_bytes()):
                    sim.run_for("1ms")  # until the rate has changed
                    return list(frames)
            return []

        sim.run_for("2ms")
        assert sim.read_u32(register) == divided[FIRST]
        (answer,) = ask(Baud(921_600))
        assert abs(BaudReply.parse(answer.payload).rate / 921_600 - 1) < 0.02
        assert sim.read_u32(register) == divided[921_600]
        (answer,) = ask(Hello())
        assert wire.HelloReply.parse(answer.payload).board == name
        for _ in range(3):
            sim.send_bytes(b"\x80\x00")
            sim.run_for("1ms")
        assert sim.read_u32(register) == divided[FIRST]


# ------------------------------------------------------------------------------------------------ the board's answers


@pytest.mark.emulated
def test_a_rate_out_of_reach_is_refused_and_changes_nothing(an385: Running) -> None:
    """25 MHz by 16 at least is 1,562,500 baud, and by 2^20 - 1 at most 24; 1/64 off is too much; nothing is no rate."""
    with wired(an385) as (device, _):
        before = an385.values()
        for rate, answered in ((2_000_000, 0), (20, 0), (1_420_000, 0), (0xFFFF_FFFF, 0)):
            frame = device.ask_once(Baud(rate), wire.MessageType.BAUD_REPLY)
            assert frame is not None
            assert BaudReply.parse(frame.payload).rate == answered
        with pytest.raises(DeviceError, match="BAD_LENGTH"):
            device.ask_once(Baud(0), wire.MessageType.BAUD_REPLY)
        assert an385.values() == before


@pytest.mark.emulated
def test_a_board_whose_host_was_killed_is_found_by_its_hello(an385: Running) -> None:
    for rate in RATES:
        port = open_port(an385.port)
        device = Device(port, PATIENT)
        assert raise_baud(device, rate) == rate
        port.close()  # and not the device, which would bring the rate back
        assert abs(an385.baud() / rate - 1) < 0.02
        with wired(an385, QUICK) as (again, line):
            an385.expect_rollout(again)
        assert [round(host / FIRST) for host, _ in line.rates] == [1] * len(line.rates)


@pytest.mark.emulated
def test_a_good_frame_between_broken_ones_keeps_the_rate(an385: Running) -> None:
    with Device(open_port(an385.port), PATIENT) as device:
        assert raise_baud(device, 921_600) == 921_600
        for _ in range(2):
            for _ in range(2):
                device.link.write(b"\x80\x00")
            device.status()
        assert an385.values() == (27,)
        for _ in range(3):
            device.link.write(b"\x80\x00")
        wait_for(lambda: an385.values() == (217,))
        device.status()


# ----------------------------------------------------------------------------------------------- what a host survives


@pytest.mark.emulated
@pytest.mark.parametrize(("limit", "carried"), [(500_000, 460_800), (300_000, 230_400), (200_000, FIRST)])
def test_the_highest_rate_that_the_line_carries_is_found(an385: Running, limit: float, carried: int) -> None:
    with wired(an385, QUICK, limit) as (device, _):
        assert raise_baud(device, 921_600) == carried
        an385.expect_rollout(device)


@pytest.mark.emulated
def test_a_board_that_is_reset_in_mid_run_is_found_at_its_own_rate(an385: Running) -> None:
    events: list[str] = []
    with wired(an385, QUICK) as (device, _):
        device.on_event = events.append
        assert raise_baud(device, 921_600) == 921_600
        device.reset()
        device.push(an385.seed[0])
        an385.monitor.ask("system_reset")
        an385.expect_rollout(device)
        assert events.count("slowdown") == 1
        assert events.count("silence") == 1
        assert device.link.port.baudrate == FIRST
        an385.expect_rollout(device)
    assert events.count("slowdown") == 1


@pytest.mark.emulated
def test_a_line_that_no_longer_carries_the_rate_brings_both_ends_down_once(an385: Running) -> None:
    events: list[str] = []
    with wired(an385, QUICK) as (device, line):
        device.on_event = events.append
        assert raise_baud(device, 921_600) == 921_600
        an385.expect_rollout(device)
        line.limit = 200_000
        an385.expect_rollout(device)
        line.limit = 10e6
        an385.expect_rollout(device)
        assert an385.values() == (217,)
    assert events.count("slowdown") == 1
    assert [rate for rate, _ in groupby(host for host, _ in line.rates)] == [FIRST, 921_600, FIRST]


@pytest.mark.emulated
def test_a_port_that_comes_back_begins_at_the_first_rate(an385: Running) -> None:
    with Wire(an385.port, an385.baud) as line:

        def reopen() -> SerialPort:
            return open_port(line.path)

        with Device(reopen(), QUICK, reopen) as device:
            assert raise_baud(device, 921_600) == 921_600
            assert device.reconnect()
            an385.expect_rollout(device)
            assert device.link.port.baudrate == FIRST
            assert an385.values() == (217,)


def test_firmware_of_before_the_request_stays_as_it_is() -> None:
    with FakeDevice() as fake, Device(open_port(fake.path), PATIENT) as device:
        assert raise_baud(device, 921_600) == FIRST
        assert device.baud is None


def test_a_storm_of_repeats_gives_a_raised_rate_up_once() -> None:
    """Each answer comes at the second asking, so nothing else ends it."""
    events: list[str] = []

    def say(number: int, data: bytes) -> list[bytes]:
        return [] if number % 2 and loud else [data]

    loud = False
    with FakeDevice(say=say) as fake, Device(open_port(fake.path), replace(QUICK, answer=0.05)) as device:
        device.hello()
        device.on_event = events.append
        assert device.link.set_baud(921_600)
        loud = True
        message = r"repeated at 921600 baud; 921600 baud are given up for 115200"
        with pytest.raises(SilentError, match=message):
            [device.status() for _ in range(20)]
        assert device.link.port.baudrate == FIRST
        assert events.count("retry") == 8
        for _ in range(20):
            device.status()
    assert events.count("slowdown") == 1


def test_a_single_repeat_keeps_a_raised_rate() -> None:
    with (
        FakeDevice(say=lambda number, data: [] if number % 40 == 20 else [data]) as fake,
        Device(open_port(fake.path), replace(QUICK, answer=0.05)) as device,
    ):
        device.hello()
        assert device.link.set_baud(921_600)
        for _ in range(200):
            device.status()
        assert device.link.raised


# --------------------------------------------------------------------------------------------------- Linux, commands


@pytest.mark.emulated
def test_a_linux_program_sets_its_terminal(tmp_path: Path) -> None:
    """As at a serial device: whose rate is raised, and back after three broken frames."""
    board = replace(load_board("host"), name="host")
    image = compiled(board, tmp_path / "firmware")
    near, far = os.openpty()
    with ExitStack() as stack:
        stack.callback(os.close, near)
        stack.callback(os.close, far)
        process = subprocess.Popen([image.elf, "--port", os.ttyname(far), "--baud", "57600"])
        stack.callback(process.wait, 5)
        stack.callback(process.terminate)

        def rate() -> int:
            return termios.tcgetattr(near)[5]

        wait_for(lambda: rate() == termios.B57600)
        assert ask(near, Baud(921_600)) == 921_600
        wait_for(lambda: rate() == termios.B921600)
        assert ask(near, Baud(921_601)) == 0
        for _ in range(3):
            os.write(near, b"\x80\x00")
        wait_for(lambda: rate() == termios.B57600)


def ask(near: int, message: Baud) -> int:
    reader, frames = FrameReader(), []
    os.write(near, message.frame(1))
    while not frames:
        frames = list(reader.feed(os.read(near, 4096)))
    return BaudReply.parse(frames[0].payload).rate


def test_the_limit_of_a_board_file(tmp_path: Path) -> None:
    text = load_board("bluepill").path.read_text()
    path = tmp_path / "mine.toml"
    path.write_text(text.replace("baud = 115200", "baud = 115200\nmax_baud = 921_600"))
    uart = load_board(path).uart
    assert uart is not None
    assert uart.max_baud == 921_600
    path.write_text(text.replace("baud = 115200", "baud = 115200\nmax_baud = 57600"))
    with pytest.raises(UsageError, match=r"'uart.max_baud' is below 'uart.baud'"):
        load_board(path)
