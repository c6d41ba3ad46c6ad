"""Any Keras model as a System, against Keras itself and against the float graph."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_tqs.errors import ModelError, UsageError
from edge_tqs.planning.divergence import add_rounding_noise
from edge_tqs.planning.score import score
from edge_tqs.read.keras.model import load_keras
from edge_tqs.read.keras.system import keras_system
from edge_tqs.read.opening import open_model
from edge_tqs.system.reading import Said
from edge_tqs.system.seeds import zero_data_seeds
from edge_tqs.system.tensorflow import import_tensorflow


def layers() -> Any:
    keras = import_tensorflow().keras
    keras.utils.set_random_seed(5)
    return keras


def transformer() -> Any:
    """Attention, a layer norm, a depthwise convolution and a residual: what the Graph does not hold."""
    keras = layers()
    x = keras.Input((8, 3))
    h = keras.layers.Dense(6, name="embed")(x)
    h = keras.layers.Add()([h, keras.layers.MultiHeadAttention(2, 3, name="attention")(h, h)])
    h = keras.layers.LayerNormalization()(h)
    h = keras.layers.DepthwiseConv1D(3, padding="same", name="deep")(h)
    h = keras.layers.Dropout(0.5)(h)
    y = keras.layers.Dense(3, name="head")(keras.layers.Flatten()(h))
    return keras.Model(x, y, name="small_transformer")


def by_hand(model: Any, seeds: np.ndarray, horizon: int, feedback: tuple[int | None, ...], window: int) -> np.ndarray:
    seen, outputs = seeds[:, :window].copy(), []
    for t in range(horizon):
        y = model(seen, training=False).numpy()
        row = np.stack([seeds[:, window + t, c] if f is None else y[:, f] for c, f in enumerate(feedback)], axis=1)
        seen = np.concatenate([seen[:, 1:], row[:, None]], axis=1)
        outputs.append(y)
    return np.stack(outputs, axis=1)


def test_rollouts_are_those_of_keras_with_the_variables_replaced() -> None:
    model = transformer()
    system = keras_system(model, Said(feedback=(1, 0, 2)))
    seeds = np.random.default_rng(0).normal(size=(4, 8, 3)).astype(np.float32)
    expected = by_hand(model, seeds, 7, (1, 0, 2), 8)
    rollout = system.trace(7, 4)
    np.testing.assert_allclose(rollout({}, seeds), expected, atol=1e-5)
    np.testing.assert_allclose(system.roll(seeds, 7), expected, atol=1e-5)
    for source, (part,) in system.weights.items():
        changed = add_rounding_noise(part, np.random.default_rng(1))
        variable = next(v for v in model.variables if v.path == source)
        original = variable.numpy()
        variable.assign(changed)
        again = by_hand(model, seeds, 7, (1, 0, 2), 8)
        variable.assign(original)
        assert np.abs(again - expected).max() > 1e-5, source
        np.testing.assert_allclose(rollout({part.name: changed}, seeds), again, atol=1e-5)


def test_weights_are_the_kernels_each_with_its_output_channels() -> None:
    system = keras_system(transformer())
    channels = {name: parts[0].channels for name, parts in system.weights.items()}
    expected = {"embed": 6, "query": 6, "key": 6, "value": 6, "attention_output": 6, "deep": 6, "head": 3}
    assert len(channels) == len(expected)
    for name, count in channels.items():
        assert count == next(expected[layer] for layer in reversed(name.split("/")) if layer in expected), name
    assert not [name for name in system.weights if "bias" in name or "gamma" in name]
    assert system.output_bias is not None
    assert system.output_bias.name == "head/bias"


@pytest.mark.parametrize("axes", [(0,), (2,), (1, 2), (0, 1, 2), ()])
def test_rows_and_back(axes: tuple[int, ...]) -> None:
    from edge_tqs.system.system import Part

    data = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    part = Part("w", data, axes)
    rows = part.rows()
    assert rows.shape == (part.channels, 24 // part.channels)
    np.testing.assert_array_equal(part.with_rows(rows), data)


def test_inputs_that_are_known_ahead_are_taken_from_the_seeds() -> None:
    keras = layers()
    x = keras.Input((5, 3))
    y = keras.layers.Dense(2, name="head")(keras.layers.Flatten()(x))
    system = keras_system(keras.Model(x, y), Said(known_ahead=(2,)))
    assert system.feedback == (0, 1, None)
    assert system.exogenous == (2,)
    seeds = zero_data_seeds(system, 6, 9, 1)
    assert seeds.shape == (6, 14, 3)
    expected = by_hand(keras.Model(x, y), seeds, 9, (0, 1, None), 5)
    np.testing.assert_allclose(system.trace(9, 6)({}, seeds), expected, atol=1e-5)
    np.testing.assert_allclose(system.roll(seeds, 9), expected, atol=1e-5)
    found = score(system, horizon=9, draws=2)
    assert found.tensors[0].tqs > 0
    with pytest.raises(UsageError, match=r"\(S, 14, 3\)"):
        score(system, horizon=9, draws=2, seeds=seeds[:, :5])


def test_a_model_that_the_graph_holds_scores_alike_either_way(tmp_path: Path) -> None:
    keras = layers()
    model = keras.Sequential([keras.Input((6, 2)), keras.layers.GRU(5), keras.layers.Dense(2)])
    path = tmp_path / "model.keras"
    model.save(path)
    opened = open_model(path)
    assert opened.loaded is not None
    seeds = zero_data_seeds(opened.system, 4, 10, 0)
    graph = score(opened.system, horizon=10, draws=16, seeds=seeds)
    direct = score(keras_system(load_keras(path)), horizon=10, draws=16, seeds=seeds)
    for ours, keras_own in zip(graph.tensors, direct.tensors, strict=True):
        assert ours.name == keras_own.name
        assert ours.shape == keras_own.shape
        assert ours.tqs == pytest.approx(keras_own.tqs, rel=1e-3)


def test_a_graph_feeds_back_what_it_is_told(tmp_path: Path) -> None:
    keras = layers()
    path = tmp_path / "model.keras"
    keras.Sequential([keras.Input((6, 2)), keras.layers.GRU(5), keras.layers.Dense(2)]).save(path)
    opened = open_model(path, said=Said(feedback=(1, 0)))
    assert opened.loaded is not None
    assert opened.loaded.graph.forecast.feedback == opened.system.feedback == (1, 0)
    with pytest.raises(UsageError, match="2 inputs"):
        open_model(path, said=Said(feedback=(1, 2)))


def test_what_the_graph_does_not_hold_is_opened_to_be_scored_and_says_why_it_cannot_be_built(tmp_path: Path) -> None:
    keras, path = layers(), tmp_path / "model.keras"
    x = keras.Input((8, 3))
    y = keras.ops.cumsum(keras.layers.MultiHeadAttention(2, 4)(x, x), axis=1)
    keras.Model(x, keras.layers.Dense(3)(keras.layers.Flatten()(y))).save(path)
    opened = open_model(path)
    assert opened.loaded is None
    assert opened.opener().weights.keys() == opened.system.weights.keys()
    with pytest.raises(ModelError, match="not supported"):
        opened.need_graph()


@pytest.mark.parametrize("feedback", [(0, 1), (0, 1, 3), (None, None, None)])
def test_a_wrong_feedback_is_refused(feedback: tuple[int | None, ...]) -> None:
    with pytest.raises(UsageError):
        keras_system(transformer(), Said(feedback=feedback))


def test_a_model_of_another_shape_is_refused() -> None:
    keras = layers()
    model = keras.Sequential([keras.Input((4, 2)), keras.layers.Conv1D(2, 1)])
    with pytest.raises(ModelError, match="as many as its window holds"):
        keras_system(model)
