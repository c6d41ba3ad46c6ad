"""refine on small random models: within budget, deterministic, never worse than the a-priori plan on the same seeds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from graphs import KINDS, random_graph

from edge_tqs.errors import ModelError, UsageError
from edge_tqs.graph.graph import Graph
from edge_tqs.operators.arithmetic.int8 import quantize_weight
from edge_tqs.passes.interpret import float_rollout
from edge_tqs.passes.output_bias import output_bias, shift_output
from edge_tqs.planning.plan import default_budget, frontier, plan, uniform
from edge_tqs.planning.refine import CLIPS, Refiner, RefineSettings, _fit
from edge_tqs.planning.score import score as score_system
from edge_tqs.quantization.calibration import calibrate
from edge_tqs.quantization.quantize import quantize
from edge_tqs.system.of_graph import graph_system
from edge_tqs.system.seeds import zero_data_seeds as system_seeds

HORIZON = 8
NOTHING = RefineSettings(gram=False, clip=False, verify=False, bias_correction=False)


def model(seed: int, kind: str, linear_head: bool = False) -> Graph:
    """A random graph of at least two weights; with ``linear_head`` one whose output has a bias to correct."""
    rng = np.random.default_rng(seed)
    while True:
        graph = random_graph(rng, kind)
        if len(graph.weights()) > 1 and (output_bias(graph) or not linear_head):
            return graph


def score(graph: Graph, **settings):
    return score_system(graph_system(graph), **settings)


def zero_data_seeds(graph: Graph, count: int, horizon: int, seed: int):
    return system_seeds(graph_system(graph), count, horizon, seed)


def costs_of(graph: Graph) -> dict[str, dict[int, int]]:
    """Bytes as if only codes and one float32 scale a row counted."""
    sizes = {name: sum(t.size for t in tensors) for name, tensors in graph.weights().items()}
    rows = {name: sum(t.shape[0] for t in tensors) for name, tensors in graph.weights().items()}
    return {name: {8: size + 4 * rows[name], 4: -(-size // 2) + 4 * rows[name]} for name, size in sizes.items()}


def prepared(graph: Graph, settings: RefineSettings | None = None, **options: Any):
    """(refiner, scores, costs)."""
    scores = {t.name: t.tqs for t in score(graph, horizon=HORIZON, draws=2).tensors}
    costs = costs_of(graph)
    seeds = zero_data_seeds(graph, 6, HORIZON, 5)
    return Refiner(graph_system(graph), scores, costs, seeds, HORIZON, settings=settings, **options), scores, costs


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(3))
def test_the_refined_plan_is_never_worse_than_the_a_priori_plan(seed: int, kind: str) -> None:
    refiner, scores, costs = prepared(model(seed, kind))
    smallest = sum(min(options.values()) for options in costs.values())
    for budget in (smallest, default_budget(costs), sum(options[8] for options in costs.values())):
        refined = refiner.plan(budget)
        assert refined.total_bytes <= budget
        assert refined.budget_bytes == budget
        assert refined.measured_rmse == pytest.approx(refiner.measure(refined))
        assert refined.measured_rmse <= refiner.measure(plan(scores, costs, budget)) * (1 + 1e-9)


def test_measured_is_what_the_float_graph_with_rounded_weights_does() -> None:
    graph = model(1, "lstm", linear_head=True)
    refiner, _, costs = prepared(graph)
    refined = refiner.plan(default_budget(costs))
    changed = {}
    for tensor in refined.tensors:
        for weight in graph.weights()[tensor.name]:
            codes, scale = quantize_weight(weight.data, tensor.width, clip=tensor.clip)
            changed[weight.name] = replace(weight, data=codes.astype(np.float32) * scale[:, None])
    rounded = shift_output(graph.with_tensors(changed), refined.bias_correction)
    seeds = zero_data_seeds(graph, 6, HORIZON, 5)
    divergence = float_rollout(rounded, seeds, HORIZON).outputs - float_rollout(graph, seeds, HORIZON).outputs
    assert refined.measured_rmse == pytest.approx(np.sqrt(np.mean(divergence**2)), rel=1e-3)


def test_the_same_input_gives_the_same_plan() -> None:
    first, second = (prepared(model(2, "gru"))[0] for _ in range(2))
    budget = default_budget(first.costs)
    assert first.plan(budget).to_json() == second.plan(budget).to_json()
    assert [point.to_json() for point in first.frontier()] == [point.to_json() for point in second.frontier()]


def test_every_part_can_be_left_out() -> None:
    graph = model(4, "lstm", linear_head=True)
    refiner, scores, costs = prepared(graph, NOTHING)
    budget = default_budget(costs)
    assert refiner.plan(budget).widths() == plan(scores, costs, budget).widths()
    assert refiner.plan(budget).evidence.stages == ()
    assert refiner.plan(budget).measured_rmse is None
    assert refiner.plan(budget).evidence.predicted_by == "tqs"
    no_clip = prepared(graph, RefineSettings(clip=False))[0].plan(budget)
    assert set(no_clip.clips().values()) == {1.0}
    no_bias = prepared(graph, RefineSettings(bias_correction=False))[0].plan(budget)
    assert no_bias.bias_correction == ()
    assert no_bias.evidence.stages == ("gram", "clip", "verify")
    no_gram = prepared(graph, RefineSettings(gram=False))[0].plan(budget)
    assert no_gram.evidence.predicted_by == "tqs"
    assert no_gram.measured_rmse is not None
    for made in (no_clip, no_bias, no_gram):
        assert made.total_bytes <= budget


def test_pins_hold_in_every_plan() -> None:
    graph = model(0, "lstm")
    name = next(iter(graph.weights()))
    for width in (4, 8):
        refiner, _, costs = prepared(graph, pins={name: width})
        budget = default_budget(costs, {name: width})
        assert refiner.plan(budget).widths()[name] == width
        assert {point.widths()[name] for point in refiner.frontier()} == {width}


def test_the_frontier_falls_and_is_measured() -> None:
    refiner, _, costs = prepared(model(3, "gru"))
    points = refiner.frontier()
    assert [p.total_bytes for p in points] == sorted(p.total_bytes for p in points)
    damages = [p.predicted_rmse for p in points]
    assert damages == sorted(damages, reverse=True)
    assert all(p.measured_rmse is not None for p in points)
    assert points[0].total_bytes == sum(min(options.values()) for options in costs.values())


def test_int4_is_not_taken_where_it_saves_nothing() -> None:
    graph = model(3, "gru")
    scores = {t.name: t.tqs for t in score(graph, horizon=HORIZON, draws=2).tensors}
    first, *others = costs_of(graph)
    costs = costs_of(graph) | {first: {8: 40, 4: 44}}
    refiner = Refiner(graph_system(graph), scores, costs, zero_data_seeds(graph, 6, HORIZON, 5), HORIZON)
    smallest = 40 + sum(costs[name][4] for name in others)
    assert refiner.plan(smallest).widths()[first] == 8
    assert {point.widths()[first] for point in refiner.frontier()} == {8}


def test_limits_other_than_bytes_are_kept() -> None:
    graph = model(3, "mlp")
    limits = {name: {8: 8, 4: 4} for name in graph.weights()}
    refiner, _, costs = prepared(graph, limits=limits)
    made = refiner.plan(4 * len(costs) + 4)
    assert sum(width == 8 for width in made.widths().values()) <= 1
    assert made.budget_bytes is None


@pytest.mark.parametrize("kind", KINDS)
def test_within_a_divergence(kind: str) -> None:
    refiner, _, costs = prepared(model(6, kind))
    widest = refiner.plan(sum(max(options.values()) for options in costs.values())).measured_rmse
    wanted = max(widest * 1.5, 1e-6)
    made = refiner.within(wanted)
    assert made.measured_rmse <= wanted
    assert refiner.within(1e6).total_bytes == min(point.total_bytes for point in refiner.frontier())
    if widest > 0:
        with pytest.raises(UsageError, match="best that was found"):
            refiner.within(widest * 1e-6)


def test_a_bias_shift_that_is_planted_is_taken_out() -> None:
    """The graph that is planned for differs from the one that is rounded by its output bias alone."""
    graph = model(4, "lstm", linear_head=True)
    refiner, _, costs = prepared(graph)
    channels = graph.forecast.channels
    away = tuple(0.05 + 0.01 * c for c in range(channels))
    weights = [refiner._rounded(t.name, t.rounded) for t in uniform(costs, {}, 8).tensors]
    divergence = refiner._roll(weights, away)
    shift = _fit(refiner._responses, divergence)
    left = refiner._roll(weights, tuple(a + s for a, s in zip(away, shift, strict=True)))
    assert np.square(left).mean() < 0.1 * np.square(divergence).mean()


def test_a_priori_frontier_takes_pins() -> None:
    costs = {"a": {8: 10, 4: 5}, "b": {8: 10, 4: 5}}
    points = frontier({"a": 1.0, "b": 0.5}, costs, pins={"a": 4})
    assert {point.widths()["a"] for point in points} == {4}
    assert [point.total_bytes for point in points] == [10, 15]


# --- clip ratios and the output's bias ------------------------------------------------------------------------------


@pytest.mark.parametrize("clip", CLIPS)
def test_a_clip_ratio_scales_the_codes_and_cuts_the_rest(clip: float) -> None:
    weight = np.random.default_rng(0).normal(size=(3, 40)).astype(np.float32)
    codes, scale = quantize_weight(weight, 4, clip=clip)
    assert scale == pytest.approx(clip * np.abs(weight).max(axis=1) / 7, rel=1e-6)
    assert np.abs(codes).max() == 7
    inside = np.abs(weight) <= 7 * scale[:, None]
    assert np.abs(codes * scale[:, None] - weight)[inside].max() <= scale.max() / 2 * (1 + 1e-5)
    assert (np.abs(codes) == 7)[~inside].all()


def test_quantize_takes_clips_by_source() -> None:
    graph = model(1, "gru", linear_head=True)
    ranges = calibrate(graph, zero_data_seeds(graph, 4, HORIZON, 0), HORIZON)
    names = list(graph.weights())
    widths = dict.fromkeys(names, 4)
    plain = quantize(graph, widths, ranges)
    clipped = quantize(graph, widths, ranges, {names[0]: 0.5})
    for name in names:
        for before, after in zip(plain.weights()[name], clipped.weights()[name], strict=True):
            same = bool(np.array_equal(before.quant.scale, after.quant.scale))
            assert same == (name != names[0])


def test_a_shift_of_the_output_bias_moves_a_forecast_by_as_much() -> None:
    graph = model(4, "lstm", linear_head=True)
    shift = tuple(0.1 * (c + 1) for c in range(graph.forecast.channels))
    seeds = zero_data_seeds(graph, 3, 1, 0)
    moved = float_rollout(shift_output(graph, shift), seeds, 1).outputs - float_rollout(graph, seeds, 1).outputs
    assert moved == pytest.approx(np.broadcast_to(shift, moved.shape), abs=1e-5)
    assert shift_output(graph, ()) is graph
    with pytest.raises(ModelError, match="bias correction"):
        shift_output(graph, (*shift, 0.0))


def test_a_model_without_an_output_bias_is_planned_without_correction() -> None:
    rng = np.random.default_rng(0)
    graph = next(g for g in (random_graph(rng, "lstm") for _ in range(200)) if output_bias(g) is None)
    refiner, _, costs = prepared(graph)
    made = refiner.plan(default_budget(costs))
    assert made.bias_correction == ()
    with pytest.raises(ModelError, match="bias correction"):
        shift_output(graph, (0.1,) * graph.forecast.channels)
