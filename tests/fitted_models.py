"""Models that are computed, not trained: one layer, the best of its kind by least squares, on a made-up plant."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from edge_tqs.graph.graph import Array

#: Rows, and those of the training part where nothing else is said.
ROWS, TRAIN = 800, 640
WINDOW = 6


def plant() -> dict[str, Array]:
    """Two sensors that oscillate about levels of their own, a price that follows at once, a drift, and the hour."""
    rng = np.random.default_rng(3)
    t = np.arange(ROWS)
    flow = 50 + 8 * np.sin(t / 3) + 0.3 * rng.normal(size=ROWS)
    load = 400 + 90 * np.cos(t / 5) + 3 * rng.normal(size=ROWS)
    price = 120 + 2 * flow - 0.3 * load + 0.5 * rng.normal(size=ROWS)
    hour = {"hour_sin": np.sin(2 * np.pi * t / 24), "hour_cos": np.cos(2 * np.pi * t / 24)}
    return {"flow": flow, "load": load, "price": price, "drift": 20 + np.cumsum(rng.normal(size=ROWS)), **hour}


def scaled(values: Array, method: str) -> Array:
    """``values`` of a column by a method of [scaling]."""
    train = values[:TRAIN]
    if method == "none":
        return values
    low, width = (train.mean(), train.std()) if method == "standard" else (train.min(), np.ptp(train))
    made: Array = (values - low) / width
    return made


def fitted(
    keras: Any,
    inputs: Sequence[Array],
    outputs: Sequence[Array],
    leads: Sequence[int],
    *,
    window: int = WINDOW,
    flat: bool = False,
    differences: bool = False,
    more: Callable[[Any, Any], Any] | None = None,
) -> Any:
    """A model of a window of ``inputs`` whose values are ``outputs``, ``leads`` after the newest sample.

    flat: it takes the window in one row. differences: it predicts those to the newest sample. more: what comes
    behind, called with (keras, values).
    """
    x = np.stack(inputs, axis=1)
    starts = np.arange(TRAIN - window - max(leads))
    windows = np.stack([x[start : start + window].ravel() for start in starts])
    newest = starts + window - 1
    target = np.stack([values[newest + lead] for values, lead in zip(outputs, leads, strict=True)], axis=1)
    if differences:
        target = target - x[newest]
    solved = np.linalg.lstsq(np.c_[windows, np.ones(len(windows))], target, rcond=None)[0]
    source = keras.Input((windows.shape[1],) if flat else (window, x.shape[1]))
    layer = keras.layers.Dense(len(outputs))
    y = layer(source if flat else keras.layers.Flatten()(source))
    model = keras.Model(source, y if more is None else more(keras, y))
    layer.set_weights([solved[:-1], solved[-1]])
    return model


def around(keras: Any, y: Any, offsets: Sequence[float]) -> Any:
    """One value as several about it, as quantiles are."""
    made = keras.layers.Dense(len(offsets))
    out = made(y)
    made.set_weights([np.ones((1, len(offsets))), np.array(offsets)])
    return out


def beside(keras: Any, y: Any, deviation: float) -> Any:
    """One value, and beside it a deviation that is always the same."""
    made = keras.layers.Dense(2)
    out = made(y)
    made.set_weights([np.array([[1.0, 0.0]]), np.array([0.0, deviation])])
    return out


def labels(keras: Any, inputs: Sequence[Array]) -> Any:
    """A model that gives a label for each sample: the next one, from it and the two before."""
    x, count = np.stack(inputs, axis=1), len(inputs)
    made = keras.layers.Conv1D(count, 3, padding="causal")
    model = keras.Sequential([keras.Input((WINDOW, count)), made])
    before = np.concatenate([x[:TRAIN], x[1 : TRAIN + 1], x[2 : TRAIN + 2]], axis=1)
    solved = np.linalg.lstsq(before, x[3 : TRAIN + 3], rcond=None)[0]
    made.set_weights([solved.reshape(3, count, count), np.zeros(count)])
    return model


def write_csv(path: Any, columns: dict[str, Array]) -> None:
    np.savetxt(path, np.stack([*columns.values()], axis=1), "%.6f", ",", header=",".join(columns), comments="")
