"""Models trained on windows that are padded in front: a stream has no padding, and begins from the same states."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from litert_alone import evaluate
from saving import save
from whole_way import as_int8, series, written

from edge_tqs.building.windows import Windows, check_unmasked
from edge_tqs.errors import ModelError
from edge_tqs.graph.graph import Array
from edge_tqs.passes.interpret import float_step, zero_states
from edge_tqs.read.loaded import Masked
from edge_tqs.read.opening import open_model

W, F, PADDING = 6, 2, -1.0


def padded(windows: Array, count: int) -> Array:
    """Windows whose first ``count`` samples are padding."""
    made = windows.copy()
    made[:, :count] = PADDING
    return made


def masking(keras: Any, kind: str) -> Any:
    layers = keras.layers
    if kind == "GRU":  # as a Functional model Keras shows how the mask is made, and hands it on
        x = keras.Input((W, F))
        h = layers.GRU(4, return_sequences=True)(layers.Masking(PADDING)(x))
        return keras.Model(x, layers.Dense(F)(layers.GRU(3)(h)))
    return keras.Sequential([keras.Input((W, F)), layers.Masking(PADDING), getattr(layers, kind)(4), layers.Dense(F)])


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "SimpleRNN"])
def test_padding_in_front_is_skipped_as_keras_does(kind: str, keras: Any, tmp_path: Path) -> None:
    made = masking(keras, kind)
    path = save(made, tmp_path / "m.keras")
    loaded, graph = open_model(path).need_graph()
    assert loaded.masked == (Masked((0, 1), PADDING),)
    assert any("Its Masking skips samples that are -1 in all channels" in note for note in loaded.notes)
    model, windows = written(as_int8(graph), tmp_path), series(10, W, F, seed=5)
    stream = open_model(path, recurrence="stateful", window=1).need_graph()[1]
    for count in (0, 2, W - 1):
        keras_says = np.asarray(made(padded(windows, count)))
        found, scale = evaluate(model, windows[:, count:])  # a step for each sample that there is, from states of 0
        assert float(np.sqrt(np.mean(np.square(found - keras_says)))) < scale
        step, states = float_step(stream), zero_states(stream, len(windows))
        for sample in windows[:, count:].swapaxes(0, 1):
            y, states = step(sample, states)
        np.testing.assert_allclose(y, keras_says, rtol=1e-4, atol=1e-5)


def test_a_mask_of_another_origin_is_refused(keras: Any, tmp_path: Path) -> None:
    x = keras.Input((W, F))
    other = keras.ops.any(keras.ops.not_equal(x, 0.5), axis=-1)
    y = keras.layers.Dense(F)(keras.layers.LSTM(3)(keras.layers.Masking(PADDING)(x), mask=other))
    with pytest.raises(ModelError, match=r"ops\.(NotEqual|Any)\) is not supported"):
        open_model(save(keras.Model(x, y), tmp_path / "m.keras")).need_graph()


def test_a_sample_that_would_be_skipped_within_the_data_is_refused() -> None:
    windows = series(10, W, F, seed=5)
    check_unmasked(Windows(windows, windows), (Masked((0, 1), PADDING),))
    one = windows.copy()
    one[3, 4, 0] = PADDING
    check_unmasked(Windows(windows, one), (Masked((0, 1), PADDING),))
    one[3, 4, 1] = PADDING
    with pytest.raises(ModelError, match="1 of 10 windows of the data hold a sample that is -1 in all") as refused:
        check_unmasked(Windows(windows, one), (Masked((0, 1), PADDING),))
    assert "another mask_value" in refused.value.hint
