# SPDX-License-Identifier: Apache-2.0
"""Readings in, reports out: the window, the engine, the states of the sensors and the report card between them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from forecastd.card import Card
from forecastd.clock import iso
from forecastd.engines import Engine
from forecastd.known import NOTHING, Known, lacking
from forecastd.model import Model, Training
from forecastd.report import Forecast, Report
from forecastd.resample import Gap, Grid, Reading, Resampler, Sample, Step
from forecastd.states import Sensors, Watch
from forecastd.store import Change, Kept, Store


class Gateway:
    """One model at work. horizon: samples of a closed loop's forecast. notices: said with the first report.

    Begins where the run before stopped, as far as ``store`` knows it: ``resumed`` is the time of its last sample.
    """

    def __init__(
        self,
        model: Model,
        training: Training,
        engine: Engine,
        grid: Grid,
        horizon: int,
        watch: Watch,
        store: Store,
        rolling: int,
        notices: Sequence[str] = (),
        known: Known = NOTHING,
    ) -> None:
        self._model, self._engine, self._grid, self._horizon = model, engine, grid, horizon
        self._known = known
        self._places = [place for place, name in enumerate(model.columns) if name not in known.columns]
        self._resampler = Resampler(tuple(model.columns[place] for place in self._places), grid)
        self._sensors = Sensors(model.columns, training.columns, watch)
        self._targets = model.targets(horizon)
        self._card = Card(model.columns, self._targets, grid.period, training, rolling)
        self._store, self._have = store, 0
        self._notices = [*notices, *store.notices]
        #: Samples of the run before.
        self.history: tuple[Sample, ...] = ()
        self.resumed = self._resume()

    def _resume(self) -> int | None:
        kept = self._store.load()
        if kept.closed is None:
            return None
        if kept.engine is None or not self._engine.restore(kept.engine):
            self._engine.reset()
            for sample in kept.samples:
                self._engine.push(sample.values)
        self.history = kept.samples
        self._have = kept.have if self._in_a_row(kept) else 0
        self._card.restore(kept.pending, kept.judged, kept.samples)
        last = kept.samples[-1].values if self._have else None
        self._resampler.resume(kept.closed, None if last is None else tuple(last[place] for place in self._places))
        return kept.closed

    def _in_a_row(self, kept: Kept) -> bool:
        """Whether none of the samples is missing: a full disk kept none for a while."""
        wanted = min(kept.have, max(self._model.window, len(kept.samples)))
        times = [sample.time for sample in kept.samples][-wanted:]
        assert kept.closed is not None
        return times == [kept.closed - n * self._grid.period for n in reversed(range(wanted))]

    def take(self, reading: Reading, counters: Mapping[str, int]) -> Iterator[Report]:
        """What a reading completes. counters: of the source, said with the reports. A report is kept for good once the
        next one is asked for: what was not published is made again after a restart."""
        return self._reports(self._resampler.take(reading), counters)

    def tick(self, now: int, counters: Mapping[str, int]) -> Iterator[Report]:
        """What the wall clock completes, as `take`."""
        return self._reports(self._resampler.tick(now), counters)

    @property
    def card(self) -> Card:
        """The report card."""
        return self._card

    def _reports(self, steps: Sequence[Step], counters: Mapping[str, int]) -> Iterator[Report]:
        for step in steps:
            whole = step if isinstance(step, Gap) else self._whole(step)
            report, change = self._gap(whole, counters) if isinstance(whole, Gap) else self._sample(whole, counters)
            yield report
            self._store.commit(change)

    def _whole(self, sample: Sample) -> Step:
        """The sample with what is known of its time; a gap where that lacks."""
        if not self._known.columns:
            return sample
        known = self._known.values(sample.time)
        lacks = tuple(name for name in self._model.columns if name in self._known.columns and name not in known)
        if lacks:
            return Gap(
                sample.time, lacks, f"{', '.join(lacks)} of {iso(sample.time)} is not known: the window begins anew"
            )
        values: list[float] = [known.get(name, 0.0) for name in self._model.columns]
        measured = [True] * len(values)
        for place, value, read in zip(self._places, sample.values, sample.measured):
            values[place], measured[place] = value, read
        return Sample(sample.time, tuple(values), tuple(measured))

    def _gap(self, gap: Gap, counters: Mapping[str, int]) -> tuple[Report, Change]:
        if self._have or gap.back:
            self._notices.append(gap.why)
        self._have = 0
        self._engine.reset()
        if gap.back:
            self._card.rewind(gap.time)
        report = self._report(gap.time, {}, self._sensors.of_gap(gap.missing), None, counters)
        # Of a clock that went back, the sample of this time is still to come.
        closed = gap.time - self._grid.period if gap.back else gap.time
        return report, Change(closed, 0, self._engine.snapshot(), back=gap.back)

    def _sample(self, sample: Sample, counters: Mapping[str, int]) -> tuple[Report, Change]:
        self._engine.push(sample.values)
        self._have += 1
        judged = self._card.truth(sample)
        forecast = self._forecast(sample.time) if self._have >= self._model.window else None
        pending = None if forecast is None else self._card.made(forecast, sample)
        states, named = self._sensors.of_sample(sample), dict(zip(self._model.columns, sample.values))
        report = self._report(sample.time, named, states, forecast, counters)
        return report, Change(sample.time, self._have, self._engine.snapshot(), sample, pending, judged)

    def _forecast(self, time: int) -> Forecast | None:
        if self._model.kind == "closed loop":
            ahead: list[float] = []
            for step in range(self._horizon if self._model.ahead else 0):
                then = time + (step + 1) * self._grid.period
                known = self._known.values(then)
                lacks = [name for name in self._model.ahead if name not in known]
                if lacks:
                    self._notice(lacking(lacks, then))
                    return None
                ahead += [known[name] for name in self._model.ahead]
            return Forecast(time, self._engine.forecast(self._horizon, ahead))
        if self._model.kind == "reconstruction":
            return Forecast(time, (), score=self._engine.anomaly())
        values = self._engine.predict()
        chosen = None
        if self._model.kind == "classes":
            chosen = self._targets[max(range(len(values)), key=values.__getitem__)].label
        return Forecast(time, values, chosen=chosen)

    def _notice(self, words: str) -> None:
        if words not in self._notices:
            self._notices.append(words)

    def _report(
        self,
        time: int,
        sample: Mapping[str, float],
        states: Mapping[str, str],
        forecast: Forecast | None,
        counters: Mapping[str, int],
    ) -> Report:
        notices = (*self._notices, *self._known.notices())
        self._notices.clear()
        counted = {**counters, **self._store.counters, "late": self._resampler.late, "strays": self._resampler.strays}
        errors = self._card.rows()
        labels = self._card.by_label(errors)
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
            tuple(errors),
            labels,
            tuple(self._card.alarms(labels)),
        )
