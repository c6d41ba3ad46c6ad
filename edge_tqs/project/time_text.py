"""Cells as times: the layouts that are read, and the order of day and month where the text leaves it open.

Cells are read by layout: digits are replaced by zeros, and each of the few shapes that remain is matched once and read
with array arithmetic.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from edge_tqs.errors import UsageError
from edge_tqs.graph.graph import Array
from edge_tqs.project.series_format import UNITS, Offences

#: Stands for "no offset" beside offsets in seconds.
NO_OFFSET = np.int32(2**30)
_LAYOUTS = 400
_CLOCK = r"(?P<H>0{1,2}):(?P<M>00)(?::(?P<S>00)(?:[.,](?P<f>0{1,9}))?)?(?: ?(?P<p>[AaPp])\.?[Mm]\.?)?"
_ZONE = r"(?: ?(?:(?P<Z>[Zz]|UTC|GMT)|(?P<sign>[+-])(?P<zh>00)(?::?(?P<zm>00))?))?"
_DATE = r"(?:(?P<a>0{4}|0{1,2})(?P<sep>[-/.])(?P<b>0{1,2})(?P=sep)(?P<c>0{4}|0{1,2})|(?P<Y>0000)(?P<m>00)(?P<d>00))"
_AUTO = re.compile(rf"{_DATE}(?:(?:[ T]+|, ?)(?:{_CLOCK}|(?P<H2>00)(?:(?P<M2>00)(?P<S2>00)?)?){_ZONE})?")
_CLOCK_ONLY = re.compile(_CLOCK)
_DIGITS = re.compile(r"\d")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
#: What a directive of a time_format matches, digits being zeros.
_DIRECTIVES = {
    "Y": r"(?P<Y>0000)",
    "y": r"(?P<y>00)",
    "m": r"(?P<m>0{1,2})",
    "d": r"(?P<d>0{1,2})",
    "b": r"(?P<mon>[A-Za-z]{3,9})",
    "B": r"(?P<mon>[A-Za-z]{3,9})",
    "H": r"(?P<H>0{1,2})",
    "I": r"(?P<H>0{1,2})",
    "M": r"(?P<M>0{1,2})",
    "S": r"(?P<S>0{1,2})",
    "f": r"(?P<f>0{1,9})",
    "p": r"(?P<p>[AaPp])\.?[Mm]\.?",
    "z": r"(?:(?P<Z>[Zz]|UTC|GMT)|(?P<sign>[+-])(?P<zh>00)(?::?(?P<zm>00))?)",
    "Z": r"(?P<Z>[Zz]|UTC|GMT)",
    "%": "%",
}
#: Orders of a date's three numbers, as indices of year, month and day, and the format that says so.
_YMD, _DMY, _MDY = (0, 1, 2), (2, 1, 0), (2, 0, 1)
_ORDERS = {
    _YMD: ("year first", "%y{0}%m{0}%d"),
    _DMY: ("day first", "%d{0}%m{0}%Y"),
    _MDY: ("month first", "%m{0}%d{0}%Y"),
}


def looks_like_time(cell: str) -> bool:
    """Whether ``cell`` is a date, with or without a time of day, that is no number."""
    shape = _DIGITS.sub("0", cell)
    match = _AUTO.fullmatch(shape)
    return match is not None and not (match["Y"] and match["H"] is None and match["H2"] is None)


def looks_like_clock(cell: str) -> bool:
    """Whether ``cell`` is a time of day without its date."""
    return _CLOCK_ONLY.fullmatch(_DIGITS.sub("0", cell)) is not None


def compile_format(text: str) -> re.Pattern[str]:
    """The pattern of shapes that a time_format reads. Raises UsageError for a directive that is not known."""
    pattern, rest = "", text
    for known, long in (("%T", "%H:%M:%S"), ("%F", "%Y-%m-%d"), ("%R", "%H:%M")):
        rest = rest.replace(known, long)
    while rest:
        if rest[0] == "%" and rest[1:2] in _DIRECTIVES:
            pattern, rest = pattern + _DIRECTIVES[rest[1]], rest[2:]
        elif rest[0] == "%" or rest[0].isdigit():
            raise UsageError(
                f"time_format {text!r}: {rest[:2] if rest[0] == '%' else rest[0]!r} is not read",
                hint=f"Known are %{', %'.join(_DIRECTIVES)}, and s, ms, us, ns alone for numbers.",
            )
        else:
            pattern, rest = pattern + re.escape(rest[0]), rest[1:]
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise UsageError(f"time_format {text!r} has a directive twice", hint="Name each part once.") from error
    names = compiled.groupindex
    if not {"d"} <= set(names) or not {"m", "mon"} & set(names) or not {"Y", "y"} & set(names):
        raise UsageError(f"time_format {text!r} has no whole date", hint='It needs year, month and day: "%Y-%m-%d".')
    return compiled


@dataclass
class TimeCells:
    """A column of times that is read block after block: `add` cells, then `finish`.

    path, name: of the column, for messages. pattern: of a time_format; None finds out.
    """

    path: Path
    name: str
    pattern: re.Pattern[str] | None = None
    offences: Offences = field(default_factory=Offences)
    blocks: list[tuple[Array, Array, Array]] = field(default_factory=list)
    separator: str = "/"
    layouts: int = 0
    samples: dict[int, tuple[int, str]] = field(default_factory=dict)

    def add(self, start: int, cells: Sequence[str]) -> None:
        """Read the next cells, the first of which is row ``start``."""
        text = [cell.strip() for cell in cells]
        try:
            packed = np.array(text, dtype=np.bytes_)
        except UnicodeEncodeError:
            packed = np.array([cell.encode("ascii", "replace") for cell in text], dtype=np.bytes_)
        packed = packed if packed.dtype.itemsize else packed.astype("S1")
        count, length = len(text), packed.dtype.itemsize
        matrix = (
            packed.view(np.uint8).reshape(count, length) if packed.dtype.itemsize else np.zeros((count, 1), np.uint8)
        )
        numbers = np.where((matrix >= 48) & (matrix <= 57), matrix - 48, 255).astype(np.uint8)
        shapes = np.where(numbers < 10, np.uint8(48), matrix)
        dates = np.zeros((count, 4), np.int16)  # three numbers and which of them is the year
        of_day, offset = np.zeros(count, np.int64), np.full(count, NO_OFFSET, np.int32)
        todo = np.arange(count)
        while todo.size:
            shape = shapes[todo[0]]
            same = (shapes[todo] == shape).all(axis=1)
            rows, todo = todo[same], todo[~same]
            match = (self.pattern or _AUTO).fullmatch(bytes(shape).rstrip(b"\0").decode("latin-1"))
            self.layouts += 1
            if match is None or self.layouts > _LAYOUTS or not _read(match, numbers, rows, dates, of_day, offset):
                for row in rows:
                    self.offences.add(start + int(row), self._not_a_time(text[row]))
                self.offences.first.sort()
            elif match.groupdict().get("sep"):
                self.separator = match["sep"]
        early = of_day < 0
        for row in np.flatnonzero(early):
            self.offences.add(start + int(row), self._not_a_time(text[row]))
        for kind, row in zip(*np.unique(dates[:, 3], return_index=True), strict=True):
            self.samples.setdefault(int(kind), (start + int(row), text[row]))
        self.blocks.append((dates, of_day, offset))

    def _not_a_time(self, cell: str) -> str:
        return f", column {self.name}: " + (f"{cell!r} is no time" if cell else "a time is missing")

    def finish(self, line: Any) -> tuple[Array, Array, list[str]]:
        """(nanoseconds since 1970 as written, int64; offsets in seconds or NO_OFFSET; what had to be found out).

        Raises UsageError for cells that are no times, and where the order of day and month is not certain.
        """
        hint = (
            "Times are read as 2024-01-31 23:50, with day or month first too, and as seconds since 1970. Of other text "
            'write the format: [data] time_format = "%d.%m.%Y %H:%M".'
        )
        if self.pattern is not None:
            hint = "It does not match time_format."
        self.offences.refuse(self.path, line, hint)
        dates = np.concatenate([block[0] for block in self.blocks])
        of_day = np.concatenate([block[1] for block in self.blocks])
        offset = np.concatenate([block[2] for block in self.blocks])
        kinds = dates[:, 3]
        counts = np.bincount(kinds)
        kind = int(counts.argmax())
        if counts[kind] < len(kinds):
            row, cell = min(self.samples[other] for other in np.unique(kinds) if other != kind)
            raise UsageError(
                f"{self.path}, {line(row)}, column {self.name}: {cell!r} has its year elsewhere than "
                f"{self.samples[kind][1]!r} on {line(self.samples[kind][0])}",
                hint="Write all dates alike.",
            )
        orders = {0: (_YMD,), 2: (_DMY, _MDY)}.get(kind, (_DMY, _MDY, _YMD))
        days = {order: _days(dates, order) for order in orders}
        whole = [order for order in orders if (days[order] != _NO_DAY).all()]
        if not whole:
            good = max(orders, key=lambda order: int((days[order] != _NO_DAY).sum()))
            bad = np.flatnonzero(days[good] == _NO_DAY)
            for row in bad[:3]:
                written = self.separator.join(f"{n:02d}" for n in dates[row, :3])
                self.offences.add(int(row), f", column {self.name}: {written!r} is no date, {_ORDERS[good][0]}")
            self.offences.count = len(bad)
            self.offences.refuse(self.path, line, "Mend it, or say how dates are written: [data] time_format.")
        order, notes = self._order(whole, days, of_day)
        if len(orders) == 1:
            notes = []
        else:
            notes = [f"{self.path.name}: dates of {self.name!r} are read {_ORDERS[order][0]}, {notes[0]}."]
        return days[order] * UNITS["d"] + of_day, offset, notes

    def _order(
        self, whole: list[tuple[int, int, int]], days: dict[tuple[int, int, int], Array], of_day: Array
    ) -> tuple[tuple[int, int, int], list[str]]:
        if len(whole) == 1:
            return whole[0], ["as the whole column allows no other order"]
        even = [order for order in whole if _is_even(days[order] * UNITS["d"] + of_day)]
        if len(even) == 1:
            return even[0], ["as its rows are evenly spaced in no other order"]
        if self.separator == "." and _DMY in whole:
            return _DMY, ["as dates with dots are written"]
        cell = min(self.samples.values())[1]
        formats = " or ".join(f'"{_ORDERS[order][1].format(self.separator)}{_clock(cell)}"' for order in whole)
        raise UsageError(
            f"{self.path}, column {self.name}: {cell!r} may have its day or its month first, "
            "and no row of the column tells which",
            hint=f"Write [data] time_format = {formats}.",
        )


_NO_DAY = np.int64(-(2**40))


def _clock(cell: str) -> str:
    """The time of day of a cell as a format."""
    match = re.search(r"[ T,]+\d{1,2}:\d\d(:\d\d)?([.,]\d+)?( ?[AaPp]\.?[Mm])?(.*)$", cell)
    if match is None:
        return ""
    half = match[3] is not None
    mark = match[0][: re.search(r"\d", match[0]).start()]  # type: ignore[union-attr]
    return (
        mark
        + ("%I:%M" if half else "%H:%M")
        + ("%S".join((":", "")) if match[1] else "")
        + (f"{match[2][0]}%f" if match[2] else "")
        + (" %p" if half else "")
        + ("%z" if match[4] else "")
    )


def _is_even(times: Array) -> bool:
    """Whether nine of ten steps are one and the same, and none goes the other way."""
    steps = np.diff(times)
    if not steps.size:
        return False
    step = np.median(steps)
    return bool(step != 0 and (steps * np.sign(step) > 0).all() and np.mean(steps == step) >= 0.9)


def _days(dates: Array, order: tuple[int, int, int]) -> Array:
    """Days since 1970 (rows,), _NO_DAY where there is no such day."""
    year, month, day = (dates[:, index].astype(np.int64) for index in order)
    year = np.where(dates[:, 3] == 3, np.where(year >= 69, 1900, 2000) + year, year)
    good = (month >= 1) & (month <= 12) & (day >= 1) & (day <= 31) & (year >= 1678) & (year <= 2261)
    months = np.where(good, (year - 1970) * 12 + month - 1, 0).astype("datetime64[M]")
    days = months.astype("datetime64[D]") + (np.where(good, day, 1) - 1)
    good &= days.astype("datetime64[M]") == months
    found: Array = np.where(good, days.astype(np.int64), _NO_DAY)
    return found


def _read(match: re.Match[str], numbers: Array, rows: Array, dates: Array, of_day: Array, offset: Array) -> bool:
    """Fill in the rows of one layout; a time of day that cannot be becomes -1. False for an unknown month."""
    named = match.groupdict()

    def number(*names: str) -> Array:
        for name in names:
            if named.get(name) is not None:
                start, end = match.span(name)
                powers = 10 ** np.arange(end - start - 1, -1, -1, dtype=np.int64)
                value: Array = numbers[rows, start:end].astype(np.int64) @ powers
                return value
        return np.zeros(len(rows), np.int64)

    if named.get("a") is not None:
        parts = [number("a"), number("b"), number("c")]
        year = 0 if len(named["a"]) == 4 else 2 if len(named["c"]) == 4 else 3
        if len(named["a"]) == 4 and len(named["c"]) == 4:
            return False
    else:
        if named.get("mon") is not None:
            if named["mon"][:3].lower() not in _MONTHS:
                return False
            month = np.full(len(rows), _MONTHS.index(named["mon"][:3].lower()) + 1)
        else:
            month = number("m")
        year_number = number("Y", "y")
        if named.get("y") is not None:
            year_number = year_number + np.where(year_number >= 69, 1900, 2000)
        parts, year = [year_number, month, number("d")], 0
    for index, part in enumerate(parts):
        dates[rows, index] = part
    dates[rows, 3] = year
    hour, minute, second = number("H", "H2"), number("M", "M2"), number("S", "S2")
    good = (hour < 24) & (minute < 60) & (second < 60)
    if named.get("p") is not None:
        good &= (hour >= 1) & (hour <= 12)
        hour = hour % 12 + (12 if named["p"].lower() == "p" else 0)
    nanoseconds = number("f") * 10 ** (9 - len(named["f"])) if named.get("f") is not None else 0
    of_day[rows] = np.where(good, (hour * 3600 + minute * 60 + second) * UNITS["s"] + nanoseconds, -1)
    if named.get("Z") is not None:
        offset[rows] = 0
    elif named.get("sign") is not None:
        offset[rows] = (number("zh") * 3600 + number("zm") * 60) * (-1 if named["sign"] == "-" else 1)
    return True
