from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_tqs.errors import ModelError, UsageError
from edge_tqs.graph.graph import Array, Graph, Recurrence
from edge_tqs.passes.interpret import float_rollout
from edge_tqs.planning.divergence import LEAST, MOST, add_rounding_noise
from edge_tqs.planning.score import Sensitivity
from edge_tqs.planning.score import score as score_system
from edge_tqs.read.keras.layers import READERS, GraphBuilder, KerasLayer, Weight
from edge_tqs.system.of_graph import graph_system
from edge_tqs.system.seeds import zero_data_seeds as system_seeds
from edge_tqs.system.tensorflow import import_tensorflow
from edge_tqs.system.tensorflow_rollout import trace_rollout

RECURRENT = {
    "activation": "tanh",
    "recurrent_activation": "sigmoid",
    "go_backwards": False,
    "return_state": False,
    "return_sequences": False,
}


def score(graph: Graph, **settings: Any) -> Sensitivity:
    return score_system(graph_system(graph), **settings)


def zero_data_seeds(graph: Graph, count: int, horizon: int, seed: int) -> Array:
    return system_seeds(graph_system(graph), count, horizon, seed)


def kernel(path: str, data: object) -> Weight:
    return Weight(path, np.asarray(data, np.float32))


def linear(weight: object, *, window: int = 1, channels: int = 1) -> Graph:
    """Y = the flat window times ``weight`` (W * F, F)."""
    builder = GraphBuilder("linear", window=window, channels=channels, recurrence="none")
    flat = builder.op("reshape", "flat", ["x"], (1, window * channels))
    builder.value = builder.fully_connected("y", flat, kernel("w", weight), None)
    return builder.finish()


def two_paths(rng: np.random.Generator, gain: float) -> Graph:
    """Y = gain * (x @ a) + x @ b, with a and b alike."""
    builder = GraphBuilder("paths", window=4, channels=2, recurrence="none")
    flat = builder.op("reshape", "flat", ["x"], (1, 8))
    weight = rng.normal(0, 0.1, (8, 2))
    a = builder.fully_connected("ya", flat, kernel("a", weight), None)
    b = builder.fully_connected("yb", flat, kernel("b", weight), None)
    scaled = builder.fully_connected("scaled", a, kernel("gain", gain * np.eye(2)), None)
    builder.value = builder.op("add", "y", [scaled, b])
    return builder.finish()


def recurrent(kind: str, recurrence: Recurrence, *, window: int, reset_after: bool = True) -> Graph:
    """Two recurrent layers with a Dense between them, and a head."""
    rng = np.random.default_rng(11)
    builder = GraphBuilder(kind, window=window, channels=3, recurrence=recurrence)
    gates = {"LSTM": 4, "GRU": 3}[kind]

    def add(name: str, layer: str, config: dict[str, Any], **shapes: tuple[int, ...]) -> None:
        weights = {key: kernel(f"{name}/{key}", rng.normal(0, 0.4, shape)) for key, shape in shapes.items()}
        READERS[layer](KerasLayer(name, layer, config, weights, last_recurrent=name == "two"), builder)

    for name, inputs, units in (("one", 3, 6), ("two", 5, 4)):
        bias = (2, 3 * units) if kind == "GRU" and reset_after else (gates * units,)
        config = RECURRENT | {"units": units, "reset_after": reset_after, "return_sequences": name == "one"}
        add(name, kind, config, kernel=(inputs, gates * units), recurrent_kernel=(units, gates * units), bias=bias)
        if name == "one":
            add("between", "Dense", {"activation": "elu"}, kernel=(6, 5), bias=(5,))
    add("slope", "LeakyReLU", {"negative_slope": 0.2})
    add("head", "Dense", {"activation": "linear"}, kernel=(4, 3), bias=(3,))
    return builder.finish()


@pytest.mark.parametrize(
    ("kind", "recurrence", "window", "horizon", "reset_after"),
    [
        ("LSTM", "windowed", 6, 15, True),
        ("LSTM", "windowed", 6, 4, True),
        ("GRU", "windowed", 5, 5, False),
        ("GRU", "windowed", 1, 7, True),
        ("LSTM", "stateful", 6, 9, True),
        ("GRU", "stateful", 1, 1, False),
    ],
)
def test_traced_rollout_equals_the_interpreter(
    kind: str, recurrence: Recurrence, window: int, horizon: int, reset_after: bool
) -> None:
    graph = recurrent(kind, recurrence, window=window, reset_after=reset_after)
    graph = replace(graph, forecast=replace(graph.forecast, feedback=(2, 0, 1)))
    rng = np.random.default_rng(1)
    seeds = rng.normal(size=(3, window, 3)).astype(np.float32)
    rollout = trace_rollout(graph, horizon, 3)
    np.testing.assert_allclose(rollout({}, seeds), float_rollout(graph, seeds, horizon).outputs, atol=1e-5)
    tensor = graph.weights()["one/kernel"][0]
    changed = rng.normal(size=tensor.shape).astype(np.float32)
    expected = float_rollout(graph.with_tensors({tensor.name: replace(tensor, data=changed)}), seeds, horizon).outputs
    assert np.abs(expected - rollout({}, seeds)).max() > 1e-3
    np.testing.assert_allclose(rollout({tensor.name: changed}, seeds), expected, atol=1e-5)


def test_traced_window_model_equals_the_interpreter() -> None:
    rng = np.random.default_rng(2)
    graph = two_paths(rng, 2.0)
    graph = replace(graph, forecast=replace(graph.forecast, feedback=(1, 0)))
    seeds = rng.normal(size=(5, 4, 2)).astype(np.float32)
    np.testing.assert_allclose(trace_rollout(graph, 9, 5)({}, seeds), float_rollout(graph, seeds, 9).outputs, atol=1e-5)


def test_without_xla_the_rollout_is_traced_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    tf = import_tensorflow()
    function, refused = tf.function, []

    def without_xla(*args: Any, jit_compile: bool = False, **options: Any) -> Any:
        if jit_compile:
            refused.append(True)
            raise tf.errors.UnimplementedError(None, None, "no XLA for this CPU")
        return function(*args, **options)

    monkeypatch.setattr(tf, "function", without_xla)
    graph = recurrent("GRU", "windowed", window=4)
    seeds = np.random.default_rng(1).normal(size=(3, 4, 3)).astype(np.float32)
    found = trace_rollout(graph, 7, 3)({}, seeds)
    assert refused == [True]
    np.testing.assert_allclose(found, float_rollout(graph, seeds, 7).outputs, atol=1e-5)


def test_score_of_one_linear_step_is_the_variance_of_rounding() -> None:
    """Over one step, D is mean_c sum_j x_j^2 step_c^2 / 12 in expectation, over the elements off the grid."""
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(12, 3))
    seeds = rng.normal(size=(4, 4, 3)).astype(np.float32)
    largest = np.abs(weight).max(axis=0)
    off_grid = np.abs(weight) < largest
    expected = ((seeds.reshape(4, 12) ** 2) @ (off_grid * (largest / 31) ** 2 / 12)).mean(axis=1)
    found = score(linear(weight, window=4, channels=3), horizon=1, draws=600, seeds=seeds)
    (tensor,) = found.tensors
    assert tensor.tqs == pytest.approx(np.exp(np.log(expected).mean()), rel=0.08)
    assert tensor.low < tensor.tqs < tensor.high
    assert (tensor.name, tensor.shape, tensor.channels) == ("w", (12, 3), 3)
    assert found.lyapunov == 0.0


def test_a_tensor_with_ten_times_the_effect_scores_a_hundred_times_as_high() -> None:
    found = score(two_paths(np.random.default_rng(4), 10.0), horizon=1, draws=64)
    by_name = {tensor.name: tensor.tqs for tensor in found.tensors}
    assert by_name["a"] / by_name["b"] == pytest.approx(100, rel=0.5)


def test_the_interval_is_over_seeds_too() -> None:
    """Seeds that differ much in what they show make the interval wide, however many draws there are."""
    alike = np.ones((8, 4, 3), np.float32)
    unlike = alike * (10.0 ** np.arange(-3, 5))[:, None, None].astype(np.float32)
    weight = np.random.default_rng(0).normal(size=(12, 3))
    (same,), (spread,) = (
        score(linear(weight, window=4, channels=3), horizon=1, draws=64, seeds=seeds).tensors
        for seeds in (alike, unlike)
    )
    assert same.high / same.low < 2
    assert spread.high / spread.low > 100


def test_processes_and_kept_scores_change_nothing(tmp_path: Path) -> None:
    graph = recurrent("GRU", "windowed", window=4)
    settings: dict[str, Any] = {"horizon": 6, "draws": 3, "seed": 5, "model_hash": "ab"}
    alone = score(graph, **settings)
    assert score(graph, **settings, workers=2, opener=partial(graph_system, graph)) == alone
    assert score(graph, **settings, cache=tmp_path) == alone
    folder = next(tmp_path.iterdir())
    assert len(list(folder.glob("*.npy"))) == len(graph.weights())

    def measured(**options: Any) -> tuple[Sensitivity, int]:
        calls: list[int] = []
        found = score(graph, **settings | options, cache=tmp_path, progress=lambda done, total: calls.append(done))
        return found, calls[0]

    assert measured() == (alone, 18)
    assert measured(draws=4)[1] == measured(model_hash="cd")[1] == measured(seed=6)[1] == 0
    assert measured(variant="output near")[1] == measured(variant="output far")[1] == 0
    next(folder.glob("*.npy")).write_bytes(b"half a file")
    assert measured() == (alone, 15)


def test_an_interrupted_score_keeps_the_weights_that_it_has_measured(tmp_path: Path) -> None:
    graph = recurrent("GRU", "windowed", window=4)

    def interrupt(done: int, total: int) -> None:
        if done == 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        score(graph, horizon=6, draws=3, model_hash="ab", cache=tmp_path, progress=interrupt)
    calls: list[int] = []
    score(graph, horizon=6, draws=3, model_hash="ab", cache=tmp_path, progress=lambda done, total: calls.append(done))
    assert calls[0] == 6


def test_lyapunov_is_the_growth_of_a_linear_map() -> None:
    """y[t+1] = y[t] + 0.11 y[t-1] grows by 1.1 a step; noise on 0.11 alone makes a divergence of about t * 1.1^t."""
    steps = np.arange(1, 61)
    expected = np.polyfit(steps, np.log(steps) + steps * np.log(1.1), 1)[0]
    found = score(linear([[0.11], [1.0]], window=2), horizon=60, seeds=np.full((2, 2, 1), 0.01, np.float32))
    assert found.lyapunov == pytest.approx(expected, rel=0.05)


def test_predictability_is_the_first_step_beyond_the_threshold() -> None:
    # The noise is on the small element: at most 1 / 31 / 2 of the input each step, which adds up along the rollout.
    graph = linear([[1.0, 0.0], [0.5, 1.0]], channels=2)
    seeds = np.ones((2, 1, 2), np.float32)
    calm = score(graph, horizon=2, seeds=seeds)
    long = score(graph, horizon=40, seeds=seeds)
    assert calm.predictability_steps is None
    assert long.predictability_steps is not None
    assert 2 < long.predictability_steps <= 40


def test_score_is_deterministic_and_reports_progress() -> None:
    graph = recurrent("GRU", "windowed", window=4, reset_after=False)
    calls: list[tuple[int, int]] = []
    first = score(graph, horizon=6, draws=3, seed=5, progress=lambda done, total: calls.append((done, total)))
    assert first == score(graph, horizon=6, draws=3, seed=5)
    assert first.to_json() != score(graph, horizon=6, draws=3, seed=6).to_json()
    assert [tensor.name for tensor in first.tensors] == list(graph.weights())
    assert [tensor.shape for tensor in first.tensors][:2] == [(3, 18), (6, 18)]
    assert calls == [(n, 18) for n in range(19)]


@pytest.mark.parametrize(
    ("weight", "expected"), [([[0.0, 0.0], [0.0, 0.0]], LEAST), ([[0.5, 0.5], [-0.5, 0.5]], LEAST)]
)
def test_zero_and_constant_groups_score_the_least_and_no_nan(weight: object, expected: float) -> None:
    found = score(linear(weight, channels=2), horizon=5, draws=2)
    assert found.tensors[0].tqs == pytest.approx(expected)
    assert found.lyapunov == 0.0
    assert found.predictability_steps is None


def test_a_model_that_overflows_scores_finite() -> None:
    graph = linear([[50.0, 3.0], [2.0, 60.0]], channels=2)
    found = score(graph, horizon=40, draws=2)
    assert 1 < found.tensors[0].tqs <= MOST
    assert np.isfinite([found.lyapunov, found.tensors[0].low, found.tensors[0].high]).all()


def test_noise_stays_within_half_a_step_and_off_the_largest_elements() -> None:
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(64, 4))
    weight[:32, 1] = 0
    (tensor,) = graph_system(linear(weight, window=16, channels=4)).weights["w"]
    noise = add_rounding_noise(tensor, rng) - tensor.data
    assert not noise[tensor.data == 0].any()  # zero lies on every grid
    largest = np.abs(tensor.data).max(axis=1, keepdims=True)
    assert not noise[np.abs(tensor.data) == largest].any()
    assert 0.45 < (np.abs(noise) / (largest / 31)).max() <= 0.5001


def test_zero_data_seeds_are_half_noise_and_half_the_models_own() -> None:
    graph = linear(np.vstack([np.zeros((14, 2)), 0.5 * np.eye(2)]), window=8, channels=2)
    seeds = zero_data_seeds(graph, 40, 12, 7)
    assert (seeds.shape, seeds.dtype) == ((40, 8, 2), np.float32)
    np.testing.assert_array_equal(seeds, zero_data_seeds(graph, 40, 12, 7))
    assert seeds[:20].std() == pytest.approx(1, abs=0.25)
    steps = seeds[:20]
    assert np.corrcoef(steps[:, 1:].ravel(), steps[:, :-1].ravel())[0, 1] == pytest.approx(0.9, abs=0.06)
    np.testing.assert_allclose(seeds[20:, 1:], 0.5 * seeds[20:, :-1], atol=1e-6)
    assert zero_data_seeds(graph, 1, 3, 0).shape == (1, 8, 2)


def test_seeds_whose_rollout_runs_away_are_rejected_while_there_are_others() -> None:
    graph = linear([[0.0], [0.0], [0.0], [1.05]], window=4)
    seeds = zero_data_seeds(graph, 8, 30, 0)
    assert np.abs(float_rollout(graph, seeds, 30).outputs).max() <= 5
    wild = linear([[0.0], [0.0], [0.0], [-1e4]], window=4)
    assert np.isfinite(zero_data_seeds(wild, 8, 30, 0)).all()
    assert zero_data_seeds(wild, 8, 30, 0).shape == (8, 4, 1)


def test_json_round_trip() -> None:
    found = score(linear([[0.5, 0.2], [0.1, 0.4]], channels=2), horizon=3, draws=2, model_hash="ab12")
    assert Sensitivity.from_json(found.to_json()) == found
    assert json.loads(found.to_json())["model_hash"] == "ab12"
    for text in ("", "[]", "{}", found.to_json().replace("tqs", "tsq"), found.to_json().replace('n": 1', 'n": 9')):
        with pytest.raises(UsageError, match="score"):
            Sensitivity.from_json(text)


def test_wrong_arguments_are_refused() -> None:
    graph = linear([[0.5, 0.2], [0.1, 0.4]], channels=2)
    with pytest.raises(UsageError, match="0 steps"):
        score(graph, horizon=0)
    with pytest.raises(UsageError, match=r"\(S, 1, 2\)"):
        score(graph, horizon=1, seeds=np.zeros((3, 2, 2), np.float32))
    (tensor,) = graph.weights()["w"]
    integer = graph.with_tensors({tensor.name: replace(tensor, dtype="int8", data=np.zeros((2, 2), np.int8))})
    with pytest.raises(ModelError, match="w is int8"):
        score(integer, horizon=1)
