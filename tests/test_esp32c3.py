"""The ESP32-C3: what its boot ROM finds in the image, what the start-up code sets, the port's own memcpy."""

from __future__ import annotations

import ctypes
import itertools
import os
import re
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest
from boot_loaders import EspRom

from edge_tqs import direct_boot, emulator
from edge_tqs.boards import load_board
from edge_tqs.device import Device, SilentError, Times, open_port
from edge_tqs.errors import UsageError
from edge_tqs.firmware import Image, assemble, compile_firmware
from edge_tqs.flash import flash
from edge_tqs.templates import template_root

DEVICE = Path(__file__).parent / "device"
MODEL = {f"model.{end}": (DEVICE / f"toy_model.{end}").read_text() for end in ("c", "h")}
BOARD = load_board("esp32c3")
FLASH_AS_CODE, FLASH_AS_DATA = 0x42000000, 0x3C000000


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    """A model with a variable that has a first value."""
    head, graph, rest = MODEL["model.c"].partition("void tqs_graph_run")
    rest = rest.replace("(void)arena;", "(void)arena;\n    (void)first[0];", 1)
    model = MODEL | {"model.c": f"{head}static volatile int8_t first[4] = {{1, 2, 3, 4}};\n\n{graph}{rest}"}
    return compile_firmware(assemble(BOARD, model, (), tmp_path_factory.mktemp("esp32c3")), extra_cflags="-Werror")


def binary_of(image: Image) -> bytes:
    assert image.bin is not None
    return image.bin.read_bytes()


def test_the_binary_begins_as_the_rom_wants_it_and_is_no_image_of_espressifs(image: Image) -> None:
    """Two magic words, and code behind them: `csrci mstatus, 8` (RISC-V Privileged Architecture, 3.1.6)."""
    assert struct.unpack_from("<3I", binary_of(image)) == (0xAEDB041D, 0xAEDB041D, 0x30047073)
    assert binary_of(image)[0] != 0xE9


def test_constants_are_read_on_the_bus_of_data_where_the_flash_has_them(image: Image) -> None:
    listed = subprocess.run([f"{BOARD.toolchain}objdump", "-h", image.elf], capture_output=True, text=True, check=True)
    sections = {
        name: tuple(int(number, 16) for number in numbers.split())
        for name, numbers in re.findall(r"^\s+\d+ \.(\w+)((?:\s+[0-9a-f]{8}){4})", listed.stdout, re.MULTILINE)
    }
    size, address, loaded, offset = sections["rodata"]
    assert size > 0
    assert address - FLASH_AS_DATA == loaded - FLASH_AS_CODE
    contents = image.elf.read_bytes()[offset : offset + size]
    assert binary_of(image)[loaded - FLASH_AS_CODE :][:size] == contents


@pytest.mark.emulated
def test_the_image_is_mapped_twice_and_stops_the_watchdogs_and_fills_its_variables(
    image: Image, tmp_path: Path
) -> None:
    """ESP32-C3 Technical Reference Manual, 12 and 6.2.4, as far as the emulator keeps the registers."""
    from labwired import Sim

    assert BOARD.emulator is not None
    assert BOARD.ram is not None
    assert BOARD.stack_bytes is not None
    elf = tmp_path / "mapped.elf"
    elf.write_bytes(direct_boot.mapped(binary_of(image)))
    boot_guard, feeds_itself, divided, update = 1 << 12, 1 << 31, 0xFFF, 1 << 22
    registers = {"rtc": 0x60008090, "timer": 0x6001F048, "super": 0x600080AC, "clock": 0x600C0058}
    with Sim(elf, chip=BOARD.emulator.machine) as sim:
        for start in (FLASH_AS_CODE, FLASH_AS_DATA):
            assert sim.read_memory(start, len(binary_of(image))) == binary_of(image)
        before = {name: sim.read_u32(register) for name, register in registers.items()}
        sim.run_for("1ms")
        after = {name: sim.read_u32(register) for name, register in registers.items()}
        assert sim.read_memory(BOARD.ram.origin + BOARD.stack_bytes, 4) == bytes((1, 2, 3, 4))
    assert (before["rtc"] & boot_guard, before["super"] & feeds_itself, before["clock"] & divided) == (boot_guard, 0, 1)
    assert (after["rtc"], after["super"] & feeds_itself, after["clock"] & divided) == (0, feeds_itself, 0)
    assert (before["timer"], after["timer"]) == (0, update)  # it has no boot guard here: that it was written is seen


@pytest.mark.emulated
def test_a_stack_overflow_silences_the_board(tmp_path: Path) -> None:
    endless = "    if (x[0] == 99) {\n        tqs_graph_run(x, state, y, arena);\n        y[0]++;\n    }\n"
    model = MODEL | {"model.c": MODEL["model.c"].replace("    (void)arena;\n", "    (void)arena;\n" + endless, 1)}
    image = compile_firmware(assemble(BOARD, model, (), tmp_path))
    times = Times(answer=1.0, attempts=1)
    with emulator.start(BOARD, image.elf) as running, Device(open_port(running.port), times) as device:
        device.push(np.array([[98, 0, 0]], np.int8))
        for request in (lambda: device.push(np.array([[99, 0, 0]], np.int8)), device.status):
            with pytest.raises(SilentError):
                request()


def test_another_binary_is_refused() -> None:
    with pytest.raises(UsageError, match="does not begin as the ESP32-C3's boot ROM wants it"):
        direct_boot.mapped(b"\xe9" + bytes(63))


def test_esptool_writes_what_boots(image: Image) -> None:
    with EspRom() as rom:
        flash(BOARD, image.elf, port=rom.port)
        assert bytes(rom.flash[: len(binary_of(image))]) == binary_of(image)


def test_the_ports_own_functions_of_the_c_library(tmp_path: Path) -> None:
    """Each length and alignment up to two words, memmove over itself both ways; against Python's slices."""
    names = ("memcpy", "memmove", "memset")
    port, library = template_root() / "ports" / "esp32c3", tmp_path / "string.so"
    renamed = [f"-D{name}=port_{name}" for name in names]
    flags = ["-std=c99", "-O2", "-fno-builtin", "-fno-tree-loop-distribute-patterns", "-shared", "-fPIC"]
    subprocess.run(["gcc", *flags, *renamed, f"-I{port}", port / "string.c", "-o", library], check=True)
    loaded = ctypes.CDLL(os.fspath(library))
    copy, move, fill = (loaded[f"port_{name}"] for name in names)
    for function in (copy, move, fill):
        function.restype = ctypes.c_void_p
    start = bytes(range(1, 33))
    for to, source, count in itertools.product(range(5), range(5), range(10)):
        apart, moved, filled = (ctypes.create_string_buffer(start, 32) for _ in range(3))
        at = ctypes.addressof
        assert (
            copy(ctypes.c_void_p(at(apart) + 16 + to), ctypes.c_void_p(at(apart) + source), count)
            == at(apart) + 16 + to
        )
        assert apart.raw == start[: 16 + to] + start[source:][:count] + start[16 + to + count :]
        move(ctypes.c_void_p(at(moved) + to), ctypes.c_void_p(at(moved) + source), count)
        assert moved.raw == start[:to] + start[source:][:count] + start[to + count :]
        fill(ctypes.c_void_p(at(filled) + to), 0x1A5, count)
        assert filled.raw == start[:to] + b"\xa5" * count + start[to + count :]
