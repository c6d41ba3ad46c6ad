"""y on a scale of its own though it is fed back: the same loop in every form that a model takes."""

from __future__ import annotations

import sys
from dataclasses import replace
from fractions import Fraction
from math import floor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bundles import write_bundle
from c_library import Forecaster
from graphs import METADATA, needs_tflm, quant, rescaled_graph
from test_blocks_and_ahead import on_board
from test_bundle import library

from edge_tqs.boards.board import load_board
from edge_tqs.device.rollout import run_rollout
from edge_tqs.emit_c.emit import emit
from edge_tqs.errors import ModelError
from edge_tqs.flatbuffer import model as tflite_model
from edge_tqs.graph.graph import Array, Graph
from edge_tqs.graph.rescale import rescale_table
from edge_tqs.passes.interpret import float_rollout
from edge_tqs.quantization import simulate
from edge_tqs.quantization.calibration import Ranges, calibrate
from edge_tqs.quantization.quantize import quantize
from edge_tqs.quantization.range_search import OF_Y, narrowed
from edge_tqs.quantization.runtimes import rollout_in, rollout_in_environment

HORIZON = 9
CASES = [(recurrence, steps) for recurrence in ("none", "windowed", "stateful") for steps in (1, 4)]


def codes_of(graph: Graph, count: int = 3, horizon: int = HORIZON) -> Array:
    shape = (count, graph.forecast.seed_length(horizon), graph.forecast.channels)
    return np.random.default_rng(4).integers(-128, 128, shape).astype(np.int8)


def nearest(value: Fraction) -> int:
    """The nearest whole number, of two the one further from 0."""
    return floor(value + Fraction(1, 2)) if value >= 0 else -floor(-value + Fraction(1, 2))


def fed_by_hand(graph: Graph, code: int) -> int:
    x, y = (graph.quant(name) for name in (graph.input, graph.output))
    value = (code - y.zero_point) * Fraction(float(y.scale[0])) / Fraction(float(x.scale[0]))
    return max(-128, min(127, nearest(value) + x.zero_point))


def by_hand(graph: Graph, seed: Array) -> Array:
    """The closed loop of one seed of codes (W, F): a list of samples that grows, each number scaled as a fraction."""
    forecast, step = graph.forecast, simulate.integer_step(graph)
    samples, done, states, outputs = list(seed), 0, simulate.zero_states(graph, 1), list[Array]()
    while len(outputs) < HORIZON:
        if forecast.recurrence == "none":
            y, _ = step(np.array([samples[-forecast.window :]]), ())
        else:
            if forecast.recurrence == "windowed":
                states, done = simulate.zero_states(graph, 1), len(samples) - forecast.window
            for sample in samples[done:]:
                y, states = step(sample[None], states)
            done = len(samples)
        for predicted in y.reshape(forecast.steps, forecast.outputs)[: HORIZON - len(outputs)]:
            outputs.append(predicted)
            pairs = enumerate(forecast.feedback)
            fed = [samples[-1][i] if j is None else fed_by_hand(graph, int(predicted[j])) for i, j in pairs]
            samples.append(np.array(fed, np.int8))
    return np.array(outputs)


@pytest.mark.parametrize(
    ("x", "y"), [((0.5, 3), (0.125, -128)), ((0.01, -5), (0.1, 127)), ((0.03, 7), (0.03, 8)), ((0.02, 0), (0.01, 0))]
)
def test_the_table_is_what_the_formula_says_in_fractions(x: tuple[float, int], y: tuple[float, int]) -> None:
    graph = rescaled_graph("none", 1)
    tensors = graph.tensors
    changed = {graph.input: x, graph.output: y}
    graph = graph.with_tensors({name: replace(tensors[name], quant=quant(*of)) for name, of in changed.items()})
    table = rescale_table(graph)
    assert table is not None
    assert table.tolist() == [fed_by_hand(graph, code) for code in range(-128, 128)]


@pytest.mark.parametrize(("recurrence", "steps"), CASES)
def test_every_form_feeds_back_the_same_codes(recurrence: str, steps: int, tmp_path: Path) -> None:
    graph = rescaled_graph(recurrence, steps)
    x, y = (graph.quant(name) for name in (graph.input, graph.output))
    assert y.scale[0] < 0.5 * x.scale[0]
    codes = codes_of(graph)
    expected = simulate.integer_rollout(graph, codes, HORIZON)
    np.testing.assert_array_equal(expected.outputs, np.stack([by_hand(graph, seed) for seed in codes]))

    forecaster = Forecaster(graph, tmp_path)
    for n, seed in enumerate(codes):
        forecaster.reset()
        forecaster.push_codes(seed)
        outputs, _ = forecaster.forecast_codes(HORIZON)
        np.testing.assert_array_equal(outputs[:, : graph.forecast.outputs], expected.outputs[n])

    model = tflite_model.write(graph, METADATA)
    read, about = tflite_model.read(model)
    assert about["format_version"] == 4
    np.testing.assert_array_equal(simulate.integer_rollout(read, codes, HORIZON).outputs, expected.outputs)
    there = rollout_in("litert", model, graph, codes, HORIZON).outputs
    write_bundle(tmp_path / "bundle", model, None, load_board("rpi4"))
    agent: Any = library(tmp_path / "bundle").Forecaster(tmp_path / "bundle" / "model.tflite")
    for n, seed in enumerate(codes):
        agent.reset()
        for sample in seed:
            agent.push_codes(sample)
        agent.begin()
        np.testing.assert_array_equal(np.array([agent.next_codes()[0] for _ in range(HORIZON)]), there[n])


@needs_tflm
@pytest.mark.parametrize(("recurrence", "steps"), CASES)
def test_tflite_micro_in_the_loop_gives_the_same_codes(recurrence: str, steps: int) -> None:
    graph = rescaled_graph(recurrence, steps)
    codes = codes_of(graph)
    expected = simulate.integer_rollout(graph, codes, HORIZON)
    got = rollout_in("tflm", tflite_model.write(graph, METADATA), graph, codes, HORIZON)
    np.testing.assert_array_equal(got.outputs, expected.outputs)


def test_the_program_for_another_python_gives_the_same_codes() -> None:
    graph = rescaled_graph("windowed", 4)
    codes, model = codes_of(graph), tflite_model.write(graph, METADATA)
    there = rollout_in_environment(Path(sys.executable), model, codes, HORIZON)
    np.testing.assert_array_equal(there.outputs, rollout_in("litert", model, graph, codes, HORIZON).outputs)


@pytest.mark.emulated
def test_a_board_feeds_back_the_same_codes(tmp_path: Path) -> None:
    graph = rescaled_graph("stateful", 4)
    codes = codes_of(graph)
    expected = simulate.integer_rollout(graph, codes, HORIZON)
    assert expected.state_hashes is not None
    with on_board("qemu-mps2-an386", graph, tmp_path, 256) as device:
        for n, seed in enumerate(codes):
            outputs, _, hashes = run_rollout(device, seed, HORIZON)
            np.testing.assert_array_equal(outputs, expected.outputs[n])
            np.testing.assert_array_equal(hashes, expected.state_hashes[n])


def test_truth_is_fed_as_x_holds_it() -> None:
    """Forced with what it would have been fed, a rollout says what it says when it is free."""
    graph = rescaled_graph("none", 1)
    codes = codes_of(graph)
    free = simulate.integer_rollout(graph, codes, HORIZON)
    table = rescale_table(graph)
    assert table is not None
    forced = simulate.integer_rollout(graph, codes, HORIZON, table[free.outputs.astype(int) + 128])
    np.testing.assert_array_equal(forced.outputs, free.outputs)


def test_int16_codes_have_no_table() -> None:
    graph = rescaled_graph("none", 1, "int16")
    assert rescale_table(graph) is None  # the ranges ask for a scale of its own in vain
    graph = graph.with_tensors({graph.output: replace(graph.tensors[graph.output], quant=quant(0.25, 0))})
    with pytest.raises(ModelError, match="has another scale"):
        emit(graph, "0" * 64, "model")


def test_y_is_given_its_own_scale_where_rollouts_are_nearer_to_float_so() -> None:
    """x holds a channel of thirty times the reach; and where it does not, y stays with x."""
    for reach, apart in ((30.0, True), (1.0, False)):
        graph = rescaled_graph("windowed", 1, "float32")
        size = [1.0, 1.0, reach]
        draw = np.random.default_rng(6)
        seeds, later = (draw.uniform(-1, 1, (count, 5, 3)) * size for count in (96, 48))
        ranges = calibrate(graph, seeds.astype(np.float32), 4)

        def made(ranges: Ranges, graph: Graph = graph) -> Graph:
            return quantize(graph, dict.fromkeys(graph.weights(), 8), ranges)

        found = narrowed(graph, made, ranges, 4)
        assert (OF_Y in found.parts, found.ranges.apart) == (apart, apart)
        floats = float_rollout(graph, later.astype(np.float32), 4).outputs
        errors = []
        for tried in (ranges, found.ranges):
            integer = made(tried)
            said = simulate.integer_rollout(integer, simulate.encode(integer, later), 4)
            errors.append(np.square(simulate.decode(integer, said.outputs) - floats).mean())
        assert not apart or errors[1] < 0.5 * errors[0]
