"""Windows to start rollouts from, made without data.

Half are AR(1) noise, as normalised sensor data looks from afar; half are what the model makes of such noise after
feeding itself for 2 W steps. Inputs that are known ahead are AR(1) noise throughout. A channel by which rows are looked
up holds the whole number that such noise falls on where each is as likely. A seed whose nominal rollout runs
away says nothing about rounding and is rejected. A driven system has noise for all its samples, and cannot run away.
"""

from __future__ import annotations

from collections.abc import Callable
from statistics import NormalDist

import numpy as np

from edge_tqs.graph.graph import Array
from edge_tqs.system.system import System

#: x[t+1] = PHI x[t] + noise, of unit variance.
PHI = 0.9
#: A nominal rollout beyond this many standard deviations has run away.
RUNAWAY = 5.0
#: Candidates drawn for each kind, over the seeds wanted.
CANDIDATES = 4


def zero_data_seeds(system: System, count: int, horizon: int, seed: int) -> Array:
    """``count`` seeds (S, W, F), or (S, W + T, F) with exogenous inputs; float32, normalised units.

    A seed whose nominal rollout over ``horizon`` steps leaves +-RUNAWAY is rejected while others are left, then the
    mildest are taken. A model that overflows by itself gives AR(1) seeds only.
    """
    rng = np.random.default_rng([seed, count])
    if system.driven:
        return _noise(system, rng, count, system.seed_length(horizon))
    length, fed_steps = system.seed_length(horizon), 2 * system.window
    more = fed_steps if system.exogenous else 0
    noise = _noise(system, rng, CANDIDATES * count, length)
    origins = _noise(system, rng, CANDIDATES * count, length + more)
    fed_back = [channel for channel, source in enumerate(system.feedback) if source is not None]
    sources = [source for source in system.feedback if source is not None]

    def feed_itself(origins: Array) -> Array:
        outputs = system.roll(origins[:, : system.seed_length(fed_steps)], fed_steps)
        seeds = origins[:, more:].copy()
        seeds[:, : system.window, fed_back] = outputs[:, -system.window :, sources]
        return seeds

    with np.errstate(over="ignore", invalid="ignore"):
        fed = _mildest(system, origins, feed_itself, count // 2, horizon)
        return np.concatenate([_mildest(system, noise, lambda seeds: seeds, count - len(fed), horizon), fed])


def noise(system: System, count: int, horizon: int, seed: int) -> Array:
    """``count`` seeds of noise alone, shaped as `zero_data_seeds`; no rollout decides which."""
    return _noise(system, np.random.default_rng([seed, count, 1]), count, system.seed_length(horizon))


def _noise(system: System, rng: np.random.Generator, count: int, length: int) -> Array:
    """(count, length, F)."""
    made = _autoregressive(rng, (count, length, system.channels))
    for channel, numbers in system.whole_values.items():
        edges = [NormalDist().inv_cdf(k / len(numbers)) for k in range(1, len(numbers))]
        made[:, :, channel] = numbers[np.searchsorted(edges, made[:, :, channel])]
    return made


def _autoregressive(rng: np.random.Generator, shape: tuple[int, int, int]) -> Array:
    """(N, L, F) float32; stationary, of unit variance, channels independent."""
    shocks = rng.standard_normal(shape)
    series = np.empty(shape)
    series[:, 0] = shocks[:, 0]
    for t in range(1, shape[1]):
        series[:, t] = PHI * series[:, t - 1] + np.sqrt(1 - PHI**2) * shocks[:, t]
    return series.astype(np.float32)


def _mildest(system: System, origins: Array, make: Callable[[Array], Array], count: int, horizon: int) -> Array:
    """The first ``count`` of make(origins) that do not run away; failing that, the mildest finite ones.

    Candidates are rolled out ``count`` at a time: most models need no more than the first few.
    """
    length = system.seed_length(horizon)
    candidates, peaks = [origins[:0, :length]], [np.empty(0)]
    for begin in range(0, len(origins) if count else 0, max(count, 1)):
        seeds = make(origins[begin : begin + count])
        seeds = seeds[np.isfinite(seeds).all(axis=(1, 2))]
        outputs = np.abs(system.roll(seeds, horizon)) if len(seeds) else np.empty((0, 1, 1))
        candidates.append(seeds)
        peaks.append(np.nan_to_num(outputs.max(axis=(1, 2)), nan=np.inf))
        if sum(int((peak <= RUNAWAY).sum()) for peak in peaks) >= count:
            break
    ranked = np.maximum(np.concatenate(peaks), RUNAWAY)
    return np.concatenate(candidates)[np.argsort(ranked, kind="stable")[:count]]
