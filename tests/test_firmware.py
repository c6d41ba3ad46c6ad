"""Firmware folders of a toy model: built with warnings as errors, then served by each board's emulator."""

from __future__ import annotations

import dataclasses
import os
import re
import select
import shutil
import signal
import struct
import subprocess
import time
import tty
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import serial
from cobs import cobs

from edge_tqs.boards.board import Board, Memory, Uart, list_boards, load_board
from edge_tqs.boards.firmware import Firmware, Image, assemble, check_toolchain, compile_firmware
from edge_tqs.errors import ToolError, UsageError

DEVICE = Path(__file__).parent / "device"
MODEL = {f"model.{end}": (DEVICE / f"toy_model.{end}").read_text() for end in ("c", "h")}
HASH = bytes(range(32))
CHANNELS, WINDOW = 3, 4
BOARDS = [board.name for board in list_boards()]
# Those that one command serves; test_emulator.py runs the others too, whose simulators take seconds to start.
SERVED = ("process", "qemu-user", "qemu-system")
EMULATED = [board.name for board in list_boards() if board.emulator is not None and board.emulator.kind in SERVED]
MICROCONTROLLERS = [board.name for board in list_boards() if board.bare_metal]
UNKNOWN = 0xFFFFFFFF

HELLO, RESET, PUSH, FORECAST, STATUS = range(1, 6)
HELLO_REPLY, ACK, STEP, DONE, STATUS_REPLY, NAK = 0x81, 0x82, 0x84, 0x85, 0x86, 0xFF
BAD_FRAME, UNKNOWN_TYPE, BAD_LENGTH, BAD_VERSION, NOT_READY = range(1, 6)

SEED = [[7, -3, 100], [-128, 127, 0], [1, 2, 3], [50, -60, 70], [0, 0, -1]]


# --- the toy model, as tests/device/toy_model.c says ------------------------------------------------------------------


def wrap(number: int) -> int:
    return (number + 128) % 256 - 128


def toy_step(state: list[int], x: Sequence[int]) -> list[int]:
    """Advances ``state`` in place; the next y."""
    state[:] = [wrap(s + 3 * value + i) for i, (s, value) in enumerate(zip(state, x, strict=True))]
    return [state[(i + 1) % CHANNELS] ^ x[i] for i in range(CHANNELS)]


def toy_rollout(samples: Sequence[Sequence[int]], steps: int) -> list[tuple[list[int], int]]:
    """(y, state hash) of each forecast step after ``samples``."""
    state, y, rollout = [-2] * CHANNELS, [-2] * CHANNELS, []
    for sample in samples:
        y = toy_step(state, sample)
    for step in range(steps):
        if step > 0:
            y = toy_step(state, y)
        rollout.append((y, zlib.crc32(struct.pack("3b", *state))))
    return rollout


# --- a client of a device, independent of edge_tqs.device.messages ----------------------------------------------------


def encode(kind: int, sequence: int, payload: bytes = b"") -> bytes:
    body = struct.pack("<BBH", kind, sequence, len(payload)) + payload
    return bytes(cobs.encode(body + struct.pack("<I", zlib.crc32(body)))) + b"\0"


class Client:
    """Frames over a serial port. Every frame that arrives must be whole."""

    def __init__(self, port: str) -> None:
        self.port = serial.Serial(port, 115200, timeout=10)

    def send(self, kind: int, sequence: int, payload: bytes = b"") -> None:
        self.port.write(encode(kind, sequence, payload))

    def receive(self) -> tuple[int, int, bytes]:
        encoded = self.port.read_until(b"\0")
        assert encoded.endswith(b"\0"), f"no frame, only {encoded!r}"
        raw = bytes(cobs.decode(encoded[:-1]))
        assert zlib.crc32(raw[:-4]) == struct.unpack("<I", raw[-4:])[0]
        assert len(raw) - 8 == struct.unpack_from("<H", raw, 2)[0]
        return raw[0], raw[1], raw[4:-4]

    def ask(self, kind: int, sequence: int, payload: bytes = b"") -> tuple[int, int, bytes]:
        self.send(kind, sequence, payload)
        return self.receive()

    def hello(self) -> bytes:
        """The payload of the HELLO_REPLY; asks until the board has started.

        An emulator drops what it sends before it has seen that its PTY was opened: half a frame may arrive.
        """
        self.port.timeout = 0.5
        raw = b""
        for sequence in range(1, 41):
            self.port.write(b"\0" + encode(HELLO, sequence, b"\3"))
            with suppress(cobs.DecodeError):
                raw = bytes(cobs.decode(self.port.read_until(b"\0").rstrip(b"\0")))
            if raw[:1] == bytes([HELLO_REPLY]) and zlib.crc32(raw[:-4]) == struct.unpack("<I", raw[-4:])[0]:
                break
        else:
            raise AssertionError(f"no HELLO_REPLY, only {raw!r}")
        self.port.timeout = 0.05 if sequence == 1 else 0.3
        while self.port.read(256):  # answers to earlier HELLOs
            pass
        self.port.timeout = 10
        return raw[4:-4]

    def push(self, sequence: int, samples: Sequence[Sequence[int]]) -> tuple[int, int, bytes]:
        codes = [code for sample in samples for code in sample]
        return self.ask(PUSH, sequence, bytes([len(samples)]) + struct.pack(f"{len(codes)}b", *codes))

    def forecast(self, sequence: int, first: int, steps: int) -> list[tuple[list[int], int]]:
        """As toy_rollout, steps ``first`` to the one that DONE ends."""
        self.send(FORECAST, sequence, struct.pack("<HH", first, steps))
        rollout = []
        while (answer := self.receive())[0] == STEP:
            number, _, state_hash, *y = struct.unpack(f"<HII{CHANNELS}b", answer[2])
            assert (answer[1], number) == (sequence, first + len(rollout))
            rollout.append((y, state_hash))
        assert answer == (DONE, sequence, struct.pack("<H", len(rollout)))
        return rollout


def nak(sequence: int, code: int) -> tuple[int, int, bytes]:
    return NAK, sequence, bytes([code])


def ack(sequence: int, pushed: int) -> tuple[int, int, bytes]:
    return ACK, sequence, struct.pack("<I", pushed)


# --- building ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Image]:
    """The toy model for every board, warnings as errors."""
    folder = tmp_path_factory.mktemp("firmware")
    return {
        board.name: compile_firmware(assemble(board, MODEL, (), folder / board.name), extra_cflags="-Werror")
        for board in list_boards()
    }


@pytest.mark.parametrize("name", BOARDS)
def test_every_board_builds_without_a_warning(images: dict[str, Image], name: str) -> None:
    image = images[name]
    log = (image.elf.parent.parent / "build.log").read_text()
    assert "-Werror" in log
    assert "warning" not in log
    assert image.text > 1000
    assert image.bss > 0
    assert 0 < image.largest_frame < 1024
    assert image.largest_frame_function


@pytest.mark.parametrize("name", MICROCONTROLLERS)
def test_sizes_are_those_of_the_files(images: dict[str, Image], name: str) -> None:
    image, board = images[name], load_board(name)
    assert image.bin is not None
    assert image.hex is not None
    assert image.flash_bytes == image.bin.stat().st_size
    assert image.hex.read_text().startswith(":")
    assert image.stack == board.stack_bytes
    sections = subprocess.run(
        [f"{board.toolchain}size", "-A", image.elf], capture_output=True, text=True, check=True
    ).stdout
    sizes = {name: int(size) for name, size in re.findall(r"^\.(\w+)\s+(\d+)", sections, re.MULTILINE)}
    assert (board.boot in {"rp2040", "teensy41"}) == ("boot" in sizes)
    boot = sizes.get("boot", 0)
    code, table = (boot, 0) if board.boot == "rp2040" else (0, boot)
    assert image.text == sizes["text"] + code
    assert image.rodata == sizes["rodata"] + sizes.get("isr_vector", 0) + table
    assert (image.data, image.bss, image.stack) == (sizes["data"], sizes["bss"], sizes["stack"])


def test_the_rom_of_an_rp2350_finds_its_block_behind_the_vectors(images: dict[str, Image]) -> None:
    """RP2350 Datasheet, 5.9.5.1: the minimum Arm IMAGE_DEF, a loop of one block, in the first 4 KB."""
    path = images["pico2"].bin
    assert path is not None
    words = struct.unpack("<1024I", path.read_bytes()[:4096].ljust(4096, b"\0"))
    board = load_board("pico2")
    assert board.flash is not None
    assert board.ram is not None
    assert words[0] == board.ram.origin + 8192
    assert words[1] & 1 == 1
    assert 0 < words[1] - board.flash.origin < path.stat().st_size
    assert words.index(0xFFFFDED3) == 16
    assert words[16:21] == (0xFFFFDED3, 0x10210142, 0x000001FF, 0, 0xAB123579)


def test_the_second_stage_of_an_rp2040_has_the_crc_that_its_rom_wants(images: dict[str, Image]) -> None:
    """RP2040 Datasheet, 2.8.1.3.1: CRC-32 of 252 bytes, not reflected; the image's vectors come after them."""
    path = images["pico"].bin
    assert path is not None
    binary, crc = path.read_bytes(), 0xFFFFFFFF
    for byte in binary[:252]:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ (0x04C11DB7 if crc & 0x80000000 else 0)) & 0xFFFFFFFF
    assert int.from_bytes(binary[252:256], "little") == crc
    stack, reset = (int.from_bytes(binary[at : at + 4], "little") for at in (256, 260))
    assert stack == 0x20000000 + 4096
    assert 0x10000100 <= reset < 0x10000000 + len(binary)


def test_the_protocol_fits_the_smallest_board(images: dict[str, Image]) -> None:
    """All but model and kernels: a figure to notice growth by."""
    assert images["qemu-microbit"].flash_bytes < 3500
    assert images["qemu-microbit"].ram_bytes < 700


@pytest.mark.parametrize("name", BOARDS)
def test_the_bytes_depend_on_the_sources_alone(images: dict[str, Image], name: str, tmp_path: Path) -> None:
    again = compile_firmware(assemble(load_board(name), MODEL, (), tmp_path / "other place"))
    first = images[name]
    assert again.elf.read_bytes() == first.elf.read_bytes()
    if first.bin is not None and again.bin is not None:
        assert again.bin.read_bytes() == first.bin.read_bytes()


def test_make_alone_builds_it(tmp_path: Path) -> None:
    firmware = assemble(load_board("qemu-microbit"), MODEL, (), tmp_path)
    subprocess.run(["make"], cwd=firmware.folder, env={"PATH": os.environ["PATH"]}, check=True, capture_output=True)
    assert {path.name for path in (tmp_path / "build").glob("firmware.*")} >= {"firmware.elf", "firmware.bin"}
    subprocess.run(["make", "clean"], cwd=firmware.folder, check=True, capture_output=True)
    assert not (tmp_path / "build").exists()


def test_flags_of_a_make_above_stay_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAKEFLAGS", "n")  # print only, build nothing
    assert compile_firmware(assemble(load_board("host"), MODEL, (), tmp_path)).elf.exists()


def test_assembling_again_builds_anew(tmp_path: Path) -> None:
    compile_firmware(assemble(load_board("host"), MODEL, (), tmp_path))
    renamed = MODEL | {"model.h": MODEL["model.h"].replace('"toy"', '"another toy"')}
    image = compile_firmware(assemble(load_board("host"), renamed, (), tmp_path))
    assert b"another toy" in image.elf.read_bytes()


def test_a_missing_compiler_brings_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make = shutil.which("make")
    assert make is not None
    (tmp_path / "make").symlink_to(make)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolError, match=r"arm-none-eabi-gcc.* missing") as caught:
        compile_firmware(Firmware(load_board("qemu-microbit"), tmp_path))
    assert "apt install gcc-arm-none-eabi libnewlib-arm-none-eabi" in caught.value.hint
    with pytest.raises(ToolError, match=r"aarch64-linux-gnu-gcc.* missing"):
        check_toolchain(load_board("rpi4"))
    (tmp_path / "make").unlink()
    with pytest.raises(ToolError, match=r"make.* missing"):
        check_toolchain(load_board("host"))


def test_a_compiler_error_is_quoted_and_the_log_kept(tmp_path: Path) -> None:
    broken = MODEL | {"model.c": MODEL["model.c"] + "int x = ;\n"}
    with pytest.raises(ToolError, match=r"model\.c:\d+:\d+: error: expected expression") as caught:
        compile_firmware(assemble(load_board("host"), broken, (), tmp_path))
    assert str(tmp_path / "build.log") in caught.value.hint
    assert "expected expression" in (tmp_path / "build.log").read_text()


def test_a_missing_kernel_is_named(tmp_path: Path) -> None:
    calls = "void tqs_fc_s9(void);\nvoid tqs_graph_reset(int8_t *state) {\n    tqs_fc_s9();\n"
    model = MODEL | {"model.c": MODEL["model.c"].replace("void tqs_graph_reset(int8_t *state) {\n", calls)}
    with pytest.raises(ToolError, match="undefined reference to `tqs_fc_s9'"):
        compile_firmware(assemble(load_board("host"), model, (), tmp_path))
    assert "tqs_fc_s8.c" not in (tmp_path / "Makefile").read_text()


def test_kernels_come_along(tmp_path: Path) -> None:
    firmware = assemble(load_board("qemu-microbit"), MODEL, ("kernels/tqs_fc_s8.c", "kernels/tqs_fc_s4.c"), tmp_path)
    image = compile_firmware(firmware, extra_cflags="-Werror")
    objects = {path.name for path in (image.elf.parent / "kernels").glob("*.o")}
    assert objects == {"tqs_fc_s8.o", "tqs_fc_s4.o"}
    assert image.text < 3300  # nothing calls them: the linker leaves them out


def test_an_image_larger_than_the_flash(tmp_path: Path, images: dict[str, Image]) -> None:
    small = dataclasses.replace(load_board("qemu-microbit"), flash=Memory(origin=0, size_bytes=2048))
    needed = images["qemu-microbit"].flash_bytes
    with pytest.raises(UsageError, match=f"needs {needed} bytes of flash; qemu-microbit has 2048") as caught:
        compile_firmware(assemble(small, MODEL, (), tmp_path))
    assert "--budget" in caught.value.hint


def test_variables_larger_than_the_ram(tmp_path: Path, images: dict[str, Image]) -> None:
    small = dataclasses.replace(load_board("qemu-microbit"), ram=Memory(origin=0x20000000, size_bytes=2560))
    needed = images["qemu-microbit"].ram_bytes + 2048
    with pytest.raises(UsageError, match=rf"needs {needed} bytes of ram \(2048 for the stack\); .* has 2560"):
        compile_firmware(assemble(small, MODEL, (), tmp_path))


def test_a_sample_that_no_frame_of_the_board_can_carry(tmp_path: Path) -> None:
    wide = MODEL | {"model.h": MODEL["model.h"].replace(" 3u", " 64u")}
    narrow = dataclasses.replace(load_board("host"), max_payload=64)
    with pytest.raises(ToolError, match="STEP frame of this model exceeds the board's max_payload"):
        compile_firmware(assemble(narrow, wide, (), tmp_path))


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be written"):
        assemble(load_board("host"), MODEL, (), tmp_path / "file")


@pytest.mark.parametrize(
    ("name", "clock_hz", "uart"),
    [
        ("stm32vldiscovery", 8_000_000, Uart("stm32", 0x40004400, 9600, tx_pin=2, rx_pin=3)),
        ("stm32vldiscovery", 64_000_000, Uart("stm32", 0x40004800, 115200, tx_pin=26, rx_pin=27)),
        ("netduinoplus2", 16_000_000, Uart("stm32", 0x40011000, 115200, tx_pin=22, rx_pin=23)),
        ("netduinoplus2", 84_000_000, Uart("stm32", 0x40004400, 921600, tx_pin=2, rx_pin=3)),
    ],
)
def test_a_driver_builds_for_other_clocks_and_uarts(tmp_path: Path, name: str, clock_hz: int, uart: Uart) -> None:
    board = dataclasses.replace(load_board(name), clock_hz=clock_hz, uart=uart)
    compile_firmware(assemble(board, MODEL, (), tmp_path), extra_cflags="-Werror")


@pytest.mark.parametrize(
    ("name", "changes", "said"),
    [
        ("stm32vldiscovery", {"cflags": ("-mcpu=cortex-m3",)}, "cflags: the driver stm32 needs"),
        ("lm3s6965evb", {"cflags": ("-mcpu=cortex-m3",)}, "cflags: the driver pl011 needs"),
        ("stm32vldiscovery", {"clock_hz": 25_000_000}, "clock_hz: an STM32F1 makes 8, 12, 16"),
        ("netduinoplus2", {"clock_hz": 180_000_000}, "clock_hz: an STM32F4 makes 16, or 50 to 168"),
        ("lm3s6965evb", {"clock_hz": 12_500_000}, "clock_hz: the driver runs the LM3S6965 at 50 MHz"),
        ("pico", {"clock_hz": 133_000_000}, "clock_hz: the driver runs the RP2040 at 125 MHz"),
        ("pico", {"uart": Uart("pl011", 0x40034000, 115200, 4, 5)}, "uart.tx_pin, uart.rx_pin: the RP2040's UART0 has"),
        ("pico2", {"clock_hz": 125_000_000}, "clock_hz: .* the RP2350 at 150 MHz"),
        ("pico2", {"uart": Uart("pl011", 0x40034000, 115200, 0, 1)}, "uart.base: .* 0x40070000 on the RP2350"),
        ("netduinoplus2", {"uart": Uart("stm32", 0x40013800, 115200, 9, 10)}, "uart.base: no USART1, 2 or 3"),
        ("netduinoplus2", {"uart": Uart("stm32", 0x40011000, 1200, 9, 10)}, "uart.baud: a USART divides"),
        ("netduinoplus2", {"uart": Uart("stm32", 0x40011000, 115200)}, "uart.tx_pin, uart.rx_pin: a USART has"),
    ],
)
def test_a_board_that_a_driver_cannot_serve_does_not_build(
    tmp_path: Path, name: str, changes: dict[str, Any], said: str
) -> None:
    board = dataclasses.replace(load_board(name), **changes)
    with pytest.raises(ToolError, match=said):
        compile_firmware(assemble(board, MODEL, (), tmp_path))


# --- serving ----------------------------------------------------------------------------------------------------------


def command(board: Board, image: Image) -> list[str]:
    emulator = board.emulator
    assert emulator is not None
    if emulator.kind == "process":
        return [str(image.elf), "--pty"]
    assert emulator.program is not None
    if emulator.kind == "qemu-user":
        return [emulator.program, *emulator.args, str(image.elf), "--pty"]
    assert emulator.machine is not None
    quiet = [
        "-display",
        "none",
        "-monitor",
        "none",
        "-serial",
        "pty",
        "-icount",
        f"shift={emulator.icount_shift},sleep=off",
    ]
    return [emulator.program, "-M", emulator.machine, *quiet, "-kernel", str(image.elf), *emulator.args]


@contextmanager
def serving(arguments: Sequence[str]) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """(path of the PTY, process)"""
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            found = re.search(r"/dev/pts/\d+", line)
            assert found is not None, line
            yield found[0], process
        finally:
            process.kill()


@pytest.fixture(params=[pytest.param(name, marks=pytest.mark.emulated) for name in EMULATED])
def line(request: pytest.FixtureRequest, images: dict[str, Image]) -> Iterator[Client]:
    board = load_board(request.param)
    with serving(command(board, images[board.name])) as (port, _):
        line = Client(port)
        line.hello()
        yield line
        line.port.close()


@pytest.fixture
def host(images: dict[str, Image]) -> Iterator[Client]:
    with serving([str(images["host"].elf), "--pty"]) as (port, _):
        line = Client(port)
        yield line
        line.port.close()


@pytest.mark.emulated
@pytest.mark.parametrize("name", EMULATED)
def test_hello_says_who_it_is(images: dict[str, Image], name: str) -> None:
    board = load_board(name)
    with serving(command(board, images[name])) as (port, _):
        line = Client(port)
        counter, hz = (2, board.clock_hz) if board.bare_metal else (3, 10**9)
        head = struct.pack("<BBHHHI", 3, counter, CHANNELS, WINDOW, board.max_payload, hz)
        assert line.hello() == head + HASH + struct.pack("<BHHHB", 1, CHANNELS, 1, 0, len(name)) + name.encode()
        line.port.close()


def test_a_forecast_follows_what_was_pushed(line: Client) -> None:
    assert line.ask(FORECAST, 1, b"\0\0\1\0") == nak(1, NOT_READY)
    assert line.push(2, SEED[:3]) == ack(2, 3)
    assert line.ask(FORECAST, 3, b"\0\0\1\0") == nak(3, NOT_READY)
    assert line.push(4, SEED[3:]) == ack(4, 5)
    wanted = toy_rollout(SEED, 40)
    assert line.forecast(5, 0, 40) == wanted
    assert line.forecast(6, 0, 40) == wanted  # a forecast changes nothing
    assert line.forecast(7, 33, 7) == wanted[33:]
    assert line.push(8, [[9, 9, 9]]) == ack(8, 6)
    assert line.forecast(9, 0, 3) == toy_rollout([*SEED, [9, 9, 9]], 3)
    assert line.ask(RESET, 10) == ack(10, 0)
    assert line.ask(FORECAST, 11, b"\0\0\1\0") == nak(11, NOT_READY)
    assert line.push(12, SEED) == ack(12, 5)
    assert line.forecast(13, 0, 40) == wanted


def test_memory_is_reported(line: Client, images: dict[str, Image]) -> None:
    reply = line.hello()
    name = reply[52:].decode()
    image = images[name]
    assert line.push(1, SEED) == ack(1, 5)
    assert len(line.forecast(2, 0, 5)) == 5
    kind, _, payload = line.ask(STATUS, 3)
    assert kind == STATUS_REPLY
    stack_size, stack_peak, ram_static, dropped, uptime = struct.unpack("<5I", payload)
    assert dropped == 0
    assert uptime > 0
    if name in MICROCONTROLLERS:
        assert (stack_size, ram_static) == (image.stack, image.ram_bytes)
        assert image.deepest is not None
        assert image.largest_frame < stack_peak <= image.deepest.bytes < stack_size // 2
    else:
        assert (stack_size, stack_peak, ram_static) == (UNKNOWN, UNKNOWN, UNKNOWN)


@pytest.mark.emulated
@pytest.mark.parametrize("name", [name for name in EMULATED if name in MICROCONTROLLERS])
def test_counted_instructions_repeat_and_the_counter_passes_24_bits(images: dict[str, Image], name: str) -> None:
    with serving(command(load_board(name), images[name])) as (port, _):
        line = Client(port)
        line.hello()
        line.push(1, SEED)
        ticks = []
        for sequence in (2, 3):
            line.send(FORECAST, sequence, struct.pack("<HH", 1, 20))
            ticks += [struct.unpack_from("<I", line.receive()[2], 2)[0] for _ in range(20)]
            assert line.receive()[0] == DONE
        ordered = sorted(ticks)  # one step may hold SysTick's own interrupt
        assert ordered[-2] - ordered[0] <= 2
        assert ordered[-1] - ordered[0] <= 20
        assert ordered[0] > 20
        earlier = 0
        deadline = time.monotonic() + 60
        while earlier < 3 << 24:
            assert time.monotonic() < deadline
            now = struct.unpack("<5I", line.ask(STATUS, 4)[2])[4]
            assert now > earlier
            earlier = now
        line.port.close()


@pytest.mark.emulated
@pytest.mark.parametrize("name", [name for name in EMULATED if name in MICROCONTROLLERS])
def test_a_stack_overflow_silences_the_board(name: str, tmp_path: Path) -> None:
    """It faults, rather than answer from variables that the stack has run over."""
    endless = "    if (x[0] == 99) {\n        tqs_graph_run(x, state, y, arena);\n        y[0]++;\n    }\n"
    model = MODEL | {"model.c": MODEL["model.c"].replace("    (void)arena;\n", "    (void)arena;\n" + endless, 1)}
    board = load_board(name)
    with serving(command(board, compile_firmware(assemble(board, model, (), tmp_path)))) as (port, _):
        line = Client(port)
        line.hello()
        assert line.push(1, SEED) == ack(1, 5)
        line.send(PUSH, 2, b"\1" + bytes([99, 0, 0]))
        line.port.timeout = 0.5
        assert line.port.read() == b""
        line.send(STATUS, 3)
        assert line.port.read() == b""
        line.port.close()


@pytest.mark.emulated
def test_the_board_of_the_walk_through_works(tmp_path: Path) -> None:
    """The TOML of docs/boards.md: loaded, built, asked for a forecast."""
    text = (Path(__file__).parents[1] / "docs" / "boards.md").read_text()
    found = re.search(r"^```toml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert found is not None
    (tmp_path / "my.toml").write_text(found[1])
    board = load_board(tmp_path / "my.toml")
    image = compile_firmware(assemble(board, MODEL, (), tmp_path / "firmware"), extra_cflags="-Werror")
    with serving(command(board, image)) as (port, _):
        line = Client(port)
        assert line.hello().endswith(board.name.encode())
        assert line.push(1, SEED) == ack(1, 5)
        assert line.forecast(2, 0, 10) == toy_rollout(SEED, 10)
        line.port.close()


def test_a_repeated_push_is_carried_out_once(host: Client) -> None:
    host.hello()
    assert host.push(1, SEED) == ack(1, 5)
    assert host.push(1, SEED) == ack(1, 5)
    assert host.ask(STATUS, 2)[0] == STATUS_REPLY
    assert host.push(2, SEED) == ack(2, 10)  # the same sequence, but another type before it
    assert host.ask(RESET, 3) == ack(3, 0)
    assert host.push(4, SEED) == ack(4, 5)
    assert host.ask(RESET, 4) == ack(4, 0)
    assert host.ask(RESET, 4) == ack(4, 0)


def test_hello_forgets_the_last_sequence(host: Client) -> None:
    host.hello()
    assert host.push(1, SEED) == ack(1, 5)
    host.hello()
    assert host.push(1, SEED) == ack(1, 10)


@pytest.mark.parametrize(
    ("kind", "payload", "code"),
    [
        (HELLO, b"", BAD_LENGTH),
        (HELLO, b"\3\1", BAD_LENGTH),
        (HELLO, b"\1", BAD_VERSION),
        (HELLO, b"\2 and more", BAD_VERSION),
        (RESET, b"\0", BAD_LENGTH),
        (PUSH, b"", BAD_LENGTH),
        (PUSH, b"\2abc", BAD_LENGTH),
        (PUSH, b"\1abcd", BAD_LENGTH),
        (FORECAST, b"\0\0\1", BAD_LENGTH),
        (FORECAST, b"\0\0\1\0\0", BAD_LENGTH),
        (FORECAST, b"\2\0\xff\xff", BAD_LENGTH),
        (STATUS, b"\0", BAD_LENGTH),
        (0, b"", UNKNOWN_TYPE),
        (6, b"", UNKNOWN_TYPE),
        (HELLO_REPLY, b"", UNKNOWN_TYPE),
    ],
)
def test_a_wrong_request_is_refused_with_its_sequence(host: Client, kind: int, payload: bytes, code: int) -> None:
    host.hello()
    assert host.ask(kind, 77, payload) == nak(77, code)
    assert host.push(78, SEED) == ack(78, 5)


def test_an_empty_push_and_an_empty_forecast(host: Client) -> None:
    host.hello()
    assert host.push(1, []) == ack(1, 0)
    assert host.push(2, SEED) == ack(2, 5)
    assert host.forecast(3, 9, 0) == []


def test_bad_frames_are_refused_and_counted(line: Client) -> None:
    line.port.write(b"noise\0")
    assert line.receive() == nak(0, BAD_FRAME)
    line.port.write(b"\1" * 3000 + b"\0")
    assert line.receive() == nak(0, BAD_FRAME)
    damaged = bytearray(encode(STATUS, 1))
    damaged[3] ^= 0x10
    line.port.write(bytes(damaged))
    assert line.receive() == nak(0, BAD_FRAME)
    assert struct.unpack("<5I", line.ask(STATUS, 2)[2])[3] == 3


def test_the_largest_push_is_taken(line: Client) -> None:
    max_payload = struct.unpack_from("<H", line.hello(), 6)[0]
    count = min(255, (max_payload - 1) // CHANNELS)
    samples = [[wrap(3 * i), wrap(5 * i), wrap(7 * i)] for i in range(count)]
    assert line.push(1, samples) == ack(1, count)
    assert line.forecast(2, 0, 3) == toy_rollout(samples, 3)


def test_a_byte_ends_a_forecast(line: Client) -> None:
    line.push(1, SEED)
    line.send(FORECAST, 2, struct.pack("<HH", 0, 65535))
    assert line.receive()[0] == STEP
    line.send(STATUS, 3)
    sent = 1
    while (answer := line.receive())[0] == STEP:
        sent += 1
    assert answer == (DONE, 2, struct.pack("<H", sent))
    assert sent < 65535
    assert line.receive()[:2] == (STATUS_REPLY, 3)
    assert line.forecast(4, 0, 2) == toy_rollout(SEED, 2)


def test_the_host_may_come_and_go(images: dict[str, Image]) -> None:
    with serving([str(images["host"].elf), "--pty"]) as (port, process):
        first = Client(port)
        first.hello()
        first.push(1, SEED)
        first.port.close()
        second = Client(port)
        second.hello()
        assert second.forecast(2, 0, 4) == toy_rollout(SEED, 4)
        second.port.close()
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0


@pytest.mark.emulated
@pytest.mark.parametrize("name", ["rpi-zero", "rpi1"])
def test_an_armv6_board_gets_no_instruction_of_armv7(images: dict[str, Image], name: str) -> None:
    """By the image's attributes; and QEMU's ARM1176 ends a program that has one, which that of rpi2 shows."""
    program = load_board(name)
    attributes = subprocess.run(
        [f"{program.toolchain}readelf", "-A", images[name].elf], capture_output=True, text=True, check=True
    ).stdout
    assert "Tag_CPU_arch: v6KZ\n" in attributes
    assert "Tag_THUMB_ISA_use: Thumb-1\n" in attributes
    assert not re.search("SIMD|FP_arch", attributes)
    for image, code in ((images[name], 0), (images["rpi2"], -signal.SIGILL)):
        done = subprocess.run([*command(program, image)[:-1], "--help"], capture_output=True, check=False, timeout=20)
        assert done.returncode == code


@pytest.mark.emulated
@pytest.mark.parametrize("name", ["rpi-zero", "rpi2", "rpi4"])
def test_sigterm_ends_the_program_of_another_architecture(images: dict[str, Image], name: str) -> None:
    with serving(command(load_board(name), images[name])) as (_, process):
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0


def test_a_serial_device_is_served_until_it_goes_away(images: dict[str, Image]) -> None:
    ours, theirs = os.openpty()
    tty.setraw(theirs)  # else its echo would be the answer
    arguments = [str(images["host"].elf), "--port", os.ttyname(theirs), "--baud", "9600"]
    with subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True) as process:
        try:
            answered = False
            for _ in range(200):  # the program drops what came before it had opened the port
                os.write(ours, b"\0" + encode(HELLO, 1, b"\3"))
                answered, _, _ = (bool(ready) for ready in select.select([ours], [], [], 0.05))
                if answered:
                    break
            assert answered
            encoded = os.read(ours, 4096).split(b"\0")[0]
            assert cobs.decode(encoded)[0] == HELLO_REPLY
            os.close(theirs)
            os.close(ours)
            assert process.wait(10) == 1
            assert process.stderr is not None
            assert re.fullmatch("edge-tqs: the serial port is gone: .+\n", process.stderr.read())
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "give one of --port, --pty and --stdio"),
        (["--pty", "--port", "/dev/null"], "give one of --port, --pty and --stdio"),
        (["--port"], "no value after --port"),
        (["--port", "/dev/null", "--baud", "12345"], "no such baud rate: 12345"),
        (["--port", "/dev/null", "--baud", ""], "no such baud rate: "),
        (["--frobnicate"], "unknown argument --frobnicate"),
        (["--port", "/dev/no-such-port"], "cannot open the serial device /dev/no-such-port: No such file or directory"),
        (["--port", "/dev/null"], "cannot open the serial device /dev/null: Inappropriate ioctl for device"),
    ],
)
def test_wrong_use_is_one_line_and_code_2(images: dict[str, Image], arguments: list[str], said: str) -> None:
    done = subprocess.run([images["host"].elf, *arguments], capture_output=True, text=True, check=False, timeout=10)
    assert done.returncode == 2
    assert done.stdout == ""
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


def test_help(images: dict[str, Image]) -> None:
    done = subprocess.run([images["host"].elf, "--help"], capture_output=True, text=True, check=True)
    assert "--port DEVICE" in done.stdout
    assert "toy" in done.stdout
