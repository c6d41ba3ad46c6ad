"""Columns named NAME+N: what the column NAME holds N rows later, in the row in which it is pushed.

A model that takes what is known of the future in a window of its own, (N, C) beside the past (W, F), is given it so:
the sample of a time holds what is known of N samples later, and the newest N of these are the future.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from edge_tqs.errors import UsageError
from edge_tqs.project.series import Series

_LATER = re.compile(r"(.+)\+([1-9][0-9]{0,4})")


def later(name: str) -> tuple[str, int]:
    """(column, rows later) of a name: ("hour", 6) of "hour+6", ("hour", 0) of "hour"."""
    match = _LATER.fullmatch(name)
    return (match[1], int(match[2])) if match else (name, 0)


def with_later(columns: Sequence[str], read: Callable[[Sequence[str]], Series]) -> Series:
    """The series of ``columns``, some of which are NAME+N; a file's own column of such a name is that.

    read: gives the series of columns that the file has. Raises UsageError as it does, and for too few rows.
    """
    if not any(later(name)[1] for name in columns):
        return read(columns)
    try:
        return read(columns)  # a file's own names
    except UsageError:
        series = read(tuple(dict.fromkeys(later(name)[0] for name in columns)))
    return _moved_up(series, tuple(columns))


def _moved_up(series: Series, columns: tuple[str, ...]) -> Series:
    most = max(later(name)[1] for name in columns)
    spans = [(start, end - most) for start, end in series.spans if end - start > most]
    if not spans:
        raise UsageError(
            f"{series.path} has no {most + 1} rows without a hole, which {', '.join(columns)} take",
            hint="Give more rows, or fill the holes: [data] fill = 3.",
        )
    kept = np.concatenate([np.arange(start, end) for start, end in spans])
    places = [(series.columns.index(later(name)[0]), later(name)[1]) for name in columns]
    values = np.stack([series.values[kept + rows, column] for column, rows in places], axis=1)
    ends = np.cumsum([end - start for start, end in spans]).tolist()
    where, named = series.where, [name for name in columns if later(name)[1]]
    return replace(
        series,
        columns=columns,
        values=values,
        times=None if series.times is None else series.times[kept],
        segments=tuple(zip([0, *ends[:-1]], ends, strict=True)) if len(ends) > 1 else (),
        facts=(
            *series.facts,
            f"{', '.join(named)}: what the column holds so many rows later.",
        ),
        where=lambda row: where(int(kept[row])),
    )
