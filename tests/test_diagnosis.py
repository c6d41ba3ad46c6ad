"""What is said of a board that differs: the planted fault where it explains every code, and nothing more elsewhere."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from graphs import quantized, random_codes, random_graph

from edge_tqs.graph.graph import Array, Graph
from edge_tqs.graph.rollout import Rollout
from edge_tqs.quantization.simulate import integer_tensors, zero_states
from edge_tqs.validation.diagnosis import diagnose
from edge_tqs.validation.operator_probe import ProbedEvaluation, Sample, WrongTensor

RNG = np.random.default_rng
NO_ROLLOUT = Rollout("integer", np.zeros((1, 1, 1), np.int8))


def model(kind: str, seed: int) -> Graph:
    rng = RNG(seed)
    return quantized(rng, random_graph(rng, kind))


def evaluation_of(graph: Graph, seed: int) -> dict[str, Array]:
    """All tensors of an evaluation that begins with random codes."""
    rng, forecast = RNG([7, seed]), graph.forecast
    window = (forecast.window,) if forecast.recurrence == "none" else ()
    x = random_codes(rng, graph, (1, *window, forecast.channels))
    states = tuple(random_codes(rng, graph, state.shape) for state in zero_states(graph, 1))
    return integer_tensors(graph)(x, states)


def probed(graph: Graph, evaluations: list[dict[str, Array]], name: str, measured: list[Array]) -> ProbedEvaluation:
    """An evaluation, and maybe others, in which ``name`` was measured thus and all before it was right."""
    op = next((op for op in graph.ops if name in op.outputs), None)
    samples = [
        Sample(() if op is None else tuple(tensors[n] for n in op.inputs), tensors[name], got)
        for tensors, got in zip(evaluations, measured, strict=True)
    ]
    variables = {n: codes for n, codes in evaluations[0].items() if graph.tensors[n].data is None}
    return ProbedEvaluation(0, 0, 0, False, variables, (WrongTensor(name, op, tuple(samples)),))


def said(graph: Graph, name: str, evaluations: list[dict[str, Array]], measured: list[Array]) -> str:
    return diagnose(graph, NO_ROLLOUT, NO_ROLLOUT, probed(graph, evaluations, name, measured))


def dense_ops(graph: Graph) -> list[int]:
    return [i for i, op in enumerate(graph.ops) if op.kind in ("fully_connected", "conv_1d")]


@pytest.mark.parametrize("kind", ["mlp", "lstm", "gru", "tcn"])
@pytest.mark.parametrize("seed", range(6))
def test_a_wrong_weight_is_found_whatever_it_is(kind: str, seed: int) -> None:
    graph, rng = model(kind, seed), RNG([1, seed])
    op = graph.ops[dense_ops(graph)[0]]
    weight = graph.tensors[op.inputs[1]]
    wrong = np.array(weight.data)
    row, *rest = (int(rng.integers(size)) for size in weight.shape)
    before = int(wrong[(row, *rest)])
    wrong[(row, *rest)] = after = -before if before else 5
    faulty = replace(graph, tensors={**graph.tensors, weight.name: replace(weight, data=wrong)})
    right, got = ([evaluation_of(g, n) for n in range(5)] for g in (graph, faulty))
    name = op.outputs[0]
    text = said(graph, name, right, [tensors[name] for tensors in got])
    column = int(np.ravel_multi_index(tuple(rest), weight.shape[1:]))
    if all(np.array_equal(a[name], b[name]) for a, b in zip(right, got, strict=True)):
        assert "wrong" not in text.partition(";")[0]
        return
    assert text.startswith(f"wrong weight in {weight.source or weight.name}")
    exact = re.search(r"output (\d+), input (\d+) is (-?\d+)(?: to (-?\d+))?, not (-?\d+)", text)
    if exact is not None:
        assert [int(exact[i]) for i in (1, 2, 5)] == [row, column, before]
        assert int(exact[3]) <= after <= int(exact[4] or exact[3])
    else:
        assert f"one weight of output {row} explains every code" in text


@pytest.mark.parametrize("seed", range(8))
def test_noise_is_not_taken_for_a_fault_that_has_a_name(seed: int) -> None:
    graph, rng = model("gru", seed), RNG([2, seed])
    tensors = evaluation_of(graph, seed)
    for op in graph.ops:
        name = op.outputs[0]
        noise = rng.integers(-128, 128, tensors[name].shape).astype(np.int8)
        text = said(graph, name, [tensors], [noise])
        assert text.startswith(f"the first wrong operator is {op.kind}, which writes {name}: "), text
        assert re.search(r"\d+ of \d+ codes differ, by up to \d+$", text)


def test_differences_of_one_code_are_called_rounding_and_no_more() -> None:
    graph = model("gru", 0)
    tensors = evaluation_of(graph, 0)
    name = next(op.outputs[0] for op in graph.ops if op.kind == "add")
    got = tensors[name].copy()
    got[0, :2] += np.where(got[0, :2] < 127, 1, -1).astype(np.int8)
    text = said(graph, name, [tensors], [got])
    assert text.startswith(
        f"rounding: 2 of {got.size} codes differ, by one, in {name}; the first wrong operator is add"
    )


def test_some_outputs_of_a_layer_are_laid_to_its_constants() -> None:
    graph = model("lstm", 1)
    tensors = evaluation_of(graph, 0)
    op = graph.ops[dense_ops(graph)[0]]
    name = op.outputs[0]
    got = tensors[name].copy()
    got[0, :2] = np.where(got[0, :2] < 0, 100, -100)
    text = said(graph, name, [tensors], [got])
    assert "outputs 0, 1 alone differ, with equal inputs" in text
    assert graph.tensors[op.inputs[1]].source in text


def test_samples_one_place_off() -> None:
    graph = model("tcn", 5)
    tensors = evaluation_of(graph, 0)
    shapes = {op.outputs[0]: graph.tensors[op.outputs[0]].shape for op in graph.ops}
    name = next(name for name, shape in shapes.items() if len(shape) == 3 and shape[1] > 3)
    for shift, word in ((1, "late"), (-1, "early")):
        text = said(graph, name, [tensors], [np.roll(tensors[name], shift, axis=1)])
        assert text.startswith(f"delay line off by one: {name} holds each sample one place {word}")


def test_a_state_is_called_not_reset_only_where_a_reset_comes_before() -> None:
    graph = model("gru", 0)
    tensors, name = evaluation_of(graph, 0), graph.states[0].input
    at = probed(graph, [tensors], name, [np.roll(tensors[name], 1)])
    for after_reset, words in ((True, "state not reset"), (False, "is not what the evaluation before left")):
        assert words in diagnose(graph, NO_ROLLOUT, NO_ROLLOUT, replace(at, after_reset=after_reset))
    at = probed(graph, [tensors], graph.input, [np.roll(tensors[graph.input], 1)])
    assert "other samples than were pushed and fed back" in diagnose(graph, NO_ROLLOUT, NO_ROLLOUT, at)


def rollouts(wrong: Mapping[int, int]) -> tuple[Rollout, Rollout]:
    """(expected, measured): 3 rollouts of 5 steps; ``wrong``: rollout -> its first wrong step."""
    right = np.zeros((3, 5, 2), np.int8)
    got = right.copy()
    for rollout, step in wrong.items():
        got[rollout, step:] = 1
    return Rollout("integer", right), Rollout("device", got)


@pytest.mark.parametrize(
    ("wrong", "not_reset"),
    [({1: 0, 2: 0}, True), ({0: 3, 1: 0, 2: 0}, False), ({1: 0}, False), ({1: 0, 2: 1}, False), ({0: 0}, False)],
)
def test_what_the_rollouts_alone_say(wrong: dict[int, int], not_reset: bool) -> None:
    graph = model("gru", 0)
    text = diagnose(graph, *rollouts(wrong), None)
    assert ("state not reset" in text) is not_reset
    assert "edge-tqs build --probe" in text
    nothing = ProbedEvaluation(0, 0, 0, False, {}, ())
    text = diagnose(graph, *rollouts(wrong), nothing)
    assert ("state not reset" in text) is not_reset
    assert ("every operator computes what it should" in text) is not not_reset
