# SPDX-License-Identifier: Apache-2.0
"""Readings at any times become samples at the model's period; holes are filled as configured, or end the window.

The sample of time T holds what was read in (T - period, T]. T is a multiple of the period since 1970, moved by `phase`.
A sample is closed as soon as each column was read at T or later, else once time is a period past T: that of the
newest reading or, where `tick` tells it, that of the wall clock.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Union

from forecastd.clock import EARLIEST, LATEST, iso


@dataclass(frozen=True)
class Reading:
    """Values by column that were measured at one time (nanoseconds since 1970)."""

    time: int
    values: Mapping[str, float]


@dataclass(frozen=True)
class Sample:
    """A whole sample. measured: whether each value was read, and not filled."""

    time: int
    values: tuple[float, ...]
    measured: tuple[bool, ...]


@dataclass(frozen=True)
class Gap:
    """The sample of a time cannot be had: the window begins anew. missing: the columns that lack. why: a sentence.

    back: the clock went back: what is known of later times is of a clock that was wrong.
    """

    time: int
    missing: tuple[str, ...]
    why: str
    back: bool = False


Step = Union[Sample, Gap]


@dataclass(frozen=True)
class Grid:
    """How samples are made. period, phase: nanoseconds. how: "last" or "mean" of the readings of a sample. most:
    samples in a row that may be filled; by: "hold" the last value, or "linear", which waits for the next one."""

    period: int
    phase: int = 0
    how: str = "last"
    most: int = 0
    by: str = "hold"


class Resampler:
    """``columns``: of a sample, in its order. Holds two samples that are open, and ``grid.most`` that wait."""

    def __init__(self, columns: tuple[str, ...], grid: Grid) -> None:
        self._columns, self._grid = columns, grid
        self._place = {name: place for place, name in enumerate(columns)}
        #: Readings that came for a sample that is closed; readings whose time no other reading confirms.
        self.late = self.strays = 0
        self._start(None)

    def _start(self, next_time: int | None) -> None:
        count = len(self._columns)
        self._next = next_time
        self._open: dict[int, list[tuple[float, int, float, int]]] = {}  # sum, count, last value, its time
        self._newest = [-1] * count
        self._last = [math.nan] * count
        self._run = [0] * count  # samples in a row that lack the column
        self._waiting: list[tuple[int, list[float]]] = []
        self._suspect: Reading | None = None
        self._whole = False  # whether the window has begun

    def resume(self, closed: int, last: Sequence[float] | None) -> None:
        """Go on behind the sample of a time, the last one of an earlier run. last: its values; None for a gap."""
        self._start(closed + self._grid.period)
        if last is not None:
            self._last, self._whole = list(last), True

    @property
    def next_time(self) -> int | None:
        """The time of the sample that is closed next; None before the first reading."""
        return self._next

    def take(self, reading: Reading) -> list[Step]:
        """What a reading completes. Values that are not finite count as not read."""
        if not EARLIEST <= reading.time < LATEST:  # of no calendar, and two of them confirm each other
            self.strays += 1
            return []
        slot = self._slot(reading.time)
        if self._next is None:
            self._next = slot
        period = self._grid.period
        behind = slot < self._next
        ahead = slot > self._next + (self._grid.most + 1) * period
        if behind and slot >= self._next - period:
            self.late += 1
            return []
        if behind or ahead:
            return self._unexpected(reading, slot, behind)
        if self._suspect is not None:
            self.strays, self._suspect = self.strays + 1, None
        self._keep(reading, slot)
        return self._close(max(self._newest))

    def tick(self, now: int) -> list[Step]:
        """What the wall clock completes."""
        return [] if self._next is None else self._close(now)

    def _unexpected(self, reading: Reading, slot: int, behind: bool) -> list[Step]:
        """A time far from the one that is due counts once the next reading says the same."""
        assert self._next is not None
        before, self._suspect = self._suspect, reading
        if before is None or not 0 <= reading.time - before.time <= self._reach or self._is_behind(before) != behind:
            self.strays += before is not None
            return []
        steps: list[Step] = []
        if behind:
            why = f"the clock went back from {iso(self._next - self._grid.period)} to {iso(before.time)}"
            steps = [Gap(self._slot(before.time), (), f"{why}: the window begins anew", back=True)]
            self._start(self._slot(before.time))
        else:
            self._suspect = None
            steps = self._close(before.time - 1)  # the samples of the hole, up to where it is one
            self._next = max(self._next, self._slot(before.time))
        self._keep(before, self._slot(before.time))
        self._keep(reading, slot)
        return steps + self._close(max(self._newest))

    @property
    def _reach(self) -> int:
        """How far the reading after one of an unexpected time may be from it."""
        return (self._grid.most + 2) * self._grid.period

    def _is_behind(self, reading: Reading) -> bool:
        return self._next is not None and self._slot(reading.time) < self._next

    def _slot(self, time: int) -> int:
        period, phase = self._grid.period, self._grid.phase
        return -((phase - time) // period) * period + phase

    def _keep(self, reading: Reading, slot: int) -> None:
        cells = self._open.setdefault(slot, [(0.0, 0, math.nan, -1)] * len(self._columns))
        for name, value in reading.values.items():
            place = self._place.get(name)
            if place is None or not math.isfinite(value):
                continue
            total, count, last, at = cells[place]
            newer = reading.time >= at
            cells[place] = (total + value, count + 1, value if newer else last, reading.time if newer else at)
            self._newest[place] = max(self._newest[place], reading.time)

    def _close(self, now: int) -> list[Step]:
        """Close the samples that nothing can be added to any more at ``now``."""
        assert self._next is not None
        steps: list[Step] = []
        period, most = self._grid.period, self._grid.most
        while min(self._newest) >= self._next or now >= self._next + period:
            if self._next not in self._open and min(self._run) > most:
                # All columns are missing for longer than is filled: nothing changes up to the next reading.
                later = min(self._open, default=self._slot(now - period + 1))
                self._next = max(self._next, min(later, self._slot(now - period + 1)))
                if not (min(self._newest) >= self._next or now >= self._next + period):
                    break
                if self._next not in self._open:
                    self._next += period
                    continue
            steps += self._closed(self._next)
            self._next += period
        return steps

    def _closed(self, time: int) -> list[Step]:
        cells = self._open.pop(time, None)
        values = [math.nan] * len(self._columns)
        if cells is not None:
            mean = self._grid.how == "mean"
            values = [(total / count if mean else last) if count else math.nan for total, count, last, _ in cells]
        missing = [place for place, value in enumerate(values) if math.isnan(value)]
        self._run = [run + 1 if math.isnan(value) else 0 for run, value in zip(self._run, values)]
        if any(self._run[place] > self._grid.most or math.isnan(self._last[place]) for place in missing):
            return self._gap(time, missing)
        self._whole = True
        if self._grid.by == "linear" and (missing or self._waiting):
            self._waiting.append((time, values))
            return [] if missing and max(self._run) > 0 else self._joined()
        filled = tuple(self._last[place] if math.isnan(value) else value for place, value in enumerate(values))
        self._last = list(filled)
        return [Sample(time, filled, tuple(not math.isnan(value) for value in values))]

    def _gap(self, time: int, missing: list[int]) -> list[Step]:
        names = tuple(self._columns[place] for place in missing)
        since = time - (max(self._run[place] for place in missing) - 1) * self._grid.period
        # A value from before the hole never fills one behind it.
        self._last = [math.nan] * len(self._columns)
        self._waiting.clear()
        anew = ": the window begins anew" if self._whole else ""
        self._whole = False
        return [Gap(time, names, f"no value of {', '.join(names)} since {iso(since)}{anew}")]

    def _joined(self) -> list[Step]:
        """The samples that waited, each hole a straight line from the last value before it to the first behind it."""
        steps: list[Step] = []
        times = [time for time, _ in self._waiting]
        columns = []
        for place, last in enumerate(self._last):
            known = [(-1, last), *((i, v[place]) for i, (_, v) in enumerate(self._waiting) if not math.isnan(v[place]))]
            line = []
            for (a, left), (b, right) in zip(known, known[1:]):
                line += [left + (right - left) * (i - a) / (b - a) for i in range(a + 1, b)] + [right]
            columns.append(line)
        for at, time in enumerate(times):
            measured = tuple(not math.isnan(value) for value in self._waiting[at][1])
            steps.append(Sample(time, tuple(column[at] for column in columns), measured))
        self._last = [column[-1] for column in columns]
        self._waiting.clear()
        return steps
