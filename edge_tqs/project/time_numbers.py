"""Times as numbers: seconds, milliseconds, microseconds or nanoseconds, since 1970 or since a start."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from edge_tqs.errors import UsageError
from edge_tqs.graph.graph import Array
from edge_tqs.project.series_format import UNITS, Offences
from edge_tqs.project.time_text import NO_OFFSET

#: Seconds since 1970 that are taken for times: 1979 to 2103. No unit's range reaches that of another, nor what a date
#: written without marks (20240131) is as a number.
EPOCH = (3e8, 4.2e9)
_SPELLINGS = {
    "s": ("s", "sec", "secs", "second", "seconds"),
    "ms": ("ms", "msec", "millis", "milliseconds"),
    "us": ("us", "µs", "usec", "micros", "microseconds"),
    "ns": ("ns", "nanos", "nanoseconds"),
    "min": ("min", "mins", "minute", "minutes"),
    "h": ("h", "hr", "hrs", "hour", "hours"),
}


def epoch_unit(value: float) -> str | None:
    """The unit in which ``value`` is a time since 1970, None where it is none."""
    for unit in ("s", "ms", "us", "ns"):
        size = UNITS["s"] // UNITS[unit]
        if EPOCH[0] * size <= value <= EPOCH[1] * size:
            return unit
    return None


def unit_of_word(word: str) -> str | None:
    """The unit that the last word of a column's name says: "ms" of "time_ms"."""
    return next((unit for unit, words in _SPELLINGS.items() if word in words), None)


@dataclass
class TimeNumbers:
    """A column of numbers of ``unit``, read block after block as `TimeCells` is. since_1970: all must be in EPOCH."""

    path: Path
    name: str
    unit: str
    since_1970: bool
    offences: Offences = field(default_factory=Offences)
    blocks: list[Array] = field(default_factory=list)

    def add(self, start: int, cells: Sequence[str]) -> None:
        """Read the next cells, the first of which is row ``start``."""
        bad: Array
        size = UNITS[self.unit]
        try:
            whole = np.fromiter(map(int, cells), np.int64, len(cells))
        except (ValueError, OverflowError):
            values = np.full(len(cells), np.nan)
            for index, cell in enumerate(cells):
                with contextlib.suppress(ValueError):
                    values[index] = float(cell)
            bad = ~(np.abs(values) < 9e18 / size)
            whole = np.round(np.where(bad, 0, values) * size).astype(np.int64)
        else:
            bad = np.abs(whole) > int(9e18) // size
            whole = np.where(bad, 0, whole) * size
        if self.since_1970:
            bad |= (whole < EPOCH[0] * UNITS["s"]) | (whole > EPOCH[1] * UNITS["s"])
        for row in np.flatnonzero(bad):
            cell = cells[int(row)].strip()
            what = f"{cell!r} is no time in {self.unit}" if cell else "a time is missing"
            self.offences.add(start + int(row), f", column {self.name}: {what}")
        self.blocks.append(whole)

    def finish(self, line: Any) -> tuple[Array, Array, list[str]]:
        """(nanoseconds, offsets, what was found out), as `TimeCells.finish`. Raises UsageError for other cells."""
        self.offences.refuse(self.path, line, 'Mend it, or name another column: [data] time = "COLUMN".')
        times = np.concatenate(self.blocks)
        since = "since 1970" if self.since_1970 else "from the start"
        offset = np.full(len(times), 0 if self.since_1970 else NO_OFFSET, np.int32)
        return times, offset, [f"{self.path.name}: column {self.name!r} is taken for times in {self.unit} {since}."]


def unknown_unit(path: Path, name: str, cell: str) -> UsageError:
    """The refusal of a column of times whose numbers say no unit."""
    return UsageError(
        f"{path}, column {name}: {cell} is no time since 1970 in s, ms, us or ns, and nothing says its unit",
        hint='Write [data] time_format = "s" in edge-tqs.toml (or "ms", "us", "ns", "min", "h"); where rows are even '
        "anyway, time = false; where the column is an input, name it in inputs.",
    )
