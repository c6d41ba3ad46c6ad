"""The two boards with a Cortex-M7: what is set up before the first byte, and what the i.MX RT1062's boot ROM reads."""

from __future__ import annotations

import ctypes
import dataclasses
import re
import struct
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from graphs import quantized, random_codes, random_graph

from edge_tqs.boards.board import Board, Emulator, load_board
from edge_tqs.boards.emulator import emulator
from edge_tqs.boards.emulator.runners import labwired_chip
from edge_tqs.boards.firmware import Image, assemble, compile_firmware
from edge_tqs.device.device import Device, SilentError, Times, open_port
from edge_tqs.device.rollout import run_rollout
from edge_tqs.emit_c.emit import emit
from edge_tqs.errors import ToolError
from edge_tqs.quantization import simulate
from edge_tqs.templates import template_root

DEVICE = Path(__file__).parent / "device"
MODEL = {f"model.{end}": (DEVICE / f"toy_model.{end}").read_text() for end in ("c", "h")}
#: Described for labwired, which leaves out SXTB16 and its like: what runs there is all but the kernels of the core.
NUCLEO, TEENSY = (
    dataclasses.replace(load_board(name), emulator=Emulator("labwired", machine=chip))
    for name, chip in (("nucleo-h743zi", "stm32h743"), ("teensy41", "imxrt1062"))
)
SYSTEM_CONTROL = {"CCR": 0xE000ED14, "VTOR": 0xE000ED08}
CACHES = 3 << 16


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Image]:
    return {
        board.name: compile_firmware(assemble(board, MODEL, (), tmp_path_factory.mktemp(board.name)))
        for board in (NUCLEO, TEENSY)
    }


def registers_of(board: Board, image: Path, addresses: Mapping[str, int]) -> tuple[dict[str, int], dict[str, int]]:
    """Before the first instruction, and once the firmware waits for its first byte."""
    assert board.emulator is not None
    assert board.emulator.machine is not None
    with labwired_chip.simulated(board.emulator.machine, str(image)) as sim:
        before = {name: sim.read_u32(address) for name, address in addresses.items()}
        sim.run_for("3ms")
        return before, {name: sim.read_u32(address) for name, address in addresses.items()}


@pytest.mark.emulated
@pytest.mark.parametrize("board", [NUCLEO, TEENSY], ids=lambda board: board.name)
def test_the_portable_kernels_compute_there_what_the_host_computes(board: Board, tmp_path: Path) -> None:
    rng = np.random.default_rng(12)
    graph = quantized(rng, random_graph(rng, "lstm"))
    generated = emit(graph, "00" * 32, graph.name)
    image = compile_firmware(assemble(board, generated.files, generated.kernels, tmp_path))
    seed = random_codes(np.random.default_rng(0), graph, (1, graph.forecast.window, graph.forecast.channels))
    expected = simulate.integer_rollout(graph, seed, 10)
    assert expected.state_hashes is not None
    with answering(board, image) as device:
        assert device.info.board == board.name
        outputs, _, hashes = run_rollout(device, seed[0], 10)
    np.testing.assert_array_equal(outputs, expected.outputs[0])
    np.testing.assert_array_equal(hashes, expected.state_hashes[0])


# STM32H743


@pytest.mark.emulated
def test_the_nucleo_runs_from_its_pll_at_the_voltage_that_it_needs(images: dict[str, Image]) -> None:
    """RM0433: RCC, PWR, FLASH, USART, GPIO."""
    registers = {
        "RCC_CR": 0x58024400, "RCC_CFGR": 0x58024410, "D1CFGR": 0x58024418, "D2CFGR": 0x5802441C, "DIVR": 0x58024430,
        "D2CCIP2R": 0x58024454, "PWR_CSR1": 0x58024804, "ACR": 0x52002000, "BRR": 0x4000480C,
        "MODER": 0x58020C00, "AFRH": 0x58020C24,
    }  # fmt: skip
    before, after = registers_of(NUCLEO, images[NUCLEO.name].elf, registers | SYSTEM_CONTROL)
    assert (before["RCC_CR"] >> 24, before["RCC_CFGR"], before["PWR_CSR1"] >> 14, before["CCR"]) == (0, 0, 0, 0)
    assert (after["RCC_CR"] >> 24) & 3 == 3  # on, locked
    assert after["RCC_CFGR"] >> 3 & 7 == 3  # used
    times, divided = (after["DIVR"] & 0x1FF) + 1, (after["DIVR"] >> 9 & 0x7F) + 1
    assert 64_000_000 // 4 * times // divided == NUCLEO.clock_hz
    assert after["D1CFGR"] & 0xF == 8  # the bus: a half
    assert (after["D2CFGR"] >> 4 & 7, after["D2CFGR"] >> 8 & 7) == (4, 4)  # APB1 and 2: a half of that
    assert after["PWR_CSR1"] >> 14 == 3  # scale 1
    assert after["ACR"] == 0x22
    assert after["D2CCIP2R"] & 7 == 3  # the oscillator
    assert 64_000_000 / after["BRR"] == pytest.approx(115200, rel=0.002)
    assert (after["MODER"] >> 16 & 0xF, after["AFRH"] & 0xFF) == (0xA, 0x77)  # PD8, PD9
    assert (after["CCR"], after["VTOR"]) == (CACHES, 0x08000000)


@pytest.mark.emulated
def test_the_nucleo_also_runs_without_pll(tmp_path: Path) -> None:
    slow = dataclasses.replace(NUCLEO, clock_hz=64_000_000)
    image = compile_firmware(assemble(slow, MODEL, (), tmp_path))
    with answering(slow, image) as device:
        assert device.info.counter_hz == 64_000_000
    _, after = registers_of(slow, image.elf, {"RCC_CR": 0x58024400, "RCC_CFGR": 0x58024410})
    assert (after["RCC_CR"] >> 24, after["RCC_CFGR"]) == (0, 0)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"clock_hz": 70_000_000}, "clock_hz: an STM32H7 makes 64, or 96 to 400 MHz"),
        ({"clock_hz": 480_000_000}, "clock_hz: an STM32H7 makes 64, or 96 to 400 MHz"),
        ({"uart": {"base": 0x40011000}}, "uart.base: the driver stm32h7 knows USART2 and USART3"),
        ({"uart": {"baud": 5_000_000}}, "uart.baud: the USART divides 64 MHz"),
        ({"uart": {"tx_pin": 176}}, "uart.tx_pin, uart.rx_pin: an STM32H7 has the ports A to K"),
    ],
)
def test_what_the_nucleo_cannot_do_is_said(tmp_path: Path, changed: dict[str, Any], said: str) -> None:
    if "uart" in changed:
        assert NUCLEO.uart is not None
        changed = {"uart": dataclasses.replace(NUCLEO.uart, **changed["uart"])}
    with pytest.raises(ToolError, match=re.escape(said)):
        compile_firmware(assemble(dataclasses.replace(NUCLEO, **changed), MODEL, (), tmp_path))


@pytest.mark.emulated
def test_the_nucleos_usart_is_silent_without_its_clock(tmp_path: Path) -> None:
    """The emulator notices it: that the board answers there says that the driver switches it on."""
    firmware = assemble(NUCLEO, MODEL, (), tmp_path)
    driver = firmware.folder / "drivers" / "uart" / "stm32h7.c"
    text = driver.read_text()
    assert text.count("RCC_APB1LENR |= APB1LENR_USART;") == 1
    driver.write_text(text.replace("RCC_APB1LENR |= APB1LENR_USART;", ""))
    with pytest.raises(SilentError), answering(NUCLEO, compile_firmware(firmware), Times(hello=1.0)) as device:
        assert device.info


# i.MX RT1062


def test_the_boot_rom_finds_its_tables_and_the_vectors(images: dict[str, Image]) -> None:
    """IMXRT1060RM, System Boot: FlexSPI configuration block, image vector table, boot data."""
    image = images[TEENSY.name]
    assert image.bin is not None
    assert TEENSY.flash is not None
    assert TEENSY.ram is not None
    assert TEENSY.stack_bytes is not None
    binary = image.bin.read_bytes()

    def words(offset: int, count: int = 1) -> tuple[int, ...]:
        return struct.unpack_from(f"<{count}I", binary, offset)

    assert binary[:4] == b"FCFB"
    assert (binary[0x44:0x47], words(0x50), words(0x1C0, 2)) == (b"\x01\x04\x06", (8 << 20,), (256, 4096))
    steps = [(step >> 10, 1 << (step >> 8 & 3), step & 0xFF) for step in struct.unpack_from("<6H", binary, 0x80)]
    assert steps == [(1, 1, 0xEB), (2, 4, 24), (7, 4, 0), (12, 4, 4), (9, 4, 4), (0, 1, 0)]
    used = {0x00, 0x04, 0x0C, 0x44, 0x50, 0x80, 0x84, 0x88, 0x1C0, 0x1C4, 0x1C8, 0x1D0}
    assert {offset for offset in range(0, 0x1000, 4) if words(offset) != (0,)} == used

    origin = TEENSY.flash.origin
    header, entry, *_, boot_data, itself, signature, last = words(0x1000, 8)
    assert (header & 0xFF, header >> 8 & 0xFFFF, header >> 28) == (0xD1, 0x2000, 4)  # 32 bytes, big endian
    assert (itself, signature, last) == (origin + 0x1000, 0, 0)
    assert words(boot_data - origin, 3) == (origin, TEENSY.flash.size_bytes, 0)
    listed = subprocess.run([f"{TEENSY.toolchain}nm", image.elf], capture_output=True, text=True, check=True).stdout
    symbols = {name: int(address, 16) for address, _, name in re.findall(r"^(\w+) (\w) (\w+)$", listed, re.MULTILINE)}
    assert entry == symbols["tqs_vectors"]
    assert words(entry - origin, 2) == (TEENSY.ram.origin + TEENSY.stack_bytes, symbols["Reset_Handler"] | 1)


@pytest.mark.emulated
def test_the_teensy_has_pins_and_clock_of_its_uart(images: dict[str, Image]) -> None:
    """IMXRT1060RM: CCM, IOMUXC, LPUART. labwired's LPUART does not keep its rate."""
    registers = {
        "CSCDR1": 0x400FC024, "CCGR3": 0x400FC074, "TX": 0x401F80C4, "RX": 0x401F80C8, "SELECT": 0x401F8550,
        "CTRL": 0x40198018,
    }  # fmt: skip
    before, after = registers_of(TEENSY, images[TEENSY.name].elf, registers | SYSTEM_CONTROL)
    assert set(before.values()) == {0}
    assert after["CSCDR1"] & 0x7F == 0x40  # the crystal's 24 MHz
    assert after["CCGR3"] >> 6 & 3 == 3
    assert (after["TX"], after["RX"], after["SELECT"]) == (2, 2, 1)
    assert after["CTRL"] == 3 << 18
    assert (after["CCR"], after["VTOR"]) == (CACHES, 0x60002000)


def test_the_teensys_uart_makes_the_nearest_rate(tmp_path: Path) -> None:
    """Of all 8 to 32 samples of 1 to 8191 cycles, by the driver itself, compiled for this machine."""
    assert TEENSY.uart is not None
    (tmp_path / "board.h").write_text(f"#define TQS_UART_BASE {TEENSY.uart.base:#x}u\n#define TQS_UART_BAUD 115200u\n")
    folder, library = template_root() / "drivers" / "uart", tmp_path / "uart.so"
    flags = ["-std=c99", "-w", "-shared", "-fPIC", f"-I{tmp_path}", f"-I{folder}"]
    subprocess.run(["gcc", *flags, folder / "imxrt.c", "-o", library], check=True)
    nearest = ctypes.CDLL(str(library)).tqs_uart_nearest_baud
    nearest.restype = ctypes.c_uint32
    made = {24_000_000 // (samples * divisor) for samples in range(8, 33) for divisor in range(1, 8192)}
    for baud in (1200, 9600, 57600, 115200, 230400, 460800, 921600, 1_000_000, 1_500_000, 2_000_000, 3_000_000):
        assert nearest(baud) in made
        assert abs(nearest(baud) - baud) == min(abs(rate - baud) for rate in made), baud
        assert nearest(baud) == pytest.approx(baud, rel=0.002)
    assert [nearest(baud) for baud in (1, 50, 10_000_000, 0xFFFFFFFF)] == [0, 0, 0, 0]


@contextmanager
def answering(board: Board, image: Image, times: Times | None = None) -> Iterator[Device]:
    with emulator.start(board, image.elf) as running, Device(open_port(running.port), times) as device:
        yield device
