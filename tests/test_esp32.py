"""The ESP32-C3 and ESP32-S3: what the ROM finds in the image, what the start-up code sets, the port's own functions."""

from __future__ import annotations

import ctypes
import itertools
import json
import os
import re
import struct
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from boot_loaders import EspRom

from edge_tqs.boards.board import Board, load_board
from edge_tqs.boards.emulator import direct_boot, emulator
from edge_tqs.boards.firmware import Image, assemble, compile_firmware
from edge_tqs.boards.flash import flash
from edge_tqs.device.device import Device, SilentError, Times, open_port
from edge_tqs.errors import DeviceError, UsageError
from edge_tqs.templates import template_root

DEVICE = Path(__file__).parent / "device"
MODEL = {f"model.{end}": (DEVICE / f"toy_model.{end}").read_text() for end in ("c", "h")}
FLASH_AS_CODE, FLASH_AS_DATA = 0x42000000, 0x3C000000


@dataclass(frozen=True)
class Chip:
    """magic: where in the flash the ROM looks for its words; entry: the first bytes behind them; chip_id: esptool's;
    registers: of the watchdogs and the clock; before, after: what of the watchdogs' the emulator shows."""

    board: Board
    magic: int
    entry: bytes
    chip_id: int
    registers: dict[str, int]
    before: tuple[int, int]
    after: tuple[int, int]


CHIPS = {
    "esp32c3": Chip(  # csrci mstatus, 8 (RISC-V Privileged Architecture, 3.1.6)
        load_board("esp32c3"),
        0,
        struct.pack("<I", 0x30047073),
        5,
        {"rtc": 0x60008090, "timer": 0x6001F048, "super": 0x600080AC, "clock": 0x600C0058},
        before=(1 << 12, 0),
        after=(0, 1 << 22),  # the timer's has no boot guard here: that it was written is seen
    ),
    "esp32s3": Chip(  # j over the 5 bytes of a pad and a word (Xtensa ISA Reference Manual, J: PC + 4 + offset)
        load_board("esp32s3"),
        0x400,
        bytes.fromhex("060100"),
        9,
        {"rtc": 0x60008098, "timer": 0x6001F048, "super": 0x600080B4, "clock": 0x600C0060},
        before=(0, 1 << 14),  # the other's has none here
        after=(0, 0),
    ),
}


@pytest.fixture(scope="module", params=CHIPS)
def chip(request: pytest.FixtureRequest) -> Chip:
    return CHIPS[request.param]


@pytest.fixture(scope="module")
def image(chip: Chip, tmp_path_factory: pytest.TempPathFactory) -> Image:
    """A model with a variable that has a first value."""
    head, graph, rest = MODEL["model.c"].partition("void tqs_graph_run")
    rest = rest.replace("(void)arena;", "(void)arena;\n    (void)first[0];", 1)
    model = MODEL | {"model.c": f"{head}static volatile int8_t first[4] = {{1, 2, 3, 4}};\n\n{graph}{rest}"}
    return compile_firmware(assemble(chip.board, model, (), tmp_path_factory.mktemp("esp32")), extra_cflags="-Werror")


def binary_of(image: Image) -> bytes:
    assert image.bin is not None
    return image.bin.read_bytes()


def test_the_binary_begins_as_the_rom_wants_it_and_is_no_image_of_espressifs(chip: Chip, image: Image) -> None:
    """Two magic words, and code behind them."""
    begin = binary_of(image)[chip.magic :]
    assert struct.unpack_from("<2I", begin) == (0xAEDB041D, 0xAEDB041D)
    assert begin[8:].startswith(chip.entry)
    assert binary_of(image)[0] != 0xE9


def test_each_vector_of_xtensa_stops(image: Image, chip: Chip) -> None:
    """`j` to itself at every 64th byte of the 1024 that VECBASE points at, the start of the flash."""
    if chip.board.core.startswith("xtensa"):
        table = binary_of(image)[: chip.magic]
        assert [table[at : at + 3] for at in range(0, 1024, 64)] == [bytes.fromhex("06ffff")] * 16


def test_constants_are_read_on_the_bus_of_data_where_the_flash_has_them(chip: Chip, image: Image) -> None:
    listed = subprocess.run(
        [f"{chip.board.toolchain}objdump", "-h", image.elf], capture_output=True, text=True, check=True
    )
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
    chip: Chip, image: Image, tmp_path: Path
) -> None:
    """ESP32-C3 Technical Reference Manual, 12 and 6.2.4; Espressif's esp32s3.svd; as far as the emulator
    keeps the registers."""
    from labwired import Sim

    assert chip.board.emulator is not None
    assert chip.board.ram is not None
    assert chip.board.stack_bytes is not None
    elf = tmp_path / "mapped.elf"
    elf.write_bytes(direct_boot.mapped(binary_of(image), chip.board.name))
    feeds_itself, divided = 1 << 31, 0xFFF
    with Sim(elf, chip=chip.board.emulator.machine) as sim:
        for start in (FLASH_AS_CODE, FLASH_AS_DATA):
            assert sim.read_memory(start, len(binary_of(image))) == binary_of(image)
        before = {name: sim.read_u32(register) for name, register in chip.registers.items()}
        sim.run_for("1ms")
        after = {name: sim.read_u32(register) for name, register in chip.registers.items()}
        assert sim.read_memory(chip.board.ram.origin + chip.board.stack_bytes, 4) == bytes((1, 2, 3, 4))
    assert (before["rtc"] & 1 << 12, before["timer"] & 1 << 14) == chip.before  # the guards of the boot
    assert (before["super"] & feeds_itself, before["clock"] & divided) == (0, 1)
    assert (after["rtc"], after["timer"]) == chip.after
    assert (after["super"] & feeds_itself, after["clock"] & divided) == (feeds_itself, 0)


@pytest.mark.emulated
def test_a_stack_overflow_silences_the_board(chip: Chip, tmp_path: Path) -> None:
    endless = "    if (x[0] == 99) {\n        tqs_graph_run(x, state, y, arena);\n        y[0]++;\n    }\n"
    model = MODEL | {"model.c": MODEL["model.c"].replace("    (void)arena;\n", "    (void)arena;\n" + endless, 1)}
    image = compile_firmware(assemble(chip.board, model, (), tmp_path))
    times = Times(answer=3.0, attempts=1)
    with emulator.start(chip.board, image.elf) as running, Device(open_port(running.port), times) as device:
        device.push(np.array([[98, 0, 0]], np.int8))
        for request in (lambda: device.push(np.array([[99, 0, 0]], np.int8)), device.status):
            with pytest.raises(SilentError):
                request()


@pytest.mark.parametrize(("name", "called"), [("esp32c3", "ESP32-C3"), ("esp32s3", "ESP32-S3")])
def test_another_binary_is_refused(name: str, called: str) -> None:
    other = direct_boot.MAGIC if name == "esp32s3" else bytes(0x400) + direct_boot.MAGIC
    with pytest.raises(UsageError, match=f"does not begin as the {called}'s boot ROM wants it"):
        direct_boot.mapped(other + bytes(2048), name)


def test_a_chip_without_direct_boot_is_refused() -> None:
    with pytest.raises(UsageError, match=r"emulator\.machine is 'esp32', of which direct boot is not known") as caught:
        direct_boot.mapped(direct_boot.MAGIC, "esp32")
    assert "esp32c3, esp32s3" in caught.value.hint


@pytest.mark.emulated
def test_the_rom_of_an_esp32s3_looks_and_jumps_where_the_image_says(tmp_path: Path) -> None:
    """The literals of its code of 2021-03-27, which labwired holds: the words, the buses, and the entry; and the
    instruction that adds the words' offset, `addmi a8, a2, 0x400` (Xtensa ISA Reference Manual, ADDMI)."""
    from labwired import Sim

    elf = tmp_path / "any.elf"
    elf.write_bytes(direct_boot.mapped(bytes(0x400) + direct_boot.MAGIC, "esp32s3"))
    with Sim(elf, chip="esp32s3") as sim:
        assert sim.read_u32(0x4004567C) == 0xAEDB041D
        assert [sim.read_u32(at) for at in (0x400456A4, 0x400456A8)] == [direct_boot.INSTRUCTIONS, direct_boot.DATA]
        assert sim.read_u32(0x400456B0) == direct_boot.INSTRUCTIONS + 0x400 + len(direct_boot.MAGIC)
        assert sim.read_memory(0x40045687, 3) == bytes.fromhex("82d204")


def test_esptool_writes_what_boots_to_its_chip_alone(chip: Chip, image: Image) -> None:
    with EspRom(chip_id=14 - chip.chip_id) as rom:
        with pytest.raises(DeviceError, match="esptool did not write"):
            flash(chip.board, image.elf, port=rom.port)
        assert rom.writes == 0
    with EspRom(chip_id=chip.chip_id) as rom:
        flash(chip.board, image.elf, port=rom.port)
        assert bytes(rom.flash[: len(binary_of(image))]) == binary_of(image)


@pytest.mark.slow
@pytest.mark.emulated
def test_an_esp32s3_is_flashed_and_validated(
    run: Callable[..., tuple[int, str, str]], keras: Any, tmp_path: Path
) -> None:
    """The image that esptool wrote is the one that runs, bit for bit; sizes as foretold, stack within its bound."""
    keras.utils.set_random_seed(1)
    layers = (keras.layers.Flatten(), keras.layers.Dense(8, activation="relu"), keras.layers.Dense(2))
    keras.Sequential([keras.Input((8, 2)), *layers]).save(tmp_path / "model.keras")
    wanted = ("--board", "esp32s3", "--bits", 8, "--draws", 2, "--horizon", 8)
    code, foretold, err = run("build", tmp_path / "model.keras", *wanted, "--dry-run", "--json")
    assert code == 0, err
    code, _, err = run("build", tmp_path / "model.keras", *wanted, "--out", tmp_path / "out")
    assert code == 0, err
    binary = (tmp_path / "out" / "firmware" / "build" / "firmware.bin").read_bytes()
    with EspRom(chip_id=9) as rom:
        code, _, err = run("flash", tmp_path / "out", "--port", rom.port)
        assert code == 0, err
        assert bytes(rom.flash[: len(binary)]) == binary
    foreseen = json.loads(foretold)
    assert foreseen["flash"] == len(binary)
    code, out, err = run("validate", tmp_path / "out", "--rollouts", 1, "--step-timeout", 60, "--json")
    assert code == 0, err
    body = json.loads(out)
    assert (body["bit_exact"], body["steps"], body["latency"]["counter"]) == (True, 8, "ccount")
    assert body["memory"]["ram"] == foreseen["ram"]
    assert body["memory"]["stack_peak"] <= foreseen["stack_bound"]


def test_the_ports_own_functions_of_the_c_library(tmp_path: Path) -> None:
    """Each length and alignment up to two words, memmove over itself both ways; against Python's slices."""
    names = ("memcpy", "memmove", "memset")
    port, library = template_root() / "ports" / "esp32", tmp_path / "string.so"
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


def test_the_arithmetic_that_debians_libgcc_leaves_out(tmp_path: Path) -> None:
    """Products modulo 2^64, quotients towards zero; ends of the ranges and random values, against Python's."""
    port, library = template_root() / "ports" / "esp32", tmp_path / "arithmetic.so"
    names = ("__muldi3", "__udivsi3", "__divsi3")
    flags = [
        "-std=c99",
        "-O2",
        "-DESP32S3",
        "-D__XTENSA__",
        "-shared",
        "-fPIC",
        *(f"-D{name}=port{name}" for name in names),
    ]
    includes = [f"-I{port}", f"-I{port.parent / 'bare'}"]
    subprocess.run(["gcc", *flags, *includes, port / "arithmetic.c", "-o", library], check=True)
    loaded = ctypes.CDLL(os.fspath(library))
    product, unsigned, signed = (loaded[f"port{name}"] for name in names)
    product.restype, unsigned.restype, signed.restype = ctypes.c_int64, ctypes.c_uint32, ctypes.c_int32
    rng = np.random.default_rng(3)
    ends = [0, 1, -1, 2, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, -0x80000000, 2**63 - 1, -(2**63)]
    values = ends + [
        int(value) >> int(shift)
        for value, shift in zip(rng.integers(-(2**63), 2**63, 200), rng.integers(0, 60, 200), strict=True)
    ]
    for a, b in itertools.product(values, values):
        assert product(ctypes.c_int64(a), ctypes.c_int64(b)) == ctypes.c_int64(a * b).value
        n, d = a & 0xFFFFFFFF, b & 0xFFFFFFFF
        if d == 0:
            continue
        assert unsigned(ctypes.c_uint32(n), ctypes.c_uint32(d)) == n // d
        n, d = ctypes.c_int32(n).value, ctypes.c_int32(d).value
        quotient = abs(n) // abs(d) * (1 if (n < 0) == (d < 0) else -1)
        assert signed(ctypes.c_int32(n), ctypes.c_int32(d)) == ctypes.c_int32(quotient).value
