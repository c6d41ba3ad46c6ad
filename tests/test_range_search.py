"""Ranges that are narrower than what calibration saw: only where the integer graph is nearer to float with them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from graphs import KINDS, Builder, attention_graph, dense_layer, lstm_layer, random_graph, random_seeds, shaped

from edge_tqs.errors import ModelError
from edge_tqs.graph.graph import Array, Forecast, Graph
from edge_tqs.passes.interpret import float_rollout
from edge_tqs.quantization.calibration import Ranges, calibrate
from edge_tqs.quantization.judges import LEAST_JUDGES, Judges
from edge_tqs.quantization.quantize import affine, quantize, shared_quants, with_rounded_weights
from edge_tqs.quantization.range_search import LEAST_PART, narrowed
from edge_tqs.quantization.rounded_rollout import RoundedRollouts
from edge_tqs.quantization.simulate import decode, encode, integer_rollout

HORIZON = 4


def soft_sensor(rare: float) -> Graph:
    """y = h0 + ``rare`` h1, h = (x0, 8 x1): two inputs that share a hidden layer, and so its codes."""
    b = Builder(np.random.default_rng(0))
    x = b.tensor("x", (1, 2))
    first = b.tensor("hidden/kernel", (2, 2), np.array([[1, 0], [0, 8]], np.float32), "hidden/kernel")
    h = b.dense(x, first, "hidden", b.tensor("hidden/bias", (2,), np.zeros(2, np.float32)))
    last = b.tensor("y/kernel", (1, 2), np.array([[1, rare]], np.float32), "y/kernel")
    y = b.dense(h, last, "y", b.tensor("y/bias", (1,), np.zeros(1, np.float32)))
    forecast = Forecast(1, 2, "windowed", (None, None), outputs=1)
    return Graph("soft_sensor", b.tensors, tuple(b.ops), x, y, (), forecast).check()


def windows(graph: Graph, count: int, seed: int) -> Array:
    length = graph.forecast.seed_length(HORIZON)
    return np.random.default_rng(seed).uniform(-1, 1, (count, length, graph.forecast.channels)).astype(np.float32)


def int8(graph: Graph) -> Callable[[Ranges], Graph]:
    return lambda ranges: quantize(graph, dict.fromkeys(graph.weights(), 8), ranges)


def said(integer: Graph, seeds: Array) -> Array:
    return decode(integer, integer_rollout(integer, encode(integer, seeds), HORIZON).outputs)


def test_a_range_that_hardly_counts_is_narrowed_and_windows_to_come_gain():
    graph = soft_sensor(1e-4)
    ranges = calibrate(graph, windows(graph, 128, 1), HORIZON)
    found = narrowed(graph, int8(graph), ranges, HORIZON)
    assert set(found.parts) == {"hidden"}
    assert found.tried == 1
    low, high = found.ranges.bounds["hidden"]
    assert -5 < low < -3.5
    assert 3.5 < high < 5
    assert LEAST_PART <= found.parts["hidden"] < 0.7
    seeds = windows(graph, 64, 2)
    truth = seeds[:, :-1, :1] + 8e-4 * seeds[:, :-1, 1:]  # the model's formula, and no code of the tool
    before, after = (np.square(said(int8(graph)(r), seeds) - truth).mean() for r in (ranges, found.ranges))
    assert after < 0.8 * before
    assert found.error**2 == pytest.approx(after / before, abs=0.1)


def test_a_range_that_counts_stays_and_so_do_those_of_x_and_y():
    graph = soft_sensor(0.5)
    ranges = calibrate(graph, windows(graph, 128, 1), HORIZON)
    found = narrowed(graph, int8(graph), ranges, HORIZON)
    assert (found.parts, found.tried, found.error) == ({}, 1, 1.0)
    assert found.ranges is ranges


def test_few_windows_say_too_little():
    graph = soft_sensor(1e-4)
    ranges = calibrate(graph, windows(graph, 63, 1), HORIZON)
    assert narrowed(graph, int8(graph), ranges, HORIZON).ranges is ranges


def test_a_graph_that_cannot_be_made_keeps_its_ranges():
    graph = soft_sensor(1e-4)
    ranges = calibrate(graph, windows(graph, 128, 1), HORIZON)

    def make(tried: Ranges) -> Graph:
        if tried.bounds["hidden"][1] < 6:
            raise ModelError("the 32-bit accumulator can overflow")
        return int8(graph)(tried)

    assert narrowed(graph, make, ranges, HORIZON).ranges is ranges


def test_the_same_windows_give_the_same_ranges():
    b = Builder(np.random.default_rng(3))
    x = b.tensor("x", (1, 3))
    y = dense_layer(b, "head", lstm_layer(b, "lstm", x, 6), 3, "none")
    graph = Graph("lstm", b.tensors, tuple(b.ops), x, y, tuple(b.states), Forecast(5, 3, "windowed", (0, 1, 2))).check()
    ranges = calibrate(graph, windows(graph, 64, 4), HORIZON)
    first, second = (narrowed(graph, int8(graph), ranges, HORIZON) for _ in range(2))
    assert (first.parts, first.error) == (second.parts, second.error)
    for name in (graph.input, graph.output):
        assert first.ranges.bounds[name] == ranges.bounds[name]


@pytest.mark.parametrize("kind", [*KINDS, "attention"])
def test_the_rounded_rollout_is_the_integer_one_but_for_a_few_codes(kind):
    rng = np.random.default_rng([5, len(kind)])
    graph = attention_graph(rng) if kind == "attention" else random_graph(rng, kind)
    seeds = random_seeds(rng, graph, 16)
    ranges = calibrate(graph, seeds, 2)
    integer = int8(graph)(ranges)
    shared = shared_quants(with_rounded_weights(graph, integer), ranges)
    rollouts = RoundedRollouts(shared)
    x_scale, y_scale = (float(integer.quant(name).scale[0]) for name in (integer.input, integer.output))
    seeds = seeds[:, : graph.forecast.seed_length(1)]
    exact = decode(integer, integer_rollout(integer, encode(integer, seeds), 1).outputs)
    coarse = {shared.families[graph.input]: affine(-8 * x_scale, 8 * x_scale)}
    plain, other, again = rollouts.outputs(seeds, 1, [{}, coarse, {}])
    assert np.median(np.abs(plain - exact)) <= 1.01 * y_scale
    assert np.abs(plain - exact).max() < 12 * y_scale
    np.testing.assert_array_equal(plain, again)
    np.testing.assert_array_equal(rollouts.outputs(seeds, 1, [coarse])[0], other)
    assert np.abs(other - plain).max() > 2 * y_scale


FORECASTS = {
    "stateful, driven": Forecast(4, 3, "stateful", (None, None, None), outputs=2),
    "stateful loop": Forecast(1, 3, "stateful", (0, 1, 2)),
    "an input known ahead": Forecast(4, 3, "windowed", (0, 1, None), outputs=2),
    "an input held": Forecast(4, 3, "windowed", (0, 1, None), outputs=2, held=(2,)),
    "blocks, an input known ahead": Forecast(4, 3, "none", (0, 1, None), steps=3, outputs=2),
    "direct": Forecast(4, 3, "none", (None, None, None), outputs=4),
}


@pytest.mark.parametrize("forecast", FORECASTS.values(), ids=FORECASTS)
@pytest.mark.parametrize("horizon", [1, 12])
def test_windows_judge_every_kind_of_forecast(forecast, horizon):
    b = Builder(np.random.default_rng(1))
    values = forecast.outputs * forecast.steps
    if forecast.recurrence == "none":
        x = b.tensor("x", (1, 4, 3))
        y = dense_layer(b, "head", shaped(b, "reshape", (x,), "flat", (1, 12)), values, "none")
    else:
        x = b.tensor("x", (1, 3))
        y = dense_layer(b, "head", lstm_layer(b, "lstm", x, 4), values, "none")
    graph = Graph("any", b.tensors, tuple(b.ops), x, y, tuple(b.states), forecast).check()
    seeds = np.random.default_rng(2).normal(size=(80, forecast.seed_length(horizon), 3)).astype(np.float32)
    for deep in (False, True):
        judges = Judges(graph, seeds, 4000, horizon, deep=deep)
        assert 1 <= judges.horizon <= horizon
        assert judges.seeds.shape[1:] == (forecast.seed_length(judges.horizon), 3)
        assert len(judges.seeds) >= LEAST_JUDGES
        exact = float_rollout(graph, judges.seeds, judges.horizon).outputs
        np.testing.assert_array_equal(judges.errors(exact), 0)
        assert (judges.errors(exact + exact.std(axis=(0, 1))) > 0.99).all()
