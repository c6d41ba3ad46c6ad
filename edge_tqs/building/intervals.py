"""Intervals of figures that are means over windows: a circular block bootstrap.

Windows that follow each other are not independent, so that they are drawn in blocks (Politis and Romano 1992).
"""

from __future__ import annotations

import numpy as np

from edge_tqs.graph.graph import Array

#: Resamplings of an interval, and the part that it leaves out on each side.
RESAMPLED, TAIL = 400, 0.05


def resampled(windows: int, seed: int) -> Array:
    """Numbers of windows (RESAMPLED, windows), drawn in blocks of about the square root of them that wrap around."""
    length = max(1, round(windows**0.5))
    rng = np.random.default_rng(seed)
    starts = rng.integers(0, windows, (RESAMPLED, -(-windows // length)))
    drawn: Array = (starts[:, :, None] + np.arange(length)).reshape(RESAMPLED, -1)[:, :windows] % windows
    return drawn


def interval(values: Array) -> tuple[float | None, float | None]:
    """Where the middle 90 % of a resampled figure lie; None where most of its values are not finite."""
    finite = values[np.isfinite(values)]
    if len(finite) < len(values) / 2:
        return None, None
    low, high = np.quantile(finite, (TAIL, 1 - TAIL))
    return float(low), float(high)


def mean(values: Array) -> Array:
    """Over the last axis, of what is there; NaN where nothing is."""
    known = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        found: Array = np.where(known, values, 0).sum(axis=-1) / known.sum(axis=-1)
    return found
