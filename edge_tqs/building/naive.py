"""The forecasts that need no model, and that a model has to beat: the last value again, and that of a season ago.

Both see of a target what was measured up to the newest sample of each forecast, no more: of a soft sensor, which says
the value of now, the one before.
"""

from __future__ import annotations

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
#: How much more a season that no clock gives must correlate.
CLEARER = 0.05


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
    season = season_of(series, data.train_rows, sorted(set(columns)))
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


def season_of(series: Series, rows: int, columns: list[int]) -> int | None:
    """Samples after which ``columns`` come again most nearly, in the first ``rows`` rows; None where they do not.

    A day and a week are tried where the period is known, and the lag at which the columns correlate most with
    themselves, beyond the first at which they no longer fall: that one counts where it comes again at twice the lag,
    and where no season of the clock is within CLEARER of it. What drifts correlates most a little before its day (22
    hours, not 24), without repeating that any better.
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

    clocks = (
        [round(season / series.period) for season in SEASONS if season % series.period == 0] if series.period else []
    )
    clock = max(filter(fits, clocks), key=lambda lag: (round(float(correlation[lag]), 3), -lag), default=None)
    rising = np.flatnonzero(np.diff(correlation[: longest + 1]) > 0)
    if not len(rising):
        return clock
    free = int(rising[0]) + int(np.argmax(correlation[rising[0] : longest + 1]))
    again = 2 * free <= reach and correlation[2 * free] >= LEAST_CORRELATION
    if not (fits(free) and again) or (clock is not None and correlation[free] < correlation[clock] + CLEARER):
        return clock
    return free


def _span(series: Series, rows: Array) -> Array:
    """The number of the stretch without holes that each row is in."""
    return np.searchsorted([end for _, end in series.spans], rows, side="right")
