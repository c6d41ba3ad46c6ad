"""The forecasts that need no model, and that a model has to beat: the last value again, and that of a season ago.

Both see of a target what was measured up to the newest sample of each forecast, no more: of a soft sensor, which says
the value of now, the one before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from edge_tqs.graph.graph import Array, Forecast, Scaling
from edge_tqs.project.rollouts import ProjectData, label_column, target_columns
from edge_tqs.project.series import Series, normalise

#: Nanoseconds of the seasons that a clock gives.
SEASONS = (24 * 3600 * 10**9, 7 * 24 * 3600 * 10**9)
#: Rows that a season is looked for in, at most, the latest of the training part; and how often it comes at least.
MOST_ROWS, LEAST_SEASONS = 50_000, 3
#: Correlation of a value with that of a season ago, at least.
LEAST_CORRELATION = 0.2
#: Lags that are tried beside those of a clock; up to how many times the least squared error is alike.
PEAKS, ALIKE = 8, 1.02


@dataclass(frozen=True, eq=False)
class Naive:
    """Naive forecasts of the same values as a rollout's truth, in the model's units; None where there is nothing to
    repeat.

    persistence, seasonal: (N, T, outputs); NaN where what they repeat is not there or lies beyond a hole. season: in
    samples. step: (outputs,), the mean absolute difference of successive values in the training part, which MASE is in
    terms of. mean: (outputs,), of the training part. majority: the class that most samples of the training part have.
    """

    persistence: Array | None = None
    seasonal: Array | None = None
    season: int | None = None
    step: Array | None = None
    mean: Array | None = None
    majority: int | None = None

    def scaled(self, y: Scaling) -> Naive:
        """The same in other units of the outputs."""
        persistence, seasonal, mean = (
            None if values is None else y.scaled(values) for values in (self.persistence, self.seasonal, self.mean)
        )
        step = None if self.step is None else self.step / np.array(y.std)
        return replace(self, persistence=persistence, seasonal=seasonal, step=step, mean=mean)


def naive_forecasts(data: ProjectData, forecast: Forecast, origins: Array, horizon: int) -> Naive:
    """The naive forecasts of rollouts that begin at rows ``origins`` (N,), the first that is predicted.

    Raises UsageError where an output speaks of no column of the series.
    """
    if forecast.task == "classes":
        labels = data.series.values[: data.train_rows, label_column(data)]
        return Naive(majority=int(np.bincount(labels.astype(np.int64)).argmax()))
    if forecast.task == "reconstruction":
        return Naive()
    columns, leads = target_columns(data, forecast), np.asarray(forecast.leads)
    series, scaling = data.series, forecast.scaling_of_outputs()
    steps = np.arange(horizon)
    start = origins[:, None, None] - 1
    newest = start + (steps[:, None] if forecast.driven else 0) + np.minimum(0, leads - 1)
    meant = start + steps[:, None] + leads
    distances = np.broadcast_to(meant - newest, (len(origins), horizon, len(leads)))[0].ravel()
    season = season_of(series, data.train_rows, sorted(set(columns)), distances.tolist())
    at = np.arange(len(leads))

    def repeated(rows: Array) -> Array:
        values = series.values[np.clip(rows, 0, None), np.asarray(columns)[at]]
        known = (rows >= 0) & (_span(series, rows) == _span(series, np.broadcast_to(start, rows.shape)))
        found: Array = np.where(known, normalise(values, scaling), np.nan)
        return found

    newest = np.broadcast_to(newest, meant.shape)
    seasonal = None
    if season is not None:
        seasonal = repeated(meant - season * np.maximum(1, -((newest - meant) // season)))
    difference = np.abs(np.diff(series.values[: data.train_rows].astype(np.float64), axis=0))
    whole = np.diff(_span(series, np.arange(data.train_rows))) == 0
    step = difference[whole].mean(axis=0)[columns] / np.asarray(scaling.std)
    mean = normalise(series.values[: data.train_rows].mean(axis=0, dtype=np.float64)[columns], scaling)
    return Naive(repeated(newest), seasonal, season, step, mean)


def season_of(series: Series, rows: int, columns: list[int], distances: Sequence[int] = (1,)) -> int | None:
    """The season that the best naive forecast of ``columns`` repeats, in samples; None where they do not come again.

    Tried are a day and a week, where the period is known, and the PEAKS lags at which the columns correlate most with
    themselves, beyond the first at which they no longer fall, that come again at twice the lag. The one whose forecast
    is nearest counts, in the first ``rows`` rows: of two alike the shorter. distances: samples from the newest that is
    known to each that is predicted.
    """
    values = series.values[max(0, rows - MOST_ROWS) : rows, columns].astype(np.float64)
    values = values[:, values.std(axis=0) > 0]
    longest = len(values) // LEAST_SEASONS
    if longest < 2 or not values.shape[1]:
        return None
    centred = (values - values.mean(axis=0)) / values.std(axis=0)
    power = np.abs(np.fft.rfft(centred, 2 * len(centred), axis=0)) ** 2
    reach = min(2 * longest, len(centred) - 1)
    overlap = len(centred) - np.arange(reach + 1)
    correlation = (np.fft.irfft(power, axis=0)[: reach + 1] / overlap[:, None]).mean(axis=1)

    def fits(lag: int) -> bool:
        return 2 <= lag <= longest and bool(correlation[lag] >= LEAST_CORRELATION)

    def error(lag: int) -> float:
        """Of repeating, at each distance, the latest value of the same place in the season."""
        lags, counts = np.unique(-(-np.maximum(1, distances) // lag) * lag, return_counts=True)
        known = lags < len(centred)
        squared = [np.mean((centred[back:] - centred[:-back]) ** 2) for back in lags[known]]
        return float(np.average(squared, weights=counts[known])) if known.any() else float("inf")

    clocks = (
        [round(season / series.period) for season in SEASONS if season % series.period == 0] if series.period else []
    )
    inner = correlation[1 : longest + 1]
    rising = np.flatnonzero(np.diff(correlation[: longest + 1]) > 0)
    peaks = 1 + np.flatnonzero((inner >= correlation[:longest]) & (inner >= correlation[2 : longest + 2]))
    again = [
        int(lag)
        for lag in peaks
        if len(rising) and lag > rising[0] and 2 * lag <= reach and correlation[2 * lag] >= LEAST_CORRELATION
    ]
    again = sorted(again, key=lambda lag: -correlation[lag])[:PEAKS]
    errors = {lag: error(lag) for lag in {*clocks, *again} if fits(lag)}
    least = min(errors.values(), default=0.0)
    return min((lag for lag in errors if errors[lag] <= least * ALIKE + 1e-9), default=None)


def _span(series: Series, rows: Array) -> Array:
    """The number of the stretch without holes that each row is in."""
    return np.searchsorted([end for _, end in series.spans], rows, side="right")
