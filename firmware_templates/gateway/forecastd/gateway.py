# SPDX-License-Identifier: Apache-2.0
"""Readings in, reports out: the window, the engine and the states of the sensors between them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from forecastd.engines import Engine
from forecastd.model import Model, Training
from forecastd.report import Forecast, Report
from forecastd.resample import Gap, Grid, Reading, Resampler, Sample, Step
from forecastd.states import Sensors, Watch


class Gateway:
    """One model at work. horizon: samples of a closed loop's forecast. ``notices`` are said with the next report."""

    def __init__(
        self,
        model: Model,
        training: Training,
        engine: Engine,
        grid: Grid,
        horizon: int,
        watch: Watch,
        notices: Sequence[str] = (),
    ) -> None:
        self._model, self._engine, self._grid, self._horizon = model, engine, grid, horizon
        self._resampler = Resampler(model.columns, grid)
        self._sensors = Sensors(model.columns, training.columns, watch)
        self._targets = model.targets(horizon)
        self._have = 0
        self._notices = list(notices)

    def take(self, reading: Reading, counters: Mapping[str, int]) -> list[Report]:
        """What a reading completes. counters: of the source, said with the reports."""
        return self._reports(self._resampler.take(reading), counters)

    def tick(self, now: int, counters: Mapping[str, int]) -> list[Report]:
        """What the wall clock completes."""
        return self._reports(self._resampler.tick(now), counters)

    def say(self, notices: Iterable[str]) -> None:
        """Have sentences said with the next report."""
        self._notices += notices

    def _reports(self, steps: Sequence[Step], counters: Mapping[str, int]) -> list[Report]:
        return [self._gap(step, counters) if isinstance(step, Gap) else self._sample(step, counters) for step in steps]

    def _gap(self, gap: Gap, counters: Mapping[str, int]) -> Report:
        if self._have or gap.back:
            self._notices.append(gap.why)
        self._have = 0
        self._engine.reset()
        return self._report(gap.time, {}, self._sensors.of_gap(gap.missing), None, counters)

    def _sample(self, sample: Sample, counters: Mapping[str, int]) -> Report:
        self._engine.push(sample.values)
        self._have += 1
        forecast = self._forecast(sample.time) if self._have >= self._model.window else None
        states = self._sensors.of_sample(sample)
        return self._report(sample.time, dict(zip(self._model.columns, sample.values)), states, forecast, counters)

    def _forecast(self, time: int) -> Forecast:
        if self._model.kind == "closed loop":
            return Forecast(time, self._engine.forecast(self._horizon))
        if self._model.kind == "reconstruction":
            return Forecast(time, (), score=self._engine.anomaly())
        values = self._engine.predict()
        chosen = None
        if self._model.kind == "classes":
            chosen = self._targets[max(range(len(values)), key=values.__getitem__)].label
        return Forecast(time, values, chosen=chosen)

    def _report(
        self,
        time: int,
        sample: Mapping[str, float],
        states: Mapping[str, str],
        forecast: Forecast | None,
        counters: Mapping[str, int],
    ) -> Report:
        notices, self._notices = tuple(self._notices), []
        counted = {**counters, "late": self._resampler.late, "strays": self._resampler.strays}
        return Report(
            time,
            sample,
            states,
            self._have,
            self._model.window,
            self._grid.period,
            forecast,
            self._targets,
            notices,
            counted,
        )
