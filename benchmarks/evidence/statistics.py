"""Rank correlation and means."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt


def ranks(values: Sequence[float]) -> npt.NDArray[np.float64]:
    """Ranks from 0; equal values share the mean of theirs."""
    array = np.asarray(values, np.float64)
    below = (array[None, :] < array[:, None]).sum(axis=1)
    equal = (array[None, :] == array[:, None]).sum(axis=1)
    shared: npt.NDArray[np.float64] = below + (equal - 1) / 2
    return shared


def spearman(first: Sequence[float], second: Sequence[float]) -> float:
    """Spearman's rank correlation; 0 where all values of one are equal."""
    a, b = ranks(first), ranks(second)
    a, b = a - a.mean(), b - b.mean()
    power = math.sqrt(float(a @ a) * float(b @ b))
    return float(a @ b) / power if power else 0.0


def geometric_mean(values: Sequence[float]) -> float:
    return math.exp(math.fsum(math.log(max(value, 1e-12)) for value in values) / len(values))


def median(values: Sequence[float]) -> float:
    return float(np.median(values))
