"""How a series is to be read, where its files leave it open, and the refusal of rows that cannot be read."""

from __future__ import annotations

import glob
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from edge_tqs.errors import UsageError
from edge_tqs.strict import FILLED, Rule, at_least

#: Nanoseconds by the unit of a period.
UNITS = {
    "d": 86_400_000_000_000,
    "h": 3_600_000_000_000,
    "min": 60_000_000_000,
    "s": 1_000_000_000,
    "ms": 1_000_000,
    "us": 1_000,
    "ns": 1,
}
#: Offences that a message names; all are counted.
NAMED = 3


_Text = Annotated[str, FILLED]


def _is_time(value: object) -> bool:
    return value is not True and value != ()


_Time = Annotated[bool | _Text | tuple[_Text, ...], Rule(_is_time, "a column, a list of columns, or false")]


@dataclass(frozen=True)
class Long:
    """The columns of a file with one sensor a row: which sensor, and what it measured."""

    sensor: _Text
    value: _Text


@dataclass(frozen=True)
class SeriesFormat:
    """What a project says about its files; None (0, empty) where they are to say it themselves.

    time: the column of times, or several whose cells are joined by a space; False: rows are evenly sampled, whatever
    the file says. time_format: strptime's directives, or the unit of a number ("s", "ms", "us", "ns"). time_zone: the
    zone of local times ("Europe/Berlin"). period: nanoseconds from one row to the next. fill: samples that a hole may
    have to be filled by the last value. decimal, delimiter, encoding: of the text. long: one sensor a row.
    """

    time: str | tuple[str, ...] | Literal[False] | None = None
    time_format: str | None = None
    time_zone: str | None = None
    period: int | None = None
    fill: int = 0
    decimal: Literal[".", ","] | None = None
    delimiter: str | None = None
    encoding: str | None = None
    long: Long | None = None

    @property
    def time_columns(self) -> tuple[str, ...]:
        """The columns named by ``time``."""
        return (self.time,) if isinstance(self.time, str) else self.time or ()


@dataclass(frozen=True, kw_only=True)
class SeriesFormatTable:
    """The keys of [data] that say how files are read, as they are written there."""

    time: (
        Annotated[bool | _Text | tuple[_Text, ...], Rule(_is_time, "a column, a list of columns, or false")] | None
    ) = None
    time_format: _Text | None = None
    time_zone: _Text | None = None
    period: _Text | None = None
    fill: Annotated[int, at_least(1)] | None = None
    decimal: Literal[".", ","] | None = None
    delimiter: Annotated[str, Rule(lambda text: len(text) == 1, "one character")] | None = None
    encoding: _Text | None = None
    long: Long | None = None

    def series_format(self) -> SeriesFormat:
        """The SeriesFormat that they ask for. Raises UsageError for a period that cannot be read."""
        return SeriesFormat(
            time=False if isinstance(self.time, bool) else self.time,
            time_format=self.time_format,
            time_zone=self.time_zone,
            period=None if self.period is None else parse_period(self.period),
            fill=self.fill or 0,
            decimal=self.decimal,
            delimiter=self.delimiter,
            encoding=self.encoding,
            long=self.long,
        )


def files_of(patterns: Sequence[Path]) -> tuple[Path, ...]:
    """The files that paths and globs name, each once: in the order given, those of a glob by their names.

    Raises UsageError for a glob that names none.
    """
    files: dict[Path, None] = {}
    for pattern in patterns:
        if pattern.exists() or not glob.has_magic(str(pattern)):
            files[pattern] = None
            continue
        found = sorted(map(Path, glob.glob(str(pattern), recursive=True)))
        if not found:
            raise UsageError(f"no file is called {pattern}", hint="Check [data] csv in edge-tqs.toml.")
        files |= dict.fromkeys(found)
    return tuple(files)


@dataclass
class Offences:
    """Rows that cannot be read: how many, and the first of them as (row, what is wrong)."""

    count: int = 0
    first: list[tuple[int, str]] = field(default_factory=list)

    def add(self, row: int, what: str) -> None:
        self.count += 1
        if len(self.first) < NAMED:
            self.first.append((row, what))

    def refuse(self, path: object, line: Callable[[int], str], hint: str) -> None:
        """Raise a UsageError that names the first lines and counts the others; nothing where there are none.

        ``line``: where in the file a row is, as table.Table has it.
        """
        if not self.count:
            return
        (row, what), *others = self.first
        more = ""
        if others:
            what_of, numbers = zip(*(line(other).split(" ") for other, _ in others), strict=True)
            more = f"; {what_of[0]} {', '.join(numbers)} too"
            more += f", {self.count:,} in all" if self.count > len(self.first) else ""
        raise UsageError(f"{path}, {line(row)}{what}{more}", hint=hint)


def parse_period(text: str) -> int:
    """Nanoseconds of "10min", "1 h", "0.5s". Raises UsageError."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?) ?(d|h|min|s|ms|us|ns)", text.strip())
    nanoseconds = round(float(match[1]) * UNITS[match[2]]) if match else 0
    if nanoseconds < 1:
        raise UsageError(f"{text!r} is not a period", hint='Write a number and d, h, min, s, ms, us or ns: "10min".')
    return nanoseconds


def period_text(nanoseconds: int) -> str:
    """``nanoseconds`` as `parse_period` reads them: in the largest unit that gives a whole number, or three digits."""
    for unit, size in UNITS.items():
        if nanoseconds % size == 0:
            return f"{nanoseconds // size}{unit}"
        if nanoseconds > size and nanoseconds * 1000 % size == 0:
            return f"{nanoseconds / size:.3f}".rstrip("0") + unit
    return f"{nanoseconds}ns"
