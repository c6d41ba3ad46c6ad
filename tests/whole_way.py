"""A small model taken from its file to boards, with ranges of waves: what the tests of each kind have in common."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from bundles import write_bundle
from litert_alone import evaluate

from edge_tqs.boards.board import load_board
from edge_tqs.boards.emulator.emulator import start_server
from edge_tqs.boards.firmware import assemble, compile_firmware
from edge_tqs.device.device import Device, open_port
from edge_tqs.device.rollout import run_rollout
from edge_tqs.emit_c.emit import emit
from edge_tqs.flatbuffer import model as tflite_model
from edge_tqs.graph.graph import Array, Graph
from edge_tqs.quantization import simulate
from edge_tqs.quantization.calibration import calibrate
from edge_tqs.quantization.quantize import quantize

HORIZON = 8
METADATA = {"generator": "test", "plan": {}, "source_hash": "00" * 32}


def series(count: int, length: int, channels: int, seed: int = 0) -> Array:
    """Waves of several periods, (count, length, channels): smooth as sensors are, of unit variance."""
    rng = np.random.default_rng(seed)
    start = rng.uniform(0, 100, (count, 1, 1))
    period = 5 + 3 * np.arange(channels)
    waves = np.sin((np.arange(length)[:, None] + start) / period) * np.sqrt(2)
    return (waves + rng.normal(0, 0.05, waves.shape)).astype(np.float32)


def seeds_of(graph: Graph, count: int, seed: int) -> Array:
    made = series(count, graph.forecast.seed_length(HORIZON), graph.forecast.channels, seed)
    for channel, numbers in graph.forecast.whole_values().items():  # one after another, as hours are
        made[..., channel] = numbers[(np.arange(count)[:, None] + np.arange(made.shape[1])) % len(numbers)]
    return made


def as_int8(graph: Graph) -> Graph:
    return quantize(graph, dict.fromkeys(graph.weights(), 8), calibrate(graph, seeds_of(graph, 64, 1), HORIZON))


def written(graph: Graph, folder: Path) -> Path:
    """model.tflite of an integer graph."""
    (folder / "model.tflite").write_bytes(tflite_model.write(graph, METADATA))
    return folder / "model.tflite"


def check_on_board(name: str, model: Path) -> None:
    """Assert that the generated C, on a board, gives the codes of the integer reference over a rollout."""
    content, folder, board = model.read_bytes(), model.parent / name, load_board(name)
    graph, digest = tflite_model.read(content)[0], tflite_model.model_hash(content)
    generated = emit(graph, digest, graph.name, board.core)
    image = compile_firmware(assemble(board, generated.files, generated.kernels, folder / "firmware"))
    if not board.bare_metal:
        write_bundle(folder / "bundle", content, image.elf, board)
    codes = simulate.encode(graph, seeds_of(graph, 2, 3))
    expected = simulate.integer_rollout(graph, codes, HORIZON).outputs
    window, exogenous = graph.forecast.window, list(graph.forecast.exogenous)
    with start_server(board, folder) as port, Device(open_port(port)) as device:
        assert device.require_model(digest).board == name
        for seed, outputs in zip(codes, expected, strict=True):
            ahead = seed[window:, exogenous] if exogenous else None
            np.testing.assert_array_equal(run_rollout(device, seed[:window], HORIZON, ahead=ahead)[0], outputs)


def codes_apart(model: Path, expected: Array, windows: Array) -> float:
    """How far LiteRT alone is from what is ``expected`` after ``windows``: root mean square, in codes of the output."""
    found, scale = evaluate(model, windows)
    return float(np.sqrt(np.mean(np.square(found - expected.reshape(found.shape))))) / scale
