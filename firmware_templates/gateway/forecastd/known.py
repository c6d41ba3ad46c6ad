# SPDX-License-Identifier: Apache-2.0
"""Columns that are known ahead of their time: what a clock says, and what a file holds of times to come (CSV)."""

from __future__ import annotations

import csv
import math
import os
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta, timezone, tzinfo
from typing import Callable

from forecastd.clock import SECOND, iso, reader
from forecastd.sources import Column

_DAY = 24 * 60
#: The rows of a file that are kept: 500 days of half hours, and the bytes that it may have.
_ROWS, _BYTES = 24_000, 16 << 20


def _minutes(local: datetime) -> float:
    return local.hour * 60 + local.minute + local.second / 60


def _year(local: datetime) -> float:
    """The part of the year that is over."""
    days = 366 if local.year % 4 == 0 and (local.year % 100 != 0 or local.year % 400 == 0) else 365
    return (local.timetuple().tm_yday - 1 + _minutes(local) / _DAY) / days


#: "clock" of a column -> what it says of a local time.
CLOCKS: Mapping[str, Callable[[datetime], float]] = {
    "hour": lambda local: float(local.hour),
    "hour and minutes": lambda local: _minutes(local) / 60,
    "minute of day": lambda local: math.floor(_minutes(local)) * 1.0,
    "part of day": lambda local: _minutes(local) / _DAY,
    "sin of day": lambda local: math.sin(2 * math.pi * _minutes(local) / _DAY),
    "cos of day": lambda local: math.cos(2 * math.pi * _minutes(local) / _DAY),
    "weekday": lambda local: float(local.weekday()),  # Monday is 0
    "weekday from 1": lambda local: float(local.isoweekday()),
    "weekend": lambda local: float(local.weekday() >= 5),
    "sin of week": lambda local: math.sin(2 * math.pi * (local.weekday() + _minutes(local) / _DAY) / 7),
    "cos of week": lambda local: math.cos(2 * math.pi * (local.weekday() + _minutes(local) / _DAY) / 7),
    "day of month": lambda local: float(local.day),
    "month": lambda local: float(local.month),
    "day of year": lambda local: float(local.timetuple().tm_yday),
    "sin of year": lambda local: math.sin(2 * math.pi * _year(local)),
    "cos of year": lambda local: math.cos(2 * math.pi * _year(local)),
}


def clock_range(clock: str) -> tuple[float, float]:
    """(least, greatest) that a clock ever says: at each minute of a day, and each quarter of a day of two years, the
    second a leap year."""
    first = datetime(2023, 1, 1)
    times = [timedelta(minutes=n) for n in range(_DAY)] + [timedelta(hours=6 * n) for n in range(4 * 731)]
    said = [CLOCKS[clock](first + time) for time in times]
    return min(said), max(said)


class Known:
    """``clocks``: "clock" by column. zone: of local times; None is UTC. table: the file of the other columns."""

    def __init__(self, clocks: Mapping[str, str], zone: tzinfo | None, table: Table | None) -> None:
        self._clocks = {name: CLOCKS[clock] for name, clock in clocks.items()}
        self._zone, self._table = zone or timezone.utc, table
        self.columns = frozenset(clocks) | (table.columns if table is not None else frozenset())

    def notices(self) -> tuple[str, ...]:
        """What was wrong with the file since they were asked for."""
        if self._table is None:
            return ()
        said = tuple(self._table.notices)
        self._table.notices.clear()
        return said

    def values(self, time: int) -> dict[str, float]:
        """What is known of a time, by column; what is not is left out."""
        if not self.columns:
            return {}
        found = {}
        if self._clocks:
            local = datetime.fromtimestamp(time // SECOND, self._zone)
            found = {name: clock(local) for name, clock in self._clocks.items()}
        return found if self._table is None else {**found, **self._table.values(time)}


class Table:
    """A CSV file with a column of times and those that ``columns`` name; it is read again whenever it is another one.
    Rows are of the model's period; the newest of a time counts.

    A column NAME+6 is what the file holds for NAME six periods later.
    """

    def __init__(
        self,
        path: str,
        time: str,
        time_format: str | None,
        zone: tzinfo | None,
        period: int,
        columns: Sequence[Column],
    ) -> None:
        self.columns = frozenset(column.name for column in columns)
        self.notices: list[str] = []
        self._path, self._time, self._time_format, self._zone, self._period = path, time, time_format, zone, period
        self._sources = [(column, *_later(column.source)) for column in columns]
        self._seen: tuple[int, int, int] | None = None
        self._times: list[int] = []
        self._rows: list[dict[str, float]] = []

    def values(self, time: int) -> dict[str, float]:
        """By column, those that the file holds for a time."""
        self._refresh()
        found = {}
        for column, source, later in self._sources:
            value = self._at(time + later * self._period).get(source)
            if value is not None:
                found[column.name] = column.value(value)
        return found

    def _at(self, time: int) -> Mapping[str, float]:
        place = bisect_left(self._times, time)
        return self._rows[place] if place < len(self._times) and self._times[place] == time else {}

    def _refresh(self) -> None:
        try:
            about = os.stat(self._path)
            seen = (about.st_mtime_ns, about.st_size, about.st_ino)
            if seen == self._seen:
                return
            self._seen = seen
            if about.st_size > _BYTES:
                raise ValueError(f"it has {about.st_size:,} bytes, more than {_BYTES:,}")
            with open(self._path, encoding="utf-8-sig", newline="") as file:
                made = self._read(csv.reader(file))
        except (OSError, ValueError, csv.Error) as error:
            said = f"{self._path} cannot be read: {error}"
            if said not in self.notices:
                self.notices.append(said)
            return
        times = sorted(made)[-_ROWS:]
        self._times, self._rows = times, [made[time] for time in times]

    def _read(self, lines: Iterable[list[str]]) -> dict[int, dict[str, float]]:
        rows = iter(lines)
        header = [cell.strip() for cell in next(rows, [])]
        wanted = {source for _, source, _ in self._sources}
        lacks = sorted(name for name in {self._time, *wanted} if header.count(name) != 1)
        if lacks:
            raise ValueError(f"it has no column {', '.join(lacks)} (or several); it has {', '.join(header)}")
        read, made = reader(self._time_format, self._zone), {}
        place = {name: header.index(name) for name in wanted}
        when = header.index(self._time)
        for cells in rows:
            if len(cells) != len(header):
                continue
            row = {}
            for name, at in place.items():
                text = cells[at].strip()
                value = float(text) if text and "_" not in text else math.nan
                if math.isfinite(value):
                    row[name] = value
            made[read(cells[when])] = row
        return made


#: Of a model that needs none.
NOTHING = Known({}, None, None)


def _later(source: str) -> tuple[str, int]:
    """(column of the file, periods later) of a name: ("price", 6) of "price+6"."""
    name, plus, count = source.rpartition("+")
    return (name, int(count)) if plus and name and count.isascii() and count.isdigit() else (source, 0)


def lacking(names: Iterable[str], time: int) -> str:
    """A sentence."""
    return f"{', '.join(names)} of {iso(time)} is not known: no forecast"
