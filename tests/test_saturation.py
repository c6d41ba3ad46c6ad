"""SSAT for a simulator that has none: replaced, it computes the same and keeps the flags, and nothing else changes."""

from __future__ import annotations

import re
import struct
import subprocess
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from graphs import quantized, random_codes, random_graph

from edge_tqs import emulator, simulate
from edge_tqs.boards import load_board
from edge_tqs.device import Device, open_port
from edge_tqs.device_rollout import run_rollout
from edge_tqs.emit_c import emit, kernel_sources
from edge_tqs.firmware import assemble, compile_firmware, disassembly
from edge_tqs.runners.labwired_chip import simulated
from edge_tqs.saturation import without_ssat

#: target, bits, source, operation, shift: the kernels' three, the limits of the fields, low and high registers
CASES = [
    ("r4", 8, "r4", "asr", 1), ("r9", 8, "r3", "asr", 22), ("r12", 8, "r3", "lsl", 0), ("r0", 2, "r11", "asr", 31),
    ("r5", 32, "r3", "lsl", 31), ("r8", 16, "r8", "lsl", 3), ("r14", 31, "r6", "asr", 4), ("r3", 16, "r0", "lsl", 0),
]  # fmt: skip
VALUES = [0, 1, -1, 127, 128, -128, -129, 255, 256, -257, 0x3FFFFFF, -(1 << 29), (1 << 31) - 1, -(1 << 31)]
RESULTS, DONE = 0x20000100, 0x20000000
LOOKS_LIKE_SSAT = 0x0407F304


def program(folder: Path) -> Path:
    """Each case on each value, with Z and C set, then with N: the result and the flags after it."""
    blocks = "".join(
        f"movs r1, #0\ncmp r1, #{flags}\nldr {source}, ={value}\nssat {target}, #{bits}, {source}, {kind} #{shift}\n"
        f"mrs r2, apsr\nstr {target}, [r7], #4\nstr r2, [r7], #4\nb 1f\n.ltorg\n.word {LOOKS_LIKE_SSAT}\n1:\n"
        for (target, bits, source, kind, shift), value, flags in product(CASES, VALUES, (0, 1))
    )
    vectors = ".word 0x20010000, start + 1" + ", fault + 1" * 5 + "\n.global start\n.thumb_func\n"
    ends = f"ldr r7, ={DONE}\nmovs r1, #1\nstr r1, [r7]\nb .\n.thumb_func\nfault: b .\n"
    text = f".syntax unified\n.thumb\n.text\n{vectors}start: ldr r7, ={RESULTS}\n{blocks}{ends}"
    (folder / "program.s").write_text(text)
    elf = folder / "program.elf"
    command = ["arm-none-eabi-gcc", "-mcpu=cortex-m7", "-nostdlib", "-Wl,-Ttext=0x08000000,-e,start"]
    subprocess.run([*command, folder / "program.s", "-o", elf], check=True)
    return elf


def expected() -> list[tuple[int, int]]:
    found = []
    for (_, bits, _, kind, shift), value, flags in product(CASES, VALUES, (0, 1)):
        wrapped = (value << shift) + (1 << 31) & 0xFFFFFFFF
        shifted = value >> shift if kind == "asr" else wrapped - (1 << 31)
        limit = 1 << (bits - 1)
        found.append((min(max(shifted, -limit), limit - 1), (0b0110, 0b1000)[flags]))
    return found


@pytest.mark.emulated
def test_what_replaces_it_computes_the_same_and_keeps_the_flags(tmp_path: Path) -> None:
    elf = program(tmp_path)
    replaced = tmp_path / "replaced.elf"
    replaced.write_bytes(without_ssat(elf.read_bytes()))
    with simulated("stm32h743", str(replaced)) as sim:
        sim.run_for("2ms")
        assert sim.read_u32(DONE) == 1
        read = struct.iter_unpack("<iI", sim.read_memory(RESULTS, 8 * len(expected())))
        assert [(value, state >> 28) for value, state in read] == expected()


@pytest.mark.emulated
def test_the_simulator_still_lacks_it(tmp_path: Path) -> None:
    """Once this fails, edge_tqs/saturation.py has no purpose any more."""
    with simulated("stm32h743", str(program(tmp_path))) as sim:
        sim.run_for("2ms")
        assert (sim.read_u32(DONE), sim.read_u32(0xE000ED28)) == (0, 1 << 16)  # UFSR.UNDEFINSTR


def test_nothing_else_changes(tmp_path: Path) -> None:
    elf = program(tmp_path)
    before, after = elf.read_bytes(), without_ssat(elf.read_bytes())
    changed = {at for at, (old, new) in enumerate(zip(before, after[: len(before)], strict=True)) if old != new}
    replaced = len(CASES) * len(VALUES) * 2
    assert 2 * replaced <= len(changed - set(range(52))) <= 4 * replaced
    (tmp_path / "after.elf").write_bytes(after)
    shown = ["arm-none-eabi-objdump", "-d", "--no-show-raw-insn"]
    texts = [
        subprocess.run([*shown, file], capture_output=True, text=True, check=True).stdout
        for file in (elf, tmp_path / "after.elf")
    ]
    assert [len(re.findall(r"\tssat\t", text)) for text in texts] == [replaced, 0]
    data = [text.count(f"{LOOKS_LIKE_SSAT:#010x}") for text in texts]
    assert data[0] == data[1] > 0


def test_an_image_without_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "program.s").write_text(".syntax unified\n.thumb\n.text\n.word 0x20010000, start + 1\nstart: b .\n")
    elf = tmp_path / "program.elf"
    subprocess.run(["arm-none-eabi-gcc", "-mcpu=cortex-m0", "-nostdlib", tmp_path / "program.s", "-o", elf], check=True)
    assert without_ssat(elf.read_bytes()) == elf.read_bytes()


@pytest.mark.emulated
def test_a_blue_pill_computes_what_the_host_computes_with_the_kernels_of_its_core(tmp_path: Path) -> None:
    rng, board = np.random.default_rng(12), load_board("bluepill")
    graph = quantized(rng, random_graph(rng, "lstm"))
    model = emit(graph, "00" * 32, graph.name, board.core)
    image = compile_firmware(assemble(board, model, kernel_sources(graph, board.core), tmp_path))
    assert "\tssat\t" in disassembly(board.toolchain, image.elf)
    seed = random_codes(np.random.default_rng(0), graph, (1, graph.forecast.window, graph.forecast.channels))
    expected = simulate.integer_rollout(graph, seed, 10)
    assert expected.state_hashes is not None
    with emulator.start(board, image.elf) as running, Device(open_port(running.port)) as device:
        outputs, _, hashes = run_rollout(device, seed[0], 10)
    np.testing.assert_array_equal(outputs, expected.outputs[0])
    np.testing.assert_array_equal(hashes, expected.state_hashes[0])
