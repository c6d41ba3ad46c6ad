# SPDX-License-Identifier: Apache-2.0
"""Lines of text as readings: a header, then a time and a value for each column in every line."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence

from forecastd.clock import reader
from forecastd.resample import Reading
from forecastd.settings import shown
from forecastd.sources import Context, SourceError
from forecastd.trouble import Trouble

_NO_VALUE = {"", "na", "n/a", "nan", "null", "none", "nil", "-", "--", "?", "missing"}


class Table:
    """Takes lines one by one. What cannot be read is counted, and is no reading."""

    def __init__(self, where: str, time: str, time_format: str | None, delimiter: str, context: Context) -> None:
        self._where, self._time, self._delimiter = where, time, delimiter
        self._read_time = reader(time_format, context.zone)
        self._columns, self._after = context.columns, context.after
        self._places: Sequence[int] | None = None
        self.counters = {"unreadable": 0, "seen before": 0}
        self._trouble = Trouble("source")
        self._timed = False  # whether a time was ever read

    def line(self, text: str) -> Reading | None:
        """The reading of a line; None for the header, an empty line and what cannot be read. Raises SourceError for a
        header that lacks a column, and where the first time cannot be read."""
        text = text.rstrip("\r\n")
        if not text.strip() or text.startswith("#"):
            return None
        try:
            cells = self._cells(text)
            if self._places is None:
                self._header([cell.strip().lstrip("\ufeff") for cell in cells])
                return None
            if len(cells) != self._width:
                raise ValueError(f"{len(cells)} cells, the header has {self._width}")
            time = self._time_of(cells[self._places[0]])
            values = {}
            for column, place in zip(self._columns, self._places[1:]):
                cell = cells[place].strip()
                if cell.lower() not in _NO_VALUE:
                    values[column.name] = column.value(_number(cell))
        except ValueError as error:
            self.counters["unreadable"] += 1
            self._trouble.once(f"{self._where}: the line {shown(text[:80])} is not read: {str(error)[:200]}")
            return None
        if self._after is not None:
            if time <= self._after:
                self.counters["seen before"] += 1
                return None
            self._after = None
        return Reading(time, values)

    def _cells(self, text: str) -> list[str]:
        try:
            return next(csv.reader([text], delimiter=self._delimiter))
        except csv.Error as error:  # which is no ValueError: a carriage return within, NUL, a cell without an end
            raise ValueError(str(error)) from error

    def _time_of(self, cell: str) -> int:
        try:
            time = self._read_time(cell)
        except ValueError as error:
            if self._timed:
                raise
            raise SourceError(
                f'{self._where}: {error}: write "time_zone": "Europe/Berlin" (or "UTC"), or "time_format": '
                '"%d.%m.%Y %H:%M" (or "s", "ms" of numbers since 1970) under "source"'
            ) from error
        self._timed = True
        return time

    def _header(self, names: list[str]) -> None:
        self._width = len(names)
        wanted = [self._time, *(column.source for column in self._columns)]
        for name in wanted:
            if names.count(name) != 1:
                write = (
                    '"time": "NAME" under "source"'
                    if name == self._time
                    else f'"{name}": {{"from": "NAME"}} under "columns"'
                )
                raise SourceError(
                    f"{self._where} has {'no' if name not in names else 'more than one'} column {name!r}; it has "
                    f"{', '.join(names)}: write {write}"
                )
        self._places = [names.index(name) for name in wanted]


def _number(cell: str) -> float:
    value = float(cell)
    if "_" in cell or not math.isfinite(value):
        raise ValueError(f"{cell!r} is no number")
    return value
