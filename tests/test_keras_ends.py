"""Keras models of several inputs, read as one window, and of several outputs, one of which is the forecast."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from c_library import TRAPS, Forecaster
from click.testing import CliRunner
from graphs import METADATA, needs_tflm
from saving import save

from edge_tqs.building.request import ModelRequest
from edge_tqs.cli.main import cli
from edge_tqs.errors import ModelError, UsageError
from edge_tqs.flatbuffer import model as tflite_model
from edge_tqs.graph.graph import Output
from edge_tqs.passes.interpret import float_rollout
from edge_tqs.quantization import simulate
from edge_tqs.quantization.calibration import calibrate
from edge_tqs.quantization.quantize import quantize
from edge_tqs.quantization.runtimes import rollout_in
from edge_tqs.read.keras.model import load, load_keras
from edge_tqs.read.keras.system import keras_system
from edge_tqs.read.opening import open_model
from edge_tqs.system.reading import Said

W, F = 6, 3
Make = Callable[[Any], Any]


def listed(keras: Any) -> Any:
    """Two channels, and one that is only looked at as it is now."""
    layers = keras.layers
    a, b = keras.Input((W, 2)), keras.Input((W, 1))
    y = layers.Flatten()(layers.Conv1D(3, 2, activation="relu")(a))
    return keras.Model([a, b], layers.Dense(F)(layers.Concatenate()([y, layers.Flatten()(b[:, -1:])])))


def keyed(keras: Any) -> Any:
    """Sorted keys give the order: "late" before "soon", whichever the model names first."""
    layers = keras.layers
    late, soon = keras.Input((W, 1), name="late"), keras.Input((W, 2), name="soon")
    z = layers.GRU(3)(layers.Concatenate()([layers.Dense(2, "tanh")(soon), late]))
    return keras.Model({"soon": soon, "late": late}, {"said": layers.Dense(F)(z)})


def stateful(keras: Any) -> Any:
    layers = keras.layers
    a, b = keras.Input((2, 1), batch_size=1), keras.Input((2, 2), batch_size=1)
    y = layers.LSTM(3, stateful=True)(layers.Concatenate()([layers.Dense(2)(b), a]))
    return keras.Model([a, b], layers.Dense(F)(y))


def heads(keras: Any) -> Any:
    """Two forecasts of one trunk, each behind layers of its own, and the state of a third."""
    layers = keras.layers
    x = keras.Input((W, F))
    y = layers.Dense(3, name="trunk")(x)
    near = layers.Dense(F, name="near")(layers.LSTM(3, name="memory")(y))
    far = layers.Dense(F, name="far")(layers.Flatten()(layers.Conv1D(2, 3, name="taps")(y)))
    _, state = layers.GRU(F, return_state=True, name="third")(y)
    return keras.Model(x, [near, far, state])


def by_hand(call: Callable[[np.ndarray], Any], window: np.ndarray, horizon: int) -> np.ndarray:
    said = []
    for _ in range(horizon):
        y = np.asarray(call(window))
        window = np.concatenate([window[:, 1:], y[:, None]], axis=1)
        said.append(y)
    return np.stack(said, axis=1)


def windows(count: int) -> np.ndarray:
    return np.random.default_rng(9).normal(size=(count, W, F)).astype(np.float32)


#: Model, its output, what calls it with a window, and whether it has states.
CASES: dict[str, tuple[Make, str | None, Callable[[Any, np.ndarray], Any], bool]] = {
    "listed": (listed, None, lambda model, x: model([x[..., :2], x[..., 2:]]), False),
    "keyed": (keyed, None, lambda model, x: model({"late": x[..., :1], "soon": x[..., 1:]})["said"], True),
    "near": (heads, "near", lambda model, x: model(x)[0], True),
    "far": (heads, "far", lambda model, x: model(x)[1], False),
}


@pytest.mark.parametrize("name", CASES)
def test_the_graph_and_the_system_are_the_model_itself(name: str, keras: Any, tmp_path: Path) -> None:
    make, output, call, has_states = CASES[name]
    path = save(make(keras), tmp_path / "m.keras")
    loaded = load(path, output=output)
    assert loaded.graph.forecast.recurrence == ("windowed" if has_states else "none")
    assert (loaded.graph.forecast.channels, loaded.graph.forecast.feedback) == (F, (0, 1, 2))
    model = load_keras(path)
    expected = by_hand(lambda window: call(model, window), windows(2), 4)
    np.testing.assert_allclose(float_rollout(loaded.graph, windows(2), 4).outputs, expected, atol=1e-5)
    system = keras_system(model, output=output)
    np.testing.assert_allclose(system.roll(windows(2), 4), expected, atol=1e-5)
    np.testing.assert_allclose(system.trace(4, 2)({}, windows(2)), expected, atol=1e-5)
    assert system.weights.keys() == loaded.graph.weights().keys()
    assert system.output_bias is not None


@needs_tflm
@pytest.mark.parametrize("name", CASES)
def test_every_form_of_the_model_computes_the_same(name: str, keras: Any, tmp_path: Path) -> None:
    make, output, _, _ = CASES[name]
    graph = load(save(make(keras), tmp_path / "m.keras"), output=output).graph
    widths = {source: 4 if number % 2 else 8 for number, source in enumerate(graph.weights())}
    result = quantize(graph, widths, calibrate(graph, windows(4), 6))
    file = tflite_model.write(result, METADATA)
    codes = simulate.encode(result, windows(3))
    expected = simulate.integer_rollout(result, codes, 8).outputs
    np.testing.assert_array_equal(rollout_in("tflm", file, result, codes, 8).outputs, expected)
    forecaster = Forecaster(result, tmp_path, TRAPS)
    for seed, outputs in zip(codes, expected, strict=True):
        forecaster.reset()
        forecaster.push_codes(seed)
        np.testing.assert_array_equal(forecaster.forecast_codes(8)[0], outputs)


def test_states_are_carried_by_a_model_of_two_inputs(keras: Any, tmp_path: Path) -> None:
    loaded = load(save(stateful(keras), tmp_path / "m.keras"), window=8)
    assert (loaded.graph.forecast.recurrence, loaded.graph.forecast.window) == ("stateful", 8)
    assert loaded.float_vs_keras_max_abs < 1e-5


def test_an_input_that_is_not_predicted_is_known_ahead(keras: Any, tmp_path: Path) -> None:
    layers = keras.layers
    a, b = keras.Input((W, 2), name="a"), keras.Input((W, 1), name="known")
    y = layers.Dense(2)(layers.Flatten()(layers.Concatenate()([a, b])))
    path = save(keras.Model([a, b], y), tmp_path / "m.keras")
    graph = open_model(path, said=Said(known_ahead=(2,))).need_graph()[1]
    assert graph.forecast.feedback == (0, 1, None)


def test_one_of_several_outputs_must_be_named(keras: Any, tmp_path: Path) -> None:
    path = save(heads(keras), tmp_path / "m.keras")
    with pytest.raises(ModelError, match="has 3 outputs: near, far, third/1") as caught:
        open_model(path)
    assert "--output near" in caught.value.hint
    with pytest.raises(ModelError, match="has 3 outputs: near, far, third/1"):
        keras_system(load_keras(path))
    with pytest.raises(UsageError, match="--output nearest") as wrong:
        open_model(path, output="nearest")
    assert "near, far, third/1" in wrong.value.hint
    with pytest.raises(ModelError, match=r"output 1 of layer third, a state"):
        load(path, output="third/1")
    assert open_model(path, output="third/1").loaded is None
    near, far = (load(path, output=name) for name in ("near", "far"))
    assert [line.split(":")[0] for line in near.layers] == ["trunk", "memory", "near"]
    assert {line.split(":")[0] for line in far.layers} >= {"trunk", "taps", "far"}
    assert not {line.split(":")[0] for line in far.layers} & {"near", "memory", "third"}


def two_lengths(keras: Any) -> Any:
    layers = keras.layers
    a, b = keras.Input((None, 2), name="a"), keras.Input((W + 1, 1), name="b")
    pooled = layers.GlobalAveragePooling1D()(a)
    return keras.Model([a, b], layers.Dense(F)(layers.Concatenate()([pooled, layers.Flatten()(b)])))


def two_ranks(keras: Any) -> Any:
    layers = keras.layers
    a, b = keras.Input((W, 2), name="a"), keras.Input((W, 2, 1), name="image")
    both = layers.Concatenate()([layers.Flatten()(a), layers.Flatten()(b)])
    return keras.Model({"a": a, "image": b}, layers.Dense(F)(both))


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (two_lengths, r"its inputs a \(None, None, 2\) and b \(None, 7, 1\) differ in their batch or their length"),
        (two_ranks, r"its input image is \(None, 6, 2, 1\), not \(batch, W, F\)"),
    ],
)
def test_inputs_that_are_no_window_are_refused_by_name(make: Make, says: str, keras: Any, tmp_path: Path) -> None:
    path = save(make(keras), tmp_path / "m.keras")
    for read in (load, open_model, lambda path: keras_system(load_keras(path))):
        with pytest.raises(ModelError, match=says) as caught:
            read(path)
        assert caught.value.hint


def test_the_output_is_named_on_the_command_line_or_in_the_project(
    keras: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(heads(keras), tmp_path / "m.keras")
    monkeypatch.chdir(tmp_path)
    options = ["--horizon", "3", "--draws", "2", "--json"]

    def scored(*more: str) -> set[str]:
        done = CliRunner().invoke(cli, ["score", *more, *options], catch_exceptions=False)
        return {tensor["name"].split("/")[0] for tensor in json.loads(done.stdout)["tensors"]}

    assert scored("m.keras", "--output", "far", "--no-cache") == {"trunk", "taps", "far"}
    (tmp_path / "edge-tqs.toml").write_text('[model]\npath = "m.keras"\n[forecast]\noutput = "near"\n')
    assert scored("--no-cache") == {"trunk", "memory", "near"}
    assert scored("--no-cache", "--output", "far") == {"trunk", "taps", "far"}


def test_scores_are_kept_apart_by_what_makes_another_system_of_a_file() -> None:
    plain = ModelRequest(Path("m.keras"))
    said = [
        Said(steps=2),
        Said(steps=3),
        Said(feedback=(1, 0)),
        Said(feedback=(0, 1)),
        Said(kind="direct"),
        Said(held=(1,)),
        Said(known_ahead=(1,)),
        Said(last_only=True),
        Said(predicted=(Output("a", channel=0),)),
        Said(predicted=(Output("a", channel=1),)),
    ]
    others = [replace(plain, output="near"), replace(plain, recurrence="stateful")]
    others += [replace(plain, said=what) for what in said]
    assert plain.variant == ""
    assert len({"", *(other.variant for other in others)}) == 1 + len(others)
