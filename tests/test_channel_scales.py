"""Channels of other ranges than their neighbours: exact in float, and each with codes enough in int8."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from c_library import Forecaster
from graphs import attention_graph, random_graph, random_seeds

from edge_tqs.building.choose import PlanRequest
from edge_tqs.building.naive import Naive
from edge_tqs.building.opened import opened_model
from edge_tqs.building.quantized import QuantizedModel, quantize_model
from edge_tqs.building.request import ModelRequest
from edge_tqs.building.windows import Windows
from edge_tqs.errors import ModelError
from edge_tqs.graph.graph import Array, Forecast, Graph, Output, Scaling
from edge_tqs.passes.affine_ends import leading, trailing, without_ends
from edge_tqs.passes.interpret import float_rollout
from edge_tqs.passes.level import with_level
from edge_tqs.passes.output_bias import output_bias, shift_output
from edge_tqs.passes.units import in_units
from edge_tqs.planning.score import score
from edge_tqs.quantization.calibration import calibrate
from edge_tqs.quantization.channel_scales import on_own_scales
from edge_tqs.read.opening import open_model
from edge_tqs.system.of_graph import graph_system
from edge_tqs.system.other_units import in_model_units
from edge_tqs.system.reading import Said

WINDOW, CHANNELS, HORIZON = 8, 3, 12
#: Pa, K and %: what they are around, and how far they vary.
MIDDLE, SPREAD = np.array([101325.0, 293.0, 45.0]), np.array([300.0, 5.0, 12.0])


def units_of(x: Scaling, forecast: Forecast) -> Scaling:
    """Units of the outputs that are fed back as ``x`` has them."""
    of = [x_channel if x_channel is not None else 0 for x_channel in forecast.output_channels]
    return Scaling(tuple(x.mean[i] for i in of), tuple(x.std[i] for i in of))


def same_rollouts(graph: Graph, made: Graph, x: Scaling, y: Scaling, seeds: Array, horizon: int = 6) -> None:
    """Both graphs say the same from ``seeds``, which are in the units of ``made``."""
    before = float_rollout(graph, (seeds * np.array(x.std) + x.mean).astype(np.float32), horizon).outputs
    after = float_rollout(made, seeds, horizon).outputs * np.array(y.std) + y.mean
    assert np.isfinite(before).all()
    size = np.abs(before).max(axis=(0, 1)) + np.array(y.std)
    assert (np.abs(before - after) < 1e-5 * size).all()


@pytest.mark.parametrize("kind", ["mlp", "tcn", "lstm", "gru"])
def test_other_units_are_exact_or_refused(kind: str) -> None:
    made = 0
    for number in range(24):
        rng = np.random.default_rng([7, number])
        graph = random_graph(rng, kind)
        channels = graph.forecast.channels
        offset = tuple(rng.normal(size=channels)) if number % 2 else (0.0,) * channels
        x = Scaling(offset, tuple(np.exp(rng.normal(0, 2, channels))))
        y = units_of(x, graph.forecast)
        try:
            other = in_units(graph, x, y, drop=False)
        except ModelError:
            continue
        assert list(other.weights()) == list(graph.weights())
        same_rollouts(graph, other, x, y, random_seeds(rng, graph, 4))
        made += 1
    assert made >= (4 if kind == "tcn" else 12)  # else a tanh or logistic gives y, or a convolution pads x


def test_what_multiplies_channels_with_one_another_is_refused() -> None:
    graph = attention_graph(np.random.default_rng(3))
    units = Scaling((0.0,) * 3, (1.0, 10.0, 100.0))
    with pytest.raises(ModelError, match="batch_matmul"):
        in_units(graph, units, units)


def test_a_difference_to_the_last_sample_keeps_its_units() -> None:
    """y = last sample + model(window - mean): sums of moved channels take part."""
    rng = np.random.default_rng(5)
    graph = with_bias("mlp")
    level = with_level(graph, "delta", "mean")
    x = Scaling((3.0,) * CHANNELS, (1.0, 10.0, 100.0))
    made = in_units(level, x, x)
    same_rollouts(level, made, x, x, random_seeds(rng, level, 4))


def with_bias(kind: str) -> Graph:
    """A random graph of three channels that ends with a linear layer."""
    rng = np.random.default_rng(11)
    graphs = (replace_head(random_graph(rng, kind)) for _ in range(100))
    return next(graph for graph in graphs if output_bias(graph) and graph.forecast.channels == CHANNELS)


def replace_head(graph: Graph) -> Graph:
    """``graph`` with each output fed back to the channel of its number."""
    forecast = graph.forecast
    return replace(graph, forecast=replace(forecast, feedback=tuple(range(forecast.channels))))


def test_an_output_that_becomes_inputs_of_different_units_is_refused() -> None:
    graph = random_graph(np.random.default_rng(0), "mlp")
    twice = replace(graph, forecast=replace(graph.forecast, feedback=(0,) * graph.forecast.channels))
    assert graph.forecast.channels > 1
    x = Scaling((0.0,) * graph.forecast.channels, tuple(range(1, graph.forecast.channels + 1)))
    with pytest.raises(ModelError, match="different units"):
        in_units(twice, x, units_of(x, twice.forecast))


# --- models of physical units ---------------------------------------------------------------------------------------


def normalised(keras: Any, *, off: float = 0.0, factor: float = 1.0) -> Any:
    """Normalization first and Rescaling last; ``off`` and ``factor`` take the last from being the first's inverse."""
    layers = keras.layers
    i = keras.Input((WINDOW, CHANNELS))
    h = layers.Normalization(mean=MIDDLE, variance=SPREAD**2)(i)
    o = layers.Dense(CHANNELS)(layers.GRU(6)(h))
    return keras.Model(i, layers.Rescaling((SPREAD * factor).tolist(), (MIDDLE + off * SPREAD).tolist())(o))


def convolved(keras: Any) -> Any:
    """Normalization in front of a padded convolution, whose zeros are normalised ones."""
    layers = keras.layers
    i = keras.Input((WINDOW, CHANNELS))
    h = layers.Conv1D(6, 3, padding="causal", activation="relu")(
        layers.Normalization(mean=MIDDLE, variance=SPREAD**2)(i)
    )
    return keras.Model(
        i, layers.Rescaling(SPREAD.tolist(), MIDDLE.tolist())(layers.Dense(CHANNELS)(layers.Flatten()(h)))
    )


def folded_by_hand(keras: Any) -> Any:
    """No layer says that its channels differ: only its first and last weights do."""
    layers = keras.layers
    return keras.Sequential(
        [keras.Input((WINDOW, CHANNELS)), layers.Flatten(), layers.Dense(8, activation="tanh"), layers.Dense(CHANNELS)]
    )


def series(rng: np.random.Generator, rows: int = 600) -> Array:
    """(rows, 3): physical."""
    t = np.arange(rows)[:, None]
    waves = np.sin(t / np.array([37, 48, 29]) + np.arange(3)) + 0.1 * rng.normal(size=(rows, 3))
    return np.asarray(MIDDLE + SPREAD * waves)


def cut(values: Array) -> Callable[[Forecast, int], Windows]:
    def windows(forecast: Forecast, horizon: int) -> Windows:
        length = forecast.seed_length(horizon)
        starts = np.linspace(0, len(values) - length, 32).astype(int)
        scaled = forecast.scaling.scaled(values) if forecast.scaling else values.astype(np.float32)
        seeds = np.stack([scaled[s : s + length] for s in starts])
        return Windows(seeds, seeds[::8])

    return windows


def keras_loop(keras: Any, path: Path, windows: Array) -> Array:
    """(N, HORIZON, 3): the model fed its own forecasts, by Keras alone."""
    model = keras.models.load_model(path)
    window, outputs = windows.astype(np.float32), []
    for _ in range(HORIZON):
        y = model.predict(window, verbose=0)
        outputs.append(y)
        window = np.concatenate([window[:, 1:], y[:, None]], axis=1)
    return np.stack(outputs, axis=1)


def quantized_of(path: Path, values: Array, **asked: Any) -> QuantizedModel:
    request = ModelRequest(path, horizon=HORIZON, windows=cut(values), draws=2, columns=("p", "t", "h"), **asked)
    return quantize_model(request, PlanRequest(bits=8), lambda *_: None)


def c_forecasts(quantized: QuantizedModel, windows: Array, folder: Path) -> Array:
    """What the generated C says of physical windows, physical."""
    forecaster, made = Forecaster(quantized.integer, folder), []
    for window in windows:
        forecaster.reset()
        forecaster.push(window)
        made.append(forecaster.forecast(HORIZON))
    return np.stack(made)


@pytest.mark.parametrize(
    "build",
    [normalised, convolved, lambda keras: normalised(keras, off=0.5, factor=0.5)],
    ids=["inverse", "convolved", "other-units"],
)
def test_affine_ends_are_taken_and_every_channel_has_its_codes(keras: Any, build: Any, tmp_path: Path) -> None:
    path = save_kept(build(keras), tmp_path / "model.keras")
    values = series(np.random.default_rng(1))
    quantized = quantized_of(path, values)
    assert not {"normalization", "rescaling"} & {
        name.split("/")[0].rstrip("_0123456789") for name in quantized.plan.widths()
    }
    scaling = quantized.graph.forecast.scaling
    assert scaling is not None
    assert np.allclose(scaling.mean, MIDDLE)
    assert np.allclose(scaling.std, SPREAD)
    assert any("taken out" in warning for warning in quantized.warnings)
    assert not any("codes" in warning for warning in quantized.warnings)
    windows = np.stack([values[s : s + WINDOW] for s in range(0, 500, 100)])
    expected = keras_loop(keras, path, windows)
    floats = float_rollout(quantized.graph, scaling.scaled(windows), HORIZON).outputs
    assert np.abs(floats - scaling.scaled(expected)).max() < 1e-3  # float32 of 101325 Pa has 1/128 Pa in Keras
    off = (c_forecasts(quantized, windows, tmp_path) - expected) / SPREAD
    assert (np.sqrt(np.mean(off**2, axis=(0, 1))) < 0.1).all()


def save_kept(model: Any, path: Path) -> Path:
    """Small random weights, and the constants of Normalization and Rescaling as they are."""
    rng = np.random.default_rng(2)
    for weight in model.trainable_weights:
        weight.assign(rng.normal(0, 0.3, weight.shape).astype(np.float32))
    model.save(path)
    return path


@pytest.mark.parametrize("middle", [(0.0, 0.0, 0.0), (40.0, 0.0, 3.0)], ids=["around-zero", "far-from-zero"])
def test_ranges_are_folded_into_the_first_and_last_weights(keras: Any, middle: Any, tmp_path: Path) -> None:
    spread, rng = np.array([1.0, 0.02, 0.3]), np.random.default_rng(4)
    model = folded_by_hand(keras)
    w, b, v, c = (
        rng.normal(0, size, shape.shape) for size, shape in zip((0.3, 0.3, 0.2, 0.1), model.weights, strict=True)
    )
    w = w / np.tile(spread, WINDOW)[:, None]
    model.set_weights([w, b - np.tile(middle, WINDOW) @ w, v * spread, c * spread + middle])
    model.save(tmp_path / "model.keras")
    values = (series(rng) - MIDDLE) / SPREAD * spread + middle
    quantized = quantized_of(tmp_path / "model.keras", values)
    assert any("were folded into" in warning for warning in quantized.warnings)
    windows = np.stack([values[s : s + WINDOW] for s in range(0, 500, 100)])
    expected = keras_loop(keras, tmp_path / "model.keras", windows)
    off = (c_forecasts(quantized, windows, tmp_path) - expected) / spread
    assert (np.sqrt(np.mean(off**2, axis=(0, 1))) < 0.1).all()


def test_like_channels_and_standardised_ends_change_nothing(keras: Any, tmp_path: Path) -> None:
    layers = keras.layers
    i = keras.Input((WINDOW, CHANNELS))
    h = layers.Normalization(mean=np.array([0.1, 0, -0.2]), variance=np.array([1, 1.5, 0.7]))(i)
    path = save_kept(keras.Model(i, layers.Dense(CHANNELS)(layers.LSTM(4)(h))), tmp_path / "model.keras")
    model = opened_model(ModelRequest(path, horizon=HORIZON), lambda *_: None)
    graph = model.opened.need_graph()[1]
    assert leading(graph) is not None
    assert without_ends(graph) is None
    assert not model.request.ends_taken
    seeds = np.random.default_rng(0).normal(size=(16, WINDOW, CHANNELS)).astype(np.float32)
    assert on_own_scales(graph, calibrate(graph, seeds * [1, 1, 0.6], HORIZON)) == (None, "")
    assert on_own_scales(graph, calibrate(graph, seeds * [1, 1, 0.05], HORIZON))[0] is not None


def test_outputs_that_are_no_inputs_have_scales_of_their_own(keras: Any, tmp_path: Path) -> None:
    """A soft sensor of two values, one of them 10,000 times the other: only the rows of the last weights change."""
    layers = keras.layers
    i = keras.Input((WINDOW, CHANNELS))
    path = save_kept(keras.Model(i, layers.Dense(2)(layers.GRU(5)(i))), tmp_path / "model.keras")
    model = keras.models.load_model(path)
    kernel, bias = model.layers[-1].get_weights()
    model.layers[-1].set_weights([kernel * [1, 1e4], np.add(bias, [0, 2e4])])
    model.save(path)
    values = np.asarray((series(np.random.default_rng(6)) - MIDDLE) / SPREAD)
    said = Said(kind="direct", predicted=(Output("ph"), Output("flow")))
    quantized = quantized_of(path, values, said=said)
    graph = quantized.graph
    assert graph.forecast.output_scaling is not None
    windows = np.stack([values[s : s + WINDOW + HORIZON] for s in range(0, 500, 100)]).astype(np.float32)
    expected = keras.models.load_model(path).predict(windows[:, :WINDOW], verbose=0)
    scaling = graph.forecast.scaling_of_outputs()
    found = float_rollout(graph, windows, HORIZON).outputs[:, 0] * np.array(scaling.std) + scaling.mean
    assert np.allclose(found, expected, rtol=1e-5, atol=1e-5 * np.array(scaling.std).max())
    step = float(quantized.integer.quant(quantized.integer.output).scale[0]) * np.array(scaling.std)
    assert (expected.std(axis=0) / step > 16).all()


def test_a_channel_that_cannot_have_its_codes_is_named(keras: Any, tmp_path: Path) -> None:
    layers = keras.layers
    i = keras.Input((WINDOW, CHANNELS))
    squares = layers.Flatten()(layers.Multiply()([i, i]))
    model = keras.Model(i, layers.Dense(CHANNELS)(squares))
    path = save_kept(model, tmp_path / "model.keras")
    kernel, bias = model.layers[-1].get_weights()
    model.layers[-1].set_weights([kernel * [1, 0.01, 1], bias * [0.1, 0.001, 0.1]])
    model.save(path)
    values = (series(np.random.default_rng(7)) - MIDDLE) / SPREAD * [1, 0.01, 1] * 0.1
    warning = next(w for w in quantized_of(path, values).warnings if "Fewer than 16 codes" in w)
    assert "t (" in warning
    assert "p (" not in warning
    assert "mul to" in warning
    assert "Normalization" in warning


# --- plans ----------------------------------------------------------------------------------------------------------


def test_a_plan_says_the_same_of_a_folded_model() -> None:
    """Its bias correction and divergence are in the model's units; scores are of weights that keep their names."""
    rng = np.random.default_rng(11)
    graph = with_bias("gru")
    seeds = random_seeds(rng, graph, 4) * np.array([1, 0.02, 30], np.float32)
    folded, why = on_own_scales(graph, calibrate(graph, seeds, HORIZON))
    assert folded is not None
    assert not why
    system, bias = in_model_units(graph_system(folded.graph), folded.x, folded.y), output_bias(graph)
    assert bias is not None
    shift = (0.01, -0.02, 0.03)
    expected = float_rollout(shift_output(graph, shift), seeds, 6).outputs
    shifted = shift_output(folded.graph, folded.shifted(shift))
    built = float_rollout(shifted, folded.x.scaled(seeds), 6).outputs * np.array(folded.y.std) + folded.y.mean
    assert np.allclose(built, expected, rtol=1e-4, atol=1e-4)
    part = system.output_bias
    assert part is not None
    planned = system.trace(6, 4)({part.name: (part.data + np.array(shift)).astype(np.float32)}, seeds)
    assert np.allclose(planned, expected, rtol=1e-4, atol=1e-4)
    assert [t.name for t in score(graph_system(folded.graph), horizon=3, draws=2).tensors] == list(graph.weights())


def test_the_ends_of_a_graph_are_found(keras: Any, tmp_path: Path) -> None:
    path = save_kept(normalised(keras), tmp_path / "model.keras")
    graph = open_model(path).need_graph()[1]
    first, last = leading(graph), trailing(graph)
    assert first is not None
    assert last is not None
    assert np.allclose(first.mean, MIDDLE)
    assert np.allclose(first.std, SPREAD)
    assert np.allclose(last.mean, MIDDLE)
    assert np.allclose(last.std, SPREAD)


def test_all_that_stands_beside_the_windows_is_scaled_too() -> None:
    x, y = Scaling((1.0,), (2.0,)), Scaling((10.0,), (4.0,))
    rows = np.array([[[14.0], [18.0]]], np.float32)
    naive = Naive(persistence=rows, step=np.array([2.0]), mean=np.array([10.0]))
    made = Windows(np.ones((1, 2, 1)), np.full((1, 2, 1), 3.0), rows, naive).scaled(x, y)
    assert made.calibration.max() == 0
    assert made.evaluation.min() == 1
    assert made.truth is not None
    assert made.truth.tolist() == [[[1.0], [2.0]]]
    assert made.naive is not None
    assert made.naive.persistence is not None
    assert made.naive.persistence.tolist() == made.truth.tolist()
    assert (made.naive.step, made.naive.mean, made.naive.seasonal) == (0.5, 0.0, None)
