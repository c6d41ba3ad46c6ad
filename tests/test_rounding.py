"""Compensated rounding: its formulas, its exactness, what it knows of each kind of weight, its way through a plan."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from graphs import KINDS, Builder, attention_graph, random_graph, random_seeds

import edge_tqs
from edge_tqs.building.choose import Chooser, PlanRequest
from edge_tqs.errors import UsageError
from edge_tqs.graph.graph import Array, Forecast, Graph, Op, Scaling, Tensor
from edge_tqs.operators.arithmetic.compensated import CLIPS, compensated
from edge_tqs.operators.arithmetic.int8 import quantize_weight
from edge_tqs.passes.interpret import float_rollout, float_step, zero_states
from edge_tqs.passes.moments import input_moments, with_probes
from edge_tqs.passes.output_bias import output_bias
from edge_tqs.passes.units import in_units
from edge_tqs.planning import refine
from edge_tqs.planning.candidates import descended
from edge_tqs.planning.file import COMPENSATED, CORRECTED, RECIPES, Origin, Plan, Rounding
from edge_tqs.planning.plan import default_budget
from edge_tqs.planning.refine import Refiner
from edge_tqs.planning.roundings import Roundings
from edge_tqs.planning.score import score
from edge_tqs.quantization.calibration import calibrate
from edge_tqs.quantization.quantize import quantize
from edge_tqs.system.of_graph import graph_system
from edge_tqs.system.other_units import in_model_units
from edge_tqs.system.seeds import noise, zero_data_seeds

HORIZON = 6
LIMIT = {8: 127, 4: 7}


# --- the formulas ---------------------------------------------------------------------------------------------------


def moments_of(rng: np.random.Generator, size: int) -> Array:
    """Second moments of correlated inputs, some of them much larger than others."""
    inputs = rng.normal(size=(4 * size, size)) @ rng.normal(size=(size, size))
    inputs[:, 0] *= 10
    return inputs.T @ inputs / len(inputs)


def plainly(row: Array, h: Array, limit: int) -> tuple[Array, float]:
    """One row by the formulas of the papers: H inverted and factored by LAPACK, one weight after another."""

    def lost(codes: Array, scale: float) -> float:
        error = scale * codes - row
        return float(error @ h @ error)

    def near(scale: Any) -> Array:
        return np.clip(np.rint(row / scale), -limit, limit)

    peak = np.abs(row).max()
    first = min((clip * peak / limit for clip in CLIPS), key=lambda scale: lost(near(scale), scale))
    order = np.argsort(-np.diag(h), kind="stable")
    factor = np.linalg.cholesky(np.linalg.inv(h[np.ix_(order, order)])).T
    left, codes, scale = row[order].copy(), np.empty(len(row)), first
    for k, column in enumerate(order):
        codes[column] = np.clip(np.rint(left[k] / scale), -limit, limit)
        left[k:] -= (left[k] - scale * codes[column]) / factor[k, k] * factor[k, k:]
    for _ in range(3):
        scale = (row @ h @ codes) / (codes @ h @ codes)
        for k in range(len(row)):
            slope = (h @ (scale * codes - row))[k]
            codes[k] = np.clip(np.rint(codes[k] - slope / (h[k, k] * scale)), -limit, limit)
    scale = (row @ h @ codes) / (codes @ h @ codes)
    return min(((codes, scale), (near(scale), scale), (near(first), first)), key=lambda made: lost(*made))


@pytest.mark.parametrize("width", [8, 4])
@pytest.mark.parametrize("size", [3, 24])
def test_codes_are_those_of_the_formulas_in_the_papers(width: int, size: int) -> None:
    rng = np.random.default_rng([width, size])
    rows = rng.normal(size=(2, 5, size)).astype(np.float32)
    moments = np.stack([moments_of(rng, size) for _ in range(2)])
    codes, scale = compensated(rows, moments, width, 0.01)
    for group in range(2):
        h = moments[group] + 0.01 * np.trace(moments[group]) / size * np.eye(size)
        for row in range(5):
            expected, step = plainly(rows[group, row].astype(np.float64), h, LIMIT[width])
            assert np.array_equal(codes[group, row], expected)
            assert scale[group, row] == pytest.approx(step, rel=1e-6)


@pytest.mark.parametrize("heavy", [1 << 31, 0])
@pytest.mark.parametrize("width", [8, 4])
def test_no_row_errs_more_than_to_nearest_at_its_scale_or_at_its_largest_weight(
    width: int, heavy: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge_tqs.operators.arithmetic.compensated.HEAVY", heavy)
    rng = np.random.default_rng(width)
    for size in (1, 2, 9, 40):
        rows = rng.normal(size=(1, 12, size)).astype(np.float32) * np.exp(rng.normal(size=(1, 12, 1))).astype(
            np.float32
        )
        moments = moments_of(rng, size)[None]
        h = moments[0] + 0.01 * np.trace(moments[0]) / size * np.eye(size)
        codes, scale = compensated(rows, moments, width, 0.01)
        assert np.abs(codes).max() <= LIMIT[width]

        def lost(codes: Array, scale: Array, rows: Array = rows, h: Array = h) -> Array:
            error = codes * scale[..., None].astype(np.float64) - rows
            return ((error @ h) * error).sum(axis=-1)

        same_scale = np.clip(np.rint(rows / scale[..., None]), -LIMIT[width], LIMIT[width])
        nearest, step = quantize_weight(rows[0], width)
        found = lost(codes, scale) - 1e-11 * lost(np.zeros_like(rows), scale)  # what float32 scales cost
        assert (found <= lost(same_scale, scale)).all()
        assert (found <= lost(nearest[None], step[None])).all()


def test_inputs_that_are_always_zero_leave_rounding_as_it_was() -> None:
    rows = np.random.default_rng(0).normal(size=(1, 3, 4)).astype(np.float32)
    codes, scale = compensated(rows, np.zeros((1, 4, 4)), 8, 0.01)
    assert np.abs(codes * scale[..., None] - rows).max() < np.abs(rows).max() / 200


# --- what is read ---------------------------------------------------------------------------------------------------


def depthwise_graph() -> Graph:
    """Two filters a channel over three channels, then a dense layer that reads them all."""
    b = Builder(np.random.default_rng(5))
    x = b.tensor("x", (1, 6, 3))
    data = b.rng.normal(size=(6, 3)).astype(np.float32)
    inputs = (x, b.tensor("filter", (6, 3), data), b.bias("filter/bias", 6))
    attrs = {"stride": 1, "dilation": 2, "left": 1, "right": 0, "activation": "none"}
    y = b.tensor("filtered", (1, 3, 6))
    b.ops.append(Op("depthwise_1d", inputs, (y,), attrs))
    flat = b.tensor("flat", (1, 18))
    b.ops.append(Op("reshape", (y,), (flat,)))
    y = b.op("tanh", (b.dense(flat, b.weight("head", 3, 18), "sum", b.bias("head/bias", 3)),), "y")
    return Graph("depthwise", b.tensors, tuple(b.ops), x, y, (), Forecast(6, 3, "none", (0, 1, 2))).check()


def shared_graph() -> Graph:
    """One weight that two layers read, with a bias for each; and one whose bias the head shares."""
    b = Builder(np.random.default_rng(6))
    x = b.tensor("x", (1, 2))
    twice, once, bias = b.weight("twice", 2, 2), b.weight("once", 2, 2), b.bias("shared/bias", 2)
    first = b.op("tanh", (b.dense(x, twice, "first", b.bias("first/bias", 2)),), "bent")
    second = b.op("tanh", (b.dense(first, twice, "second", b.bias("second/bias", 2)),), "more")
    third = b.dense(second, once, "third", bias)
    y = b.dense(b.op("tanh", (third,), "most"), b.weight("head", 2, 2), "y", bias)
    return Graph("shared", b.tensors, tuple(b.ops), x, y, (), Forecast(3, 2, "windowed", (0, 1))).check()


def any_graph(kind: str) -> Graph:
    made: dict[str, Callable[[], Graph]] = {
        "depthwise": depthwise_graph,
        "shared": shared_graph,
        "attention": lambda: attention_graph(np.random.default_rng(1)),
    }
    return made[kind]() if kind in made else random_graph(np.random.default_rng(3), kind)


EVERY = (*KINDS, "depthwise", "shared", "attention")


def roundings_of(graph: Graph, windows: Array | None = None) -> Roundings:
    seen = random_seeds(np.random.default_rng(2), graph, 24) if windows is None else windows
    return Roundings(graph, lambda: seen, Origin("zero-data", len(seen), HORIZON, 0))


@pytest.mark.parametrize("kind", EVERY)
def test_moments_weigh_an_error_of_the_weight_as_its_layer_does(kind: str) -> None:
    """e'He of each row is the mean square of what e adds to the layer's output, over all that was read."""
    graph = any_graph(kind)
    windows = np.clip(random_seeds(np.random.default_rng(2), graph, 8), -2, 2)
    found = input_moments(graph, windows, 1).all
    rng = np.random.default_rng(9)
    for name in {tensor.name for tensors in graph.weights().values() for tensor in tensors}:
        data = graph.tensors[name].data
        assert data is not None
        error = rng.normal(size=data.shape).astype(np.float32)
        grouped = error.astype(np.float64).reshape(len(found[name].mean), -1, found[name].mean.shape[1])
        mean_square = ((grouped @ found[name].second) * grouped).sum(axis=2).reshape(-1)
        mean = (grouped * found[name].mean[:, None]).sum(axis=2).reshape(-1)
        outputs = outputs_of(graph, name, error, windows)
        assert mean_square == pytest.approx(np.square(outputs).mean(axis=0), rel=2e-3, abs=1e-6)
        assert mean == pytest.approx(outputs.mean(axis=0), rel=2e-3, abs=2e-4)


def outputs_of(graph: Graph, name: str, error: Array, windows: Array) -> Array:
    """(evaluations, rows): what a weight ``error`` would make of all that ``name`` reads in the first forecast."""
    tensors, ops, probes = dict(graph.tensors), list[Op](), []
    for op in graph.ops:
        ops.append(op)
        if op.signature.is_weighted and op.inputs[1] == name:
            tensors["error"] = Tensor("error", error.shape, "float32", error)
            probe = f"probe {len(probes)}"
            tensors[probe] = Tensor(probe, tensors[op.outputs[0]].shape, "float32")
            ops.append(Op(op.kind, (op.inputs[0], "error"), (probe,), {**op.attrs, "activation": "none"}))
            probes.append(probe)
    probed = replace(graph, tensors=tensors, ops=tuple(ops))
    watched = with_probes(probed, probes)
    step, states = float_step(watched), zero_states(watched, len(windows))
    own, seen = len(graph.states), []
    idle = states[own:]
    samples = [windows] if graph.forecast.recurrence == "none" else list(windows.swapaxes(0, 1))
    for sample in samples:
        _, found = step(sample, states)
        states = (*found[:own], *idle)
        seen += [value.reshape(-1, error.shape[0]) for value in found[own:]]
    return np.concatenate(seen).astype(np.float64)


@pytest.mark.parametrize("kind", EVERY)
def test_every_kind_of_weight_is_compensated_and_owns_its_bias_or_leaves_it(kind: str) -> None:
    graph = any_graph(kind)
    roundings = roundings_of(graph)
    for source in graph.weights():
        for width in (8, 4):
            for recipe in (CORRECTED, *COMPENSATED):
                for name, rounded in roundings.codes(source, Rounding(width, 1.0, recipe)).items():
                    biases = {op.inputs[2] for op in graph.ops if len(op.inputs) == 3 and op.inputs[1] == name}
                    readers = [op.inputs[1] for op in graph.ops for bias in biases if bias in op.inputs]
                    bare = any(len(op.inputs) == 2 for op in graph.ops if op.inputs[1:2] == (name,))
                    alone = len(biases) == 1 and set(readers) == {name} and not bare
                    assert (rounded.shift is not None) == alone
                    assert rounded.codes.shape == graph.tensors[name].shape
                    assert np.abs(rounded.codes.astype(int)).max() <= LIMIT[width]
                    assert (rounded.scale > 0).all()


def test_a_shift_of_the_bias_takes_the_mean_error_away() -> None:
    graph = depthwise_graph()
    windows = random_seeds(np.random.default_rng(2), graph, 24)
    for recipe in (CORRECTED, COMPENSATED[0]):
        made = roundings_of(graph, windows).codes("filter", Rounding(4, 1.0, recipe))["filter"]
        assert made.shift is not None
        data = graph.tensors["filter"].data
        assert data is not None
        error = (made.values - data).astype(np.float32)
        left = outputs_of(graph, "filter", error, windows)
        assert np.abs(left.mean(axis=0) + made.shift).max() < 0.3 * np.abs(left).mean()


# --- exactness ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", EVERY)
def test_no_order_of_summing_changes_a_bit(kind: str) -> None:
    """The windows in another order are other blocks of each product, and its sums in another order."""
    graph = any_graph(kind)
    windows = random_seeds(np.random.default_rng(2), graph, 37)
    shuffled = windows[np.random.default_rng(1).permutation(len(windows))]
    first, second = (input_moments(graph, seen, HORIZON) for seen in (windows, shuffled))
    for name, moments in first.all.items():
        assert np.array_equal(moments.products, second.all[name].products)
        assert np.array_equal(moments.inputs, second.all[name].inputs)
        assert np.array_equal(first.early[name].products, second.early[name].products)


DIGESTS = """
import sys
sys.path.insert(0, "tests")
import numpy as np
from test_rounding import RECIPES, Rounding, any_graph, roundings_of
for kind in ("tcn", "gru", "attention"):
    graph = any_graph(kind)
    roundings = roundings_of(graph)
    for source in graph.weights():
        print(*(roundings.digest(source, Rounding(4, 1.0, recipe)) for recipe in RECIPES[1:4]))
"""


def test_no_blas_changes_a_code() -> None:
    """Other kernels of OpenBLAS, and other threads, each in a process of its own: it reads these when it starts."""
    environments = [
        {"OPENBLAS_CORETYPE": "Prescott", "OPENBLAS_NUM_THREADS": "1"},
        {"OPENBLAS_NUM_THREADS": "2"},
    ]
    root = Path(__file__).parent.parent
    found = set()
    for environment in environments:
        done = subprocess.run(
            [sys.executable, "-c", DIGESTS],
            cwd=root,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        found.add(done.stdout)
    assert len(found) == 1
    assert len(found.pop().split()) > 10


# --- through a plan -------------------------------------------------------------------------------------------------


def refiner_of(graph: Graph, roundings: Roundings | None) -> Refiner:
    sizes = {source: sum(t.size for t in tensors) for source, tensors in graph.weights().items()}
    costs = {source: {8: size, 4: -(-size // 2)} for source, size in sizes.items()}
    system = graph_system(graph)
    seeds = zero_data_seeds(system, 6, HORIZON, 0)
    return Refiner(system, dict.fromkeys(costs, 1.0), costs, seeds, HORIZON, roundings=roundings)


@pytest.mark.parametrize("kind", ["mlp", "gru"])
def test_a_plan_measured_with_candidates_is_never_worse_than_to_nearest(kind: str) -> None:
    graph = random_graph(np.random.default_rng(8), kind)
    roundings = roundings_of(graph, noise(graph_system(graph), 24, HORIZON, 0))
    refiner, nearest = refiner_of(graph, roundings), refiner_of(graph, None)
    for width in (8, 4):
        made = refiner.uniform(width)
        assert made.measured_rmse == pytest.approx(refiner.measure(made))
        flat = nearest.uniform(width)
        assert made.measured_rmse <= nearest.measure(flat) * (1 + 1e-9)
    budget = default_budget(refiner.costs)
    made = refiner.plan(budget)
    assert made.total_bytes <= budget
    assert made.origin == roundings.origin
    assert Plan.from_json(made.to_json()) == made
    # what was measured is what the float graph with those very codes does
    changed = {}
    for source, rounding in made.roundings().items():
        for name, data in roundings.values(source, rounding).items():
            changed[name] = replace(graph.tensors[name], data=data)
    bias = graph_system(graph).output_bias
    if made.bias_correction and bias is not None:
        before = changed.get(bias.name, graph.tensors[bias.name])
        changed[bias.name] = replace(before, data=before.data + np.array(made.bias_correction, np.float32))
    seeds = zero_data_seeds(graph_system(graph), 6, HORIZON, 0)
    off = (
        float_rollout(graph.with_tensors(changed), seeds, HORIZON).outputs
        - float_rollout(graph, seeds, HORIZON).outputs
    )
    assert made.measured_rmse == pytest.approx(float(np.sqrt(np.mean(np.square(off)))), rel=1e-2, abs=1e-6)


def test_widths_that_are_not_the_best_with_one_rounding_are_searched_too(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = random_graph(np.random.default_rng(24), "mlp")
    refiner = refiner_of(graph, roundings_of(graph, noise(graph_system(graph), 24, HORIZON, 0)))
    budget = default_budget(refiner.costs)
    made = refiner.plan(budget)
    monkeypatch.setattr(refine, "SETTLED", 1)
    of_one = refiner.plan(budget)
    assert made.widths() != of_one.widths()
    assert made.total_bytes <= budget
    assert made.measured_rmse == pytest.approx(refiner.measure(made))
    assert refiner.measure(made) < 0.95 * refiner.measure(of_one)
    assert made.predicted_rmse is not None
    assert of_one.predicted_rmse is not None
    assert of_one.predicted_rmse < made.predicted_rmse


def test_in_other_units_the_output_bias_is_measured_as_it_is_built() -> None:
    rng = np.random.default_rng(21)
    graph = next(found for found in (random_graph(rng, "mlp") for _ in range(99)) if output_bias(found))
    size = np.array([3.0, 0.5, 2.0, 1.0])[: graph.forecast.channels]
    x = Scaling((0.0,) * len(size), tuple(size))
    y = Scaling((0.0,) * len(size), tuple(size[[graph.forecast.feedback.index(out) for out in range(len(size))]]))
    folded = in_units(graph, x, y, drop=False)
    system = in_model_units(graph_system(folded), x, y)
    assert system.output_bias is not None
    windows = random_seeds(np.random.default_rng(2), graph, 24)
    origin = Origin("zero-data", 24, HORIZON, 0)
    roundings = Roundings(folded, lambda: x.scaled(windows), origin, np.array(y.std), system.constants)
    sizes = {source: sum(t.size for t in tensors) for source, tensors in graph.weights().items()}
    costs = {source: {8: size, 4: -(-size // 2)} for source, size in sizes.items()}
    seeds = windows[:6]
    refiner = Refiner(system, dict.fromkeys(costs, 1.0), costs, seeds, HORIZON, roundings=roundings)
    made = refiner.uniform(4, candidates=False)
    changed = {}
    for name, rounded in roundings.rounded(made.roundings()).items():
        changed[name] = replace(folded.tensors[name], data=rounded.values)
        (bias,) = {op.inputs[2] for op in folded.ops if len(op.inputs) == 3 and op.inputs[1] == name} or {None}
        if rounded.shift is not None:
            moved = folded.tensors[bias].data + rounded.shift
            if bias == system.output_bias.name and made.bias_correction:
                moved = moved + np.array(made.bias_correction) / np.array(y.std)
            changed[bias] = replace(folded.tensors[bias], data=moved.astype(np.float32))
    assert system.output_bias.name in changed
    rolled = [
        float_rollout(g, x.scaled(seeds), HORIZON).outputs * y.std for g in (folded, folded.with_tensors(changed))
    ]
    assert made.measured_rmse == pytest.approx(float(np.sqrt(np.mean(np.square(rolled[1] - rolled[0])))), rel=1e-2)


def test_biases_that_a_rollout_cannot_change_are_left_alone() -> None:
    graph = depthwise_graph()
    windows = random_seeds(np.random.default_rng(2), graph, 24)
    roundings = Roundings(graph, lambda: windows, Origin("zero-data", 24, HORIZON, 0), biases=("head/bias",))
    assert set(roundings.values("filter", Rounding(8, 1.0, COMPENSATED[0]))) == {"filter"}
    assert set(roundings.values("head", Rounding(8, 1.0, COMPENSATED[0]))) == {"head", "head/bias"}


def test_the_search_over_candidates_changes_one_weight_at_a_time_and_keeps_what_helps() -> None:
    ways = [Rounding(8, 1.0, recipe) for recipe in RECIPES]
    best = (ways[3], ways[0], ways[5])

    def measure(tried: tuple[Rounding, ...]) -> float:
        return 1.0 + sum(one != other for one, other in zip(tried, best, strict=True))

    start = (ways[1],) * 3
    assert descended(start, [ways] * 3, measure) == best
    assert descended(best, [ways] * 3, measure) == best
    assert descended(start, [ways] * 3, lambda tried: 1.0) == start


@pytest.mark.parametrize("activations", ["int8", "int16"])
def test_quantize_takes_the_codes_as_they_are(activations: Any) -> None:
    graph = depthwise_graph()
    windows = random_seeds(np.random.default_rng(2), graph, 12)
    rounded = roundings_of(graph, windows).rounded(
        {source: Rounding(4, 1.0, COMPENSATED[0]) for source in graph.weights()}
    )
    widths = dict.fromkeys(graph.weights(), 4)
    ranges = calibrate(graph, windows, HORIZON)
    made = quantize(graph, widths, ranges, None, activations, rounded)
    plain = quantize(graph, widths, ranges, None, activations)
    for name, codes in rounded.items():
        assert np.array_equal(made.tensors[name].data, codes.codes)
        assert made.tensors[name].quant is not None
        assert np.array_equal(made.tensors[name].quant.scale, codes.scale)
        bias = made.tensors[f"{name}/bias"]
        exact = graph.tensors[f"{name}/bias"].data + codes.shift
        assert np.abs(bias.data * bias.quant.scale.astype(np.float64) - exact).max() <= bias.quant.scale.max()
    assert not np.array_equal(made.tensors["head"].data, plain.tensors["head"].data)


def test_a_bias_that_a_scale_cannot_hold_falls_back_to_nearest_in_that_row_alone() -> None:
    graph = depthwise_graph()
    bias = graph.tensors["head/bias"]
    graph = graph.with_tensors({bias.name: replace(bias, data=np.array([1e9, 0.1, 0.1], np.float32))})
    rounded = roundings_of(graph).rounded({"head": Rounding(8, 1.0, COMPENSATED[0])})
    ranges = calibrate(graph, random_seeds(np.random.default_rng(2), graph, 4), 2)
    made = quantize(graph, dict.fromkeys(graph.weights(), 8), ranges, rounded=rounded).tensors["head"]
    assert made.quant is not None
    assert made.quant.scale[0] > rounded["head"].scale[0]
    assert np.array_equal(made.data[1:], rounded["head"].codes[1:])


def test_a_plan_file_gives_its_codes_again_or_says_that_it_cannot(keras: Any, tmp_path: Path) -> None:
    scored = []
    for seed in range(2):
        keras.utils.set_random_seed(seed)
        layers = [keras.layers.Flatten(), keras.layers.Dense(16, "tanh", name="a"), keras.layers.Dense(2, name="b")]
        keras.Sequential([keras.Input((6, 2)), *layers]).save(tmp_path / f"{seed}.keras")
        model = edge_tqs.open_model(tmp_path / f"{seed}.keras", horizon=8)
        scored.append(edge_tqs.score(model, draws=2))
    file = tmp_path / "plan.json"
    direct = edge_tqs.quantize(scored[0], bits=4)
    file.write_text(direct.plan.to_json())
    body = json.loads(file.read_text())
    assert body["origin"] == {"windows": "zero-data", "count": 48, "horizon": 8, "seed": 0}
    assert any(tensor["rounding"] != "nearest" for tensor in body["tensors"])
    assert all(tensor["rounding"] == "nearest" or len(tensor["codes"]) == 16 for tensor in body["tensors"])
    assert edge_tqs.quantize(scored[0], plan=file).flatbuffer == direct.flatbuffer
    assert edge_tqs.plan(scored[0], bits=4).plan == replace(direct.plan, activations=None)  # not measured there
    with pytest.raises(UsageError, match="is another one, or the data") as caught:
        edge_tqs.quantize(scored[1], plan=file)
    assert "evidence to null" in caught.value.hint

    # a width that a hand changed is rounded anew, the others are held to their codes
    edited = json.loads(file.read_text())
    edited["tensors"][0]["width"] = 8
    file.write_text(json.dumps(edited))
    assert edge_tqs.quantize(scored[0], plan=file).plan.widths() == {"a/kernel": 8, "b/kernel": 4}
    edited["tensors"][1]["codes"] = "0" * 16
    file.write_text(json.dumps(edited))
    if edited["tensors"][1]["rounding"] != "nearest":
        with pytest.raises(UsageError, match="b/kernel"):
            edge_tqs.quantize(scored[0], plan=file)

    # a plan of before, which says nothing of roundings, is built as it was
    del body["origin"]
    for tensor in body["tensors"]:
        del tensor["rounding"], tensor["codes"]
    file.write_text(json.dumps({**body, "bias_correction": [], "evidence": None}))
    of_old = edge_tqs.quantize(scored[0], plan=file).flatbuffer
    assert of_old == edge_tqs.quantize(scored[0], bits=4, rounding="nearest").flatbuffer
    assert of_old != direct.flatbuffer
    # and one of data cannot be built without
    body = json.loads(direct.plan.to_json())
    body["origin"]["windows"] = "data"
    file.write_text(json.dumps(body))
    with pytest.raises(UsageError, match="there is no data"):
        edge_tqs.quantize(scored[0], plan=file)


def test_with_data_half_of_the_seeds_are_training_windows(
    keras: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Values of a series lie beyond 50, which no noise does."""
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Flatten(), keras.layers.Dense(4, "tanh", name="a"), keras.layers.Dense(2, name="b")]
    keras.Sequential([keras.Input((6, 2)), *layers]).save(tmp_path / "m.keras")
    values = 60 + np.sin(np.arange(600)[:, None] / [5.0, 9.0])
    np.savetxt(tmp_path / "m.csv", values, "%.4f", ",", header="a,b", comments="")
    seen: list[Any] = []
    kept = Chooser.__init__

    def spied(self: Chooser, *args: Any, **more: Any) -> None:
        seen.append(args[5])
        kept(self, *args, **more)

    monkeypatch.setattr(Chooser, "__init__", spied)
    asked: list[tuple[str | None, Any]] = [(None, {}), ("m.csv", {}), ("m.csv", {"rounding": "nearest"})]
    for data, more in asked:
        source = None if data is None else tmp_path / data
        model = edge_tqs.open_model(tmp_path / "m.keras", data=source, horizon=4, scaling="none" if data else None)
        edge_tqs.plan(edge_tqs.score(model, draws=2, cache=False), bits=8, **more)
    without, with_data, nearest = seen
    assert without is None
    assert nearest is None
    assert with_data.shape == (48, 6, 2)
    real = (with_data > 50).all(axis=(1, 2))
    assert real.sum() == 24
    near = np.abs(with_data[real].reshape(-1, 1, 2) - values[None]).max(axis=2).min(axis=1)
    assert near.max() < 1e-3  # each is a row of the file


def test_a_plan_file_gives_the_same_file_in_another_process(keras: Any, tmp_path: Path) -> None:
    keras.utils.set_random_seed(3)
    layers = [keras.layers.Flatten(), keras.layers.Dense(24, "tanh", name="a"), keras.layers.Dense(2, name="b")]
    keras.Sequential([keras.Input((6, 2)), *layers]).save(tmp_path / "model.keras")
    rows = np.random.default_rng(0).normal(size=(400, 2)).cumsum(axis=0) * 0.1
    (tmp_path / "rows.csv").write_text("u,v\n" + "".join(f"{u:.5f},{v:.5f}\n" for u, v in rows))
    again = (
        "import sys, pathlib, edge_tqs\n"
        "model = edge_tqs.open_model('model.keras', data='rows.csv', horizon=6, kind='closed loop', scaling='none')\n"
        "plan = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else None\n"
        "scored, share = edge_tqs.score(model, draws=2, cache=False), None if plan else 0.5\n"
        "made = edge_tqs.quantize(scored, plan=plan, tolerance=share)\n"
        "pathlib.Path('plan.json').write_text(made.plan.to_json())\n"
        "pathlib.Path('model.tflite').write_bytes(made.flatbuffer)\n"
    )

    def run(*plan: str) -> tuple[bytes, str]:
        done = subprocess.run(
            [sys.executable, "-c", again, *plan], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return (tmp_path / "model.tflite").read_bytes(), (tmp_path / "plan.json").read_text()

    flatbuffer, text = run()
    assert run("plan.json") == (flatbuffer, text)

    model = edge_tqs.open_model(
        tmp_path / "model.keras", data=tmp_path / "rows.csv", horizon=6, kind="closed loop", scaling="none"
    )
    scored, held = edge_tqs.score(model, draws=2, cache=False), json.loads(text)
    # the ranges of the plan are built, not those that this data has
    held["activations"]["ranges"] = [
        item | {"low": 1.5 * item["low"], "high": 1.5 * item["high"]} for item in held["activations"]["ranges"]
    ]
    file = tmp_path / "wider.json"
    file.write_text(json.dumps(held))
    wider = edge_tqs.quantize(scored, plan=file).integer
    plain = edge_tqs.quantize(scored, plan=tmp_path / "plan.json")
    assert plain.flatbuffer == flatbuffer
    assert wider.quant("x").scale[0] == pytest.approx(1.5 * plain.integer.quant("x").scale[0])
    held["activations"]["ranges"].pop()
    file.write_text(json.dumps(held))
    with pytest.raises(UsageError, match="ranges are of another model"):
        edge_tqs.quantize(scored, plan=file)
    held["activations"] = {"codes": "int16"}
    file.write_text(json.dumps(held))
    assert edge_tqs.quantize(scored, plan=file).activations == "int16"


def test_a_plan_that_compensates_is_refused_where_layers_cannot_be_looked_into() -> None:
    graph = depthwise_graph()
    system = graph_system(graph)
    made = refiner_of(graph, roundings_of(graph)).uniform(8, candidates=False)
    costs = {tensor.name: {8: tensor.bytes, 4: 1} for tensor in made.tensors}
    chooser = Chooser(system, score(system, horizon=2, draws=2), costs, PlanRequest(plan=made))
    with pytest.raises(UsageError, match="cannot be looked into") as caught:
        chooser.plan()
    assert "nearest" in caught.value.hint
