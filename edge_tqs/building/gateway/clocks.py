"""Which columns a clock says, found out from the data."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, tzinfo
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from edge_tqs.project.rollouts import ProjectData
from edge_tqs.templates import template_root

#: Rows that are compared at most, by what part of a clock's range a value may differ from it, and by what not at all.
_ROWS, _NEAR, _FAR = 2_000, 1e-4, 0.01
_YEARS = 2 * 366 * 86_400 * 10**9


def clock_of(data: ProjectData, column: str) -> str | None:
    """The clock of forecastd (known.py) that says what the column holds in every row; None where none does, times are
    missing, or several do that differ at other times."""
    series, zone = data.series, data.how.time_zone
    if series.times is None or column not in series.columns:
        return None
    rows = np.unique(np.linspace(0, series.rows - 1, min(_ROWS, series.rows)).astype(int))
    values = series.values[rows, series.columns.index(column)].astype(np.float64)
    if np.ptp(values) == 0:
        return None
    # As written, where no zone is said: a clock is of the times that the file holds.
    local: tzinfo = UTC if zone is None else ZoneInfo(zone)
    times = [
        datetime.fromtimestamp(int(time) // 10**9, local)
        for time in series.times[rows].astype("datetime64[ns]").astype(int)
    ]
    few = slice(None, None, max(1, len(times) // 8))  # most clocks differ in these
    fits = [
        (name, said)
        for name, said in _clocks().items()
        if np.abs(np.array([said(time) for time in times[few]]) - values[few]).max() < _FAR
        and _near(np.array([said(time) for time in times]), values)
    ]
    if not fits or series.period is None:
        return None
    # Hours and minutes are hours where samples are at whole ones: to be the same at all times to come is enough.
    ahead = np.linspace(0, _YEARS / series.period, _ROWS).astype(int) * series.period
    later = [datetime.fromtimestamp(times[0].timestamp() + int(step) // 10**9, local) for step in ahead]
    first = np.array([fits[0][1](time) for time in later])
    same = all(_near(np.array([said(time) for time in later]), first) for _, said in fits[1:])
    return fits[0][0] if same else None


def _near(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> bool:
    return bool(np.abs(a - b).max() <= _NEAR * max(1e-9, np.ptp(a)))


def told(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Sentences of the clocks that forecastd.json says, for the reader of a build."""
    return tuple(
        f'{name} is what a clock says in every row, "{table["clock"]}": forecastd does not read it from its source.'
        for name, table in config["columns"].items()
        if "clock" in table
    )


@cache
def _clocks() -> Mapping[str, Callable[[datetime], float]]:
    """forecastd's own: what is found here is what it computes there."""
    folder, written = str(template_root() / "gateway"), sys.dont_write_bytecode
    sys.path.insert(0, folder)
    sys.dont_write_bytecode = True
    try:
        from forecastd.known import CLOCKS
    finally:
        sys.path.remove(folder)
        sys.dont_write_bytecode = written
    return CLOCKS
