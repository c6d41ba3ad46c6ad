"""One scale for all rows of a weight: how it is fitted, what it costs, and its way through a plan and its file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from graphs import random_graph
from test_rounding import HORIZON, LIMIT, depthwise_graph, moments_of, roundings_of

import edge_tqs
from edge_tqs.emit_c.emit import emit
from edge_tqs.errors import UsageError
from edge_tqs.flatbuffer import model as tflite_model
from edge_tqs.flatbuffer.form import RUNTIMES
from edge_tqs.graph.graph import Array, Graph
from edge_tqs.operators.arithmetic.compensated import compensated, damped
from edge_tqs.planning.file import CHANNEL, COMPENSATED, NEAREST, TENSOR, Rounding
from edge_tqs.planning.refine import Refiner
from edge_tqs.quantization import support
from edge_tqs.quantization.calibration import calibrate
from edge_tqs.quantization.quantize import quantize
from edge_tqs.quantization.sizes import one_scale_bytes, weight_bytes
from edge_tqs.system.of_graph import graph_system
from edge_tqs.system.seeds import noise, zero_data_seeds


@pytest.mark.parametrize("width", [8, 4])
def test_one_scale_is_fitted_over_all_rows(width: int) -> None:
    rng = np.random.default_rng(3)
    rows = (rng.normal(size=(1, 6, 9)) * np.array([1, 1, 1, 0.3, 2, 1])[:, None]).astype(np.float32)
    moments = moments_of(rng, 9)[None]
    h = damped(moments, 0.01)
    codes, scale = compensated(rows, moments, width, 0.01, one_scale=True)
    assert scale.shape == (1, 6)
    assert np.unique(scale).size == 1

    def lost(codes: Array, scale: Array) -> float:
        error = codes * scale[..., None].astype(np.float64) - rows
        return float(np.einsum("grk,gkl,grl->", error, h, error))

    peak = np.full((1, 6), np.abs(rows).max() / LIMIT[width])
    nearest = np.clip(np.rint(rows / peak[..., None]), -LIMIT[width], LIMIT[width])
    assert lost(codes, scale) < 0.9 * lost(nearest, peak)
    for near in (0.99, 1.01):  # it is the best scale of its codes
        assert lost(codes, scale) < lost(codes, near * scale)


def entries(files: Mapping[str, str]) -> int:
    """Of all tables in generated C."""
    return sum(text.count(",") for text in files.values())


def graph_of(kind: str) -> Graph:
    return depthwise_graph() if kind == "depthwise" else random_graph(np.random.default_rng(2), kind)


@pytest.mark.parametrize("recipe", [COMPENSATED[0], NEAREST])
@pytest.mark.parametrize("kind", ["depthwise", "mlp"])
def test_one_scale_costs_what_the_file_shows_and_runs_everywhere(kind: str, recipe: str) -> None:
    graph = graph_of(kind)
    ranges = calibrate(graph, noise(graph_system(graph), 4, HORIZON, 0), HORIZON)
    costs, roundings = weight_bytes(graph), roundings_of(graph)
    of_one = one_scale_bytes(graph, costs)
    for width in (8, 4):
        widths, sizes, images = dict.fromkeys(graph.weights(), width), {}, {}
        for scales in (CHANNEL, TENSOR):
            ways = {source: Rounding(width, 1.0, recipe, scales) for source in widths}
            integer = quantize(graph, widths, ranges, rounded=roundings.rounded(ways))
            given = {"source_hash": "", "plan": widths, "generator": ""}
            model = tflite_model.write(integer, given)
            assert tflite_model.write(tflite_model.read(model)[0], given) == model
            assert support.runtimes_of(integer) == RUNTIMES
            sizes[scales], images[scales] = len(model), entries(emit(integer, "0" * 64, "m").files)
        assert all(t.quant is None or t.quant.scale.size == 1 for t in integer.tensors.values())
        promised = sum(costs[source][width] - of_one[source][width] for source in widths)
        assert promised > 0
        # zero points that several weights share are gone only when the last of them has one scale
        assert sizes[CHANNEL] - sizes[TENSOR] >= promised - 16
        assert images[CHANNEL] == images[TENSOR]


def test_one_scale_is_among_the_choices_of_a_budget_alone() -> None:
    graph = graph_of("mlp")
    system, costs = graph_system(graph), weight_bytes(graph)
    of_one = one_scale_bytes(graph, costs)
    scores, seeds = dict.fromkeys(costs, 1.0), zero_data_seeds(graph_system(graph), 6, HORIZON, 0)

    def refiner(**options: Any) -> Refiner:
        return Refiner(system, scores, costs, seeds, HORIZON, roundings=roundings_of(graph), **options)

    with_it, without = refiner(one_scale=lambda: of_one), refiner()
    low, high = (sum(options[width] for options in costs.values()) for width in (4, 8))
    smallest = sum(min(*costs[source].values(), *of_one[source].values()) for source in costs)
    assert smallest < low
    for budget in (smallest, (low + high) // 2, high):
        made = with_it.plan(budget)
        assert made.total_bytes <= budget
        assert made == with_it.plan(budget)
    assert {t.scales for t in with_it.plan(smallest).tensors} == {TENSOR}
    assert with_it.frontier()[0].total_bytes == smallest
    with pytest.raises(UsageError, match=f"smallest plan takes {smallest:,}"):
        with_it.plan(smallest - 1)
    with pytest.raises(UsageError, match="too small"):
        without.plan(smallest)
    for width in (8, 4):
        assert with_it.uniform(width) == without.uniform(width)


def test_a_plan_file_says_one_scale_and_a_hand_may_change_it(keras: Any, tmp_path: Path) -> None:
    keras.utils.set_random_seed(1)
    layers = [keras.layers.Flatten(), keras.layers.Dense(24, "tanh", name="a"), keras.layers.Dense(2, name="b")]
    keras.Sequential([keras.Input((6, 2)), *layers]).save(tmp_path / "m.keras")
    scored = edge_tqs.score(edge_tqs.open_model(tmp_path / "m.keras", horizon=8), draws=2)
    file, plain = tmp_path / "plan.json", edge_tqs.quantize(scored, bits=8)
    assert '"scales"' not in plain.plan.to_json()
    file.write_text(plain.plan.to_json())
    body = json.loads(file.read_text())
    body["tensors"][0]["scales"] = "tensor"
    file.write_text(json.dumps(body))
    edited = edge_tqs.quantize(scored, plan=file)
    first, second = edited.plan.tensors
    assert (first.scales, second.scales) == ("tensor", "channel")
    assert first.bytes == scored.one_scale[first.name][8] < plain.plan.tensors[0].bytes
    assert second == plain.plan.tensors[1]
    assert edited.plan.evidence is None
    assert len(edited.flatbuffer) < len(plain.flatbuffer)
    file.write_text(edited.plan.to_json())
    again = edge_tqs.quantize(scored, plan=file)
    assert (again.flatbuffer, again.plan.to_json()) == (edited.flatbuffer, edited.plan.to_json())
    body["tensors"][0]["scales"] = "row"
    file.write_text(json.dumps(body))
    with pytest.raises(UsageError, match="scales"):
        edge_tqs.quantize(scored, plan=file)
    # a budget that nothing else keeps takes it; a microcontroller's image holds a multiplier a channel either way
    least = sum(min(options.values()) for options in scored.costs.values())
    made = edge_tqs.quantize(scored, budget=least - 1)
    assert any(tensor.rounded.one_scale for tensor in made.plan.tensors)
    assert made.plan.total_bytes < least
    with pytest.raises(UsageError, match="too small"):
        edge_tqs.plan(scored, budget=least - 1, board="pico")
