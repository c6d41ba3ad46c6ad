"""A float model one step from each window of the data, beside the naive forecast."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from edge_tqs.graph.graph import Array, Forecast
from edge_tqs.system.system import System

#: Samples that a system with states takes before it is compared, at most, and the part of the rows that they may be.
WARM, PART_OF_ROWS = 64, 8


def warmed(system: System, rows: int) -> System:
    """A system of states, nothing of which is fed back, as one whose window are the samples that it is warmed up by.

    From zero states its first answers are not those of a filter that has run. rows: of the training part.
    """
    warm = min(WARM, rows // PART_OF_ROWS)
    if not (system.stateful and system.driven and system.reading.task != "reconstruction"):
        return system

    def roll(seeds: Array, horizon: int) -> Array:
        return system.roll(seeds, warm + horizon)[:, warm:]

    return replace(system, window=system.window + warm, roll=roll)


@dataclass(frozen=True, eq=False)
class Fit:
    """One-step errors of a float model (outputs,) and of the naive forecast, in standard deviations; NaN where an
    output is no point forecast or its column never moves. reference: what the naive forecast repeats."""

    errors: Array
    naive: Array
    reference: str

    @property
    def worse(self) -> list[int]:
        """The outputs that the naive forecast is nearer to."""
        return [int(output) for output in np.flatnonzero(self.errors >= self.naive)]

    @property
    def error(self) -> float:
        """Of all outputs together."""
        return _mean(self.errors)

    @property
    def bar(self) -> float:
        """That of the naive forecast."""
        return _mean(self.naive)


def one_step(system: System, seeds: Array) -> Array:
    """(N, outputs) of seeds (N, W + 1, F) or longer, in the model's units."""
    y: Array = system.roll(seeds[:, : system.seed_length(1)], 1)[:, 0].astype(np.float64)
    return y


def fit_of(forecast: Forecast, y: Array, truth: Array, seeds: Array) -> Fit:
    """Of outputs ``y`` (N, outputs), the truth likewise and seeds (N, W + 1, F), all in the model's units."""
    if forecast.task == "reconstruction":
        size = (len(truth), forecast.window, forecast.channels)
        made, real = y.reshape(size), truth.reshape(size).astype(np.float64)
        spreads = real.std(axis=(0, 1))
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            relative = np.sqrt(np.mean((made - real) ** 2, axis=(0, 1))) / spreads
        return Fit(np.where(spreads > 0, relative, np.nan), np.ones(forecast.channels), "the mean of the data")
    scaling, inputs = forecast.scaling_of_outputs(), forecast.scaling
    errors, naive, words = np.full(forecast.outputs, np.nan), np.full(forecast.outputs, np.nan), set()
    for output, channel in enumerate(forecast.output_channels):
        said = forecast.predicted[output] if forecast.predicted else None
        point = said is None or said.statistic in ("value", "mean") or said.level == 0.5
        spread = float(truth[:, output].std())
        if not point or spread == 0:
            continue
        with np.errstate(over="ignore", invalid="ignore"):
            errors[output] = np.sqrt(np.mean((y[:, output] - truth[:, output]) ** 2)) / spread
        if channel is None or forecast.leads[output] < 1:
            naive[output] = 1.0
            words.add("the mean of the data")
            continue
        last = seeds[:, forecast.window - 1, channel].astype(np.float64)
        if inputs is not None:
            last = last * inputs.std[channel] + inputs.mean[channel]
        last = (last - scaling.mean[output]) / scaling.std[output]
        naive[output] = np.sqrt(np.mean((last - truth[:, output]) ** 2)) / spread
        words.add("repeating the last sample")
    errors = np.where(np.isnan(naive) | np.isfinite(errors), errors, np.inf)
    return Fit(errors, naive, " and ".join(sorted(words)))


def _mean(values: Array) -> float:
    known = values[~np.isnan(values)]
    return float(np.sqrt(np.mean(known**2))) if len(known) else 0.0
