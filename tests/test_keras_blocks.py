"""Keras models of several samples a call and of inputs known ahead, in every float form beside a plain Keras loop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_tqs.errors import ModelError
from edge_tqs.graph.graph import Array
from edge_tqs.passes.interpret import float_rollout
from edge_tqs.read.keras.system import keras_system
from edge_tqs.read.opening import open_model
from edge_tqs.system.of_graph import graph_system
from edge_tqs.system.reading import Said

HORIZON = 10


def model_of(name: str) -> Any:
    from edge_tqs.system.tensorflow import import_tensorflow

    keras = import_tensorflow().keras
    keras.utils.set_random_seed(1)
    layers, given = keras.layers, keras.Input
    causal = {"padding": "causal", "activation": "relu"}
    stacks = {
        "mlp": [given((6, 2)), layers.Flatten(), layers.Dense(12, "relu"), layers.Dense(8), layers.Reshape((4, 2))],
        "flat": [given((6, 2)), layers.Flatten(), layers.Dense(12, "relu"), layers.Dense(8)],
        "lstm": [given((6, 2)), layers.LSTM(7), layers.Dense(6), layers.Reshape((3, 2))],
        "one channel": [given((6, 1)), layers.GRU(7), layers.Dense(5)],
        "conv": [given((8, 3)), layers.Conv1D(6, 3, **causal), layers.Flatten(), layers.Dense(2)],
        "conv block": [given((8, 3)), layers.Conv1D(6, 3, **causal), layers.Flatten(), layers.Dense(4)],
        "sequence": [given((8, 3)), layers.Conv1D(6, 3, **causal), layers.Conv1D(3, 3)],
    }
    return keras.Sequential(stacks[name])


def plain_loop(
    model: Any, seeds: Array, window: int, block: tuple[int, int], feedback: tuple[int | None, ...]
) -> Array:
    samples, outputs = seeds[:, :window], []
    while len(outputs) < HORIZON:
        for y in np.moveaxis(np.asarray(model(samples[:, -window:])).reshape(len(seeds), *block), 1, 0):
            now = window + len(outputs)
            fed = [seeds[:, now, i] if j is None else y[:, j] for i, j in enumerate(feedback)]
            samples = np.concatenate([samples, np.stack(fed, axis=1)[:, None]], axis=1)
            outputs.append(y)
            if len(outputs) == HORIZON:
                break
    return np.stack(outputs, axis=1)


@pytest.mark.parametrize(
    ("name", "feedback", "steps", "block", "fed"),
    [
        ("mlp", None, None, (4, 2), (0, 1)),
        ("flat", None, 4, (4, 2), (0, 1)),
        ("lstm", None, None, (3, 2), (0, 1)),
        ("one channel", None, 5, (5, 1), (0,)),
        ("conv", (0, 1, None), None, (1, 2), (0, 1, None)),
        ("conv", (0, None, 1), None, (1, 2), (0, None, 1)),
        ("conv block", (None, 0, None), 4, (4, 1), (None, 0, None)),
        ("sequence", None, None, (6, 3), (0, 1, 2)),
    ],
)
def test_every_float_form_rolls_out_as_keras_does(
    name: str,
    feedback: tuple[int | None, ...] | None,
    steps: int | None,
    block: tuple[int, int],
    fed: tuple[int | None, ...],
    tmp_path: Path,
) -> None:
    model = model_of(name)
    model.save(tmp_path / "model.keras")
    _, graph = open_model(tmp_path / "model.keras", said=Said(feedback=feedback, steps=steps)).need_graph()
    forecast = graph.forecast
    assert ((forecast.steps, forecast.outputs), forecast.feedback) == (block, fed)
    shape = (4, forecast.seed_length(HORIZON), forecast.channels)
    seeds = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    expected = plain_loop(model, seeds, forecast.window, block, fed)
    direct = keras_system(model, Said(feedback=feedback, steps=steps))
    for found in (
        float_rollout(graph, seeds, HORIZON).outputs,
        graph_system(graph).trace(HORIZON, 4)({}, seeds),
        direct.roll(seeds, HORIZON),
        direct.trace(HORIZON, 4)({}, seeds),
    ):
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_flat_values_that_may_be_read_in_two_ways_are_refused(tmp_path: Path) -> None:
    model_of("flat").save(tmp_path / "model.keras")
    with pytest.raises(ModelError, match="8 values from 2 channels") as error:
        open_model(tmp_path / "model.keras")
    assert "--steps" in error.value.hint
