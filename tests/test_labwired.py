"""Boards whose images with portable kernels run in labwired, and whose own kernels it cannot run (docs/boards.md)."""

from __future__ import annotations

import dataclasses
import struct
from pathlib import Path

import numpy as np
import pytest
from graphs import quantized, random_codes, random_graph

from edge_tqs.boards.board import Emulator, load_board
from edge_tqs.boards.emulator import emulator
from edge_tqs.boards.firmware import assemble, compile_firmware
from edge_tqs.boards.flash import flash
from edge_tqs.device.device import Device, open_port
from edge_tqs.device.rollout import run_rollout
from edge_tqs.emit_c.emit import emit
from edge_tqs.flatbuffer import model as tflite_model
from edge_tqs.quantization import simulate

HORIZON = 10
CHIPS = {"nano33ble": "nrf52840", "nucleo-f446re": "stm32f405", "pico2": "rp2350"}
DEVICE = Path(__file__).parent / "device"
MODEL = {f"model.{end}": (DEVICE / f"toy_model.{end}").read_text() for end in ("c", "h")}


@pytest.mark.emulated
@pytest.mark.parametrize("name", CHIPS)
def test_the_image_with_portable_kernels_computes_what_the_host_computes(name: str, tmp_path: Path) -> None:
    """Start-up code, clocks, pins, UART and protocol of the board; the kernels are those of every core."""
    rng = np.random.default_rng(12)
    graph = quantized(rng, random_graph(rng, "lstm"))
    model = tflite_model.write(graph, {"generator": "test", "plan": {}, "source_hash": "00" * 32})
    digest = tflite_model.model_hash(model)
    board = dataclasses.replace(load_board(name), emulator=Emulator("labwired", machine=CHIPS[name]))
    generated = emit(graph, digest, graph.name)
    image = compile_firmware(assemble(board, generated.files, generated.kernels, tmp_path))
    shape = (2, graph.forecast.window, graph.forecast.channels)
    seeds = random_codes(np.random.default_rng(0), graph, shape)
    expected = simulate.integer_rollout(graph, seeds, HORIZON)
    assert expected.state_hashes is not None
    with emulator.start(board, image.elf) as running, Device(open_port(running.port)) as device:
        assert device.require_model(digest).board == name
        for index, seed in enumerate(seeds):
            outputs, _, hashes = run_rollout(device, seed, HORIZON)
            np.testing.assert_array_equal(outputs, expected.outputs[index])
            np.testing.assert_array_equal(hashes, expected.state_hashes[index])


@pytest.mark.emulated
def test_the_pico_2_runs_from_its_pll_and_lifts_the_isolation_of_its_pads(tmp_path: Path) -> None:
    """RP2350 Datasheet, 8.1, 8.6 and 9.7, as far as the emulator keeps the registers."""
    from labwired import Sim

    image = compile_firmware(assemble(load_board("pico2"), MODEL, (), tmp_path))
    registers = {"resets": 0x40020000, "clk_sys": 0x40010044, "divided": 0x4005000C, "tx": 0x40038004, "rx": 0x40038008}
    with Sim(image.elf, chip="rp2350") as sim:
        before = {name: sim.read_u32(register) for name, register in registers.items()}
        sim.run_for("1ms")
        after = {name: sim.read_u32(register) for name, register in registers.items()}
    assert before["resets"] & (1 << 26 | 1 << 14 | 1 << 9 | 1 << 6) != 0
    assert after["resets"] & (1 << 26 | 1 << 14 | 1 << 9 | 1 << 6) == 0
    assert (before["clk_sys"], after["clk_sys"]) == (1, 2)
    assert after["divided"] == 5 << 16 | 2 << 12
    assert (after["tx"] & 1 << 8, after["rx"] & 1 << 8) == (0, 0)


def test_the_uf2_file_of_a_pico_2_holds_the_image_for_its_family(tmp_path: Path) -> None:
    """RP2350 Datasheet, 5.5: the drive says RP2350, blocks of RP2350_ARM_S are taken."""
    board, drive = load_board("pico2"), tmp_path / "drive"
    image = compile_firmware(assemble(board, MODEL, (), tmp_path / "firmware"))
    drive.mkdir()
    (drive / "INFO_UF2.TXT").write_text("UF2 Bootloader v1.0\nModel: Raspberry Pi RP2350\nBoard-ID: RP2350\n")
    flash(board, image.elf, port=str(drive))
    copied = (drive / "pico2.uf2").read_bytes()
    blocks = [copied[at : at + 512] for at in range(0, len(copied), 512)]
    heads = [struct.unpack_from("<8I", block) for block in blocks]
    assert {head[7] for head in heads} == {0xE48BFF59}
    assert [head[3] for head in heads] == [0x10000000 + 256 * number for number in range(len(blocks))]
    assert image.bin is not None
    binary = image.bin.read_bytes()
    assert b"".join(block[32:288] for block in blocks)[: len(binary)] == binary
