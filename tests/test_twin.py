"""A .tflite file whose float graph stands in for LiteRT: its weights are compensated, judged by LiteRT itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tflite_models

import edge_tqs
from edge_tqs.building.opened import Model
from edge_tqs.flatbuffer.litert import interpreter
from edge_tqs.graph.graph import Array
from edge_tqs.planning.file import NEAREST
from edge_tqs.system.seeds import zero_data_seeds

HORIZON = 12


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Model:
    file = tmp_path_factory.mktemp("twin") / "mlp.tflite"
    file.write_bytes(tflite_models.convert(tflite_models.build("mlp")))
    return edge_tqs.open_model(file, horizon=HORIZON)


def rolled_out(model: bytes, seeds: Array) -> Array:
    """Closed loops (N, HORIZON, F) of a float or int16 ``model`` in LiteRT."""
    runner = interpreter(model)
    x, y = runner.get_input_details()[0], runner.get_output_details()[0]
    into, out = (end["quantization"][0] for end in (x, y))
    paths = []
    for seed in seeds:
        path = list(seed)
        for _ in range(HORIZON):
            window = np.array(path[-len(seed) :])
            given = np.clip(np.round(window / into), -32767, 32767) if into else window
            runner.set_tensor(x["index"], given[None].astype(x["dtype"]))
            runner.invoke()
            path.append(runner.get_tensor(y["index"])[0] * (out or 1.0))
        paths.append(path[len(seed) :])
    return np.array(paths)


def test_the_weights_of_a_converted_file_are_compensated(opened: Model, tmp_path: Path) -> None:
    scored = edge_tqs.score(opened, draws=2, cache=False)
    made, again = (edge_tqs.quantize(scored, bits=4, activations="int16") for _ in range(2))
    nearest = edge_tqs.quantize(scored, bits=4, activations="int16", rounding="nearest")
    assert made.flatbuffer == again.flatbuffer
    assert {tensor.rounding for tensor in made.plan.tensors} - {NEAREST}
    assert {tensor.rounding for tensor in nearest.plan.tensors} == {NEAREST}
    seeds = zero_data_seeds(opened.opened.system, 24, HORIZON, 7)  # others than it was planned with
    nominal = rolled_out(opened.request.model.read_bytes(), seeds)
    off, before = (np.square(rolled_out(one.flatbuffer, seeds) - nominal).mean() ** 0.5 for one in (made, nearest))
    assert off < 0.7 * before
    wide = edge_tqs.quantize(scored, bits=8)
    assert {tensor.rounding for tensor in wide.plan.tensors} - {NEAREST}
    assert edge_tqs.build(wide, board="host", out=tmp_path / "out").report.host.tflm_bit_exact


@pytest.mark.parametrize(("end", "says"), [("bias", "leaves what LiteRT forecasts by"), ("weight", "another constant")])
def test_a_graph_that_is_another_model_leaves_the_weights_at_nearest(opened: Model, end: str, says: str) -> None:
    loaded = opened.opened.loaded
    assert loaded is not None
    assert opened.twin.system is not None
    op = next(op for op in loaded.graph.ops if op.signature.is_weighted)
    name = op.inputs[2 if end == "bias" else 1]
    before = loaded.graph.tensors[name]
    moved = replace(before, data=before.data + np.float32(0.01))
    graph = loaded.graph.with_tensors({name: moved})
    other = replace(opened, opened=replace(opened.opened, loaded=replace(loaded, graph=graph)))
    made = edge_tqs.plan(edge_tqs.score(other, draws=2, cache=False), bits=8)
    assert [warning for warning in made.warnings if says in warning and "nearest codes" in warning]
    assert {tensor.rounding for tensor in made.plan.tensors} == {NEAREST}
