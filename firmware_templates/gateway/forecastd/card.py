# SPDX-License-Identifier: Apache-2.0
"""The report card: each forecast waits until the truth arrives; rolling errors by lead, and alarms.

Truth is what was measured: a value that was filled judges nothing.
"""

from __future__ import annotations

import math
from array import array
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from forecastd.model import Range, Target, Training
from forecastd.report import ErrorRow, Forecast
from forecastd.resample import Sample

#: Rolling errors above this many times what validation promised are an alarm, and so is this share of samples outside
#: the training's range. Rolling means may leave those of training by this part of the training's range.
WORSE, OUTSIDE, DRIFT = 1.5, 0.05, 0.1


@dataclass(frozen=True)
class Pending:
    """A forecast whose truth is not all there. base: by target, the last value measured of its column; NaN without."""

    made: int
    values: array[float]
    base: array[float]


@dataclass(frozen=True)
class Judged:
    """Of one time: by target the absolute error of the forecast that was for it, and then of repeating the last value;
    NaN where there was none."""

    time: int
    errors: array[float]


class Card:
    """``rolling``: samples that an error is the mean of, at most."""

    def __init__(
        self, columns: tuple[str, ...], targets: tuple[Target, ...], period: int, training: Training, rolling: int
    ) -> None:
        self._columns, self._targets, self._period = columns, targets, period
        self._training, self._rolling = training, rolling
        place = {name: number for number, name in enumerate(columns)}
        #: By lead the targets that are judged: (number of the target, number of its column).
        self._by_lead: dict[int, list[tuple[int, int]]] = {}
        for number, target in enumerate(targets):
            if target.point and target.column in place:
                self._by_lead.setdefault(target.lead, []).append((number, place[target.column]))
        self.reach = max(self._by_lead, default=0)
        self._pending: dict[int, Pending] = {}
        self._judged: deque[Judged] = deque()
        count = 2 * len(targets)
        self._sums, self._counts, self._since = [0.0] * count, [0] * count, 0
        self._measured: deque[tuple[float, ...]] = deque(maxlen=max(1, training.rolling or rolling))

    def restore(self, pending: Iterable[Pending], judged: Iterable[Judged], samples: Iterable[Sample]) -> None:
        """Go on where an earlier run stopped."""
        self._pending = {one.made: one for one in pending}
        for one in judged:
            self._count(one)
        for sample in samples:
            self._measured.append(sample.values)

    def truth(self, sample: Sample) -> Judged | None:
        """Judge what was forecast for the time of ``sample``; None where nothing was."""
        self._measured.append(sample.values)
        errors = array("d", [math.nan]) * (2 * len(self._targets))
        found = False
        for lead, targets in self._by_lead.items():
            pending = self._pending.get(sample.time - lead * self._period)
            if pending is None:
                continue
            for number, column in targets:
                if sample.measured[column]:
                    value = sample.values[column]
                    errors[number] = abs(pending.values[number] - value)
                    errors[number + len(self._targets)] = abs(pending.base[number] - value)
                    found = True
        self._pending.pop(sample.time - self.reach * self._period, None)
        if not found:
            return None
        judged = Judged(sample.time, errors)
        self._count(judged)
        return judged

    def made(self, forecast: Forecast, sample: Sample) -> Pending | None:
        """Keep a forecast until its truth arrives; None where none can. sample: its newest."""
        if not self.reach:
            return None
        base = array("d", [math.nan]) * len(self._targets)
        for targets in self._by_lead.values():
            for number, column in targets:
                if sample.measured[column]:
                    base[number] = sample.values[column]
        pending = Pending(forecast.made, array("d", forecast.values), base)
        self._pending[forecast.made] = pending
        for made in [made for made in self._pending if made <= forecast.made - self.reach * self._period]:
            del self._pending[made]
        return pending

    def rewind(self, time: int) -> None:
        """The clock went back to ``time``: what is known of later ones is of a clock that was wrong."""
        self._pending = {made: one for made, one in self._pending.items() if made < time}
        kept = [one for one in self._judged if one.time < time]
        self._judged.clear()
        self._recount(kept)

    def rows(self) -> list[ErrorRow]:
        """Rolling errors of each target that was judged."""
        found, half = [], len(self._targets)
        for number, target in enumerate(self._targets):
            count, naive = self._counts[number], self._counts[number + half]
            if count:
                key = (target.label, target.lead)
                found.append(
                    ErrorRow(
                        *key,
                        count,
                        self._sums[number] / count,
                        self._sums[number + half] / naive if naive else None,
                        self._training.promised.get(key),
                    )
                )
        return found

    def by_label(self, rows: list[ErrorRow]) -> dict[str, ErrorRow]:
        """The same over all leads of a label (lead 0): means over leads, of as many truths as the least has."""
        found = {}
        for label in dict.fromkeys(row.label for row in rows):
            of = [row for row in rows if row.label == label]
            found[label] = ErrorRow(
                label,
                0,
                min(row.truths for row in of),
                _mean([row.mae for row in of]) or 0.0,
                _mean([row.naive for row in of]),
                _mean([row.promised for row in of]),
            )
        return found

    def alarms(self, labels: Mapping[str, ErrorRow]) -> list[str]:
        """What is wrong with forecasts and with what they are made of, in sentences.

        An error counts once it is the mean of half of the rolling samples.
        """
        found = []
        for label, row in labels.items():
            if 2 * row.truths < self._rolling:
                continue
            if row.naive is not None and row.mae > row.naive:
                found.append(f"{label}: forecasts are worse than the last value, {row.mae:.3g} against {row.naive:.3g}")
            if row.promised is not None and row.mae > WORSE * row.promised:
                found.append(f"{label}: the error is {row.mae:.3g}, validation promised {row.promised:.3g}")
        if len(self._measured) == self._measured.maxlen and self._training.rolling:
            for number, name in enumerate(self._columns):
                trained = self._training.columns.get(name)
                if trained is not None:
                    found += self._of_column(name, [values[number] for values in self._measured], trained)
        return found

    def _of_column(self, name: str, values: list[float], trained: Range) -> list[str]:
        found, span = [], trained.greatest - trained.least
        outside = sum(not trained.least <= value <= trained.greatest for value in values) / len(values)
        if outside > OUTSIDE:
            found.append(f"{name}: {outside:.0%} of the last {len(values)} samples are outside the training's range")
        mean = math.fsum(values) / len(values)
        if trained.means and not trained.means[0] - DRIFT * span <= mean <= trained.means[1] + DRIFT * span:
            low, high = trained.means
            found.append(f"{name}: drifted, the mean is {mean:.4g}, in training it was {low:.4g} to {high:.4g}")
        return found

    def _count(self, judged: Judged) -> None:
        self._judged.append(judged)
        self._add(judged, 1)
        if len(self._judged) > self._rolling:
            self._add(self._judged.popleft(), -1)
        self._since += 1
        if self._since >= self._rolling:  # what adding and taking away has rounded is not kept
            self._recount(list(self._judged))

    def _recount(self, kept: list[Judged]) -> None:
        self._judged = deque(kept)
        self._sums, self._counts = [0.0] * len(self._sums), [0] * len(self._counts)
        self._since = 0
        for one in kept:
            self._add(one, 1)

    def _add(self, judged: Judged, sign: int) -> None:
        for number, error in enumerate(judged.errors):
            if not math.isnan(error):
                self._sums[number] += sign * error
                self._counts[number] += sign


def _mean(values: list[float] | list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
