"""Layers that no reader knows, by way of TensorFlow's converter; a mixed policy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_tqs.passes.interpret import float_rollout
from edge_tqs.read.keras.converted import MOST_UNROLLED
from edge_tqs.read.opening import open_model
from edge_tqs.system.tensorflow import import_tensorflow

WINDOW, CHANNELS = 8, 2


def flat(keras: Any, x: Any) -> Any:
    return keras.layers.Dense(CHANNELS)(keras.layers.Flatten()(x))


LAYERS: dict[str, Callable[[Any, Any], Any]] = {
    "GroupNormalization": lambda k, x: flat(k, k.layers.GroupNormalization(2)(k.layers.Dense(4)(x))),
    "RMSNormalization": lambda k, x: flat(k, k.layers.RMSNormalization()(k.layers.Dense(4)(x))),
    "AdditiveAttention": lambda k, x: flat(k, k.layers.AdditiveAttention()([k.layers.Dense(4)(x)] * 2)),
    "Dot": lambda k, x: flat(k, k.layers.Dot((1, 1))([k.layers.Dense(4)(x), k.layers.Dense(3)(x)])),
    "einsum": lambda k, x: flat(k, k.ops.einsum("bwc,bwd->bcd", k.layers.Dense(4)(x), x)),
    "BatchNormalization over time": lambda k, x: flat(k, k.layers.BatchNormalization(axis=1)(x)),
    "extremes": lambda k, x: k.layers.Dense(CHANNELS)(
        k.layers.Concatenate()([k.ops.max(x, axis=1), k.ops.min(x, axis=1), k.ops.std(x, axis=1)])
    ),
}


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_that_no_reader_knows_is_taken_apart(name: str, tmp_path: Path) -> None:
    keras = import_tensorflow().keras
    keras.utils.set_random_seed(len(name))
    x = keras.Input((WINDOW, CHANNELS))
    model = keras.Model(x, LAYERS[name](keras, x))
    model.save(tmp_path / "m.keras")
    loaded, graph = open_model(tmp_path / "m.keras").need_graph()
    assert "is read as TensorFlow's converter takes it apart." in loaded.notes[-1]
    assert set(graph.weights()) <= {variable.path for variable in model.variables}
    seeds = np.random.default_rng(3).normal(size=(4, WINDOW, CHANNELS)).astype(np.float32)
    expected = np.asarray(model(seeds, training=False))[:, None]
    np.testing.assert_allclose(float_rollout(graph, seeds, 1).outputs, expected, atol=1e-4)


@pytest.mark.parametrize("window", [8, MOST_UNROLLED + 1])
def test_recurrent_layers_beside_it_are_unrolled_where_that_is_not_too_long(window: int, tmp_path: Path) -> None:
    keras = import_tensorflow().keras
    x = keras.Input((window, CHANNELS))
    y = keras.layers.GRU(3)(keras.layers.GroupNormalization(1, name="group")(x))
    keras.Model(x, keras.layers.Dense(CHANNELS)(y)).save(tmp_path / "m.keras")
    opened = open_model(tmp_path / "m.keras")
    if window > MOST_UNROLLED:
        assert opened.loaded is None
        assert "layer group (GroupNormalization)" in str(opened.refusal)
    else:
        loaded, graph = opened.need_graph()
        assert (graph.forecast.recurrence, loaded.unrolled_by) == ("none", "group (GroupNormalization)")


def test_layers_of_a_mixed_policy_compute_in_the_type_of_their_weights(tmp_path: Path) -> None:
    keras = import_tensorflow().keras
    keras.utils.set_random_seed(1)
    half = keras.Sequential(
        [
            keras.Input((WINDOW, CHANNELS)),
            keras.layers.LSTM(4, dtype="mixed_float16"),
            keras.layers.Dense(CHANNELS, dtype="float32"),
        ]
    )
    half.save(tmp_path / "m.keras")
    loaded, graph = open_model(tmp_path / "m.keras").need_graph()
    assert graph.forecast.recurrence == "windowed"
    assert loaded.float_vs_keras_max_abs < 1e-5
    assert "Layers of the policy mixed_float16 compute in float16 in Keras." in loaded.notes[-1]
