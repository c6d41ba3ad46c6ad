"""Measured series: columns of files as evenly sampled rows, scaling, and windows to roll forecasts from."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from edge_tqs.errors import UsageError
from edge_tqs.graph.graph import Array, Scaling
from edge_tqs.project.csv_table import named, read_csv
from edge_tqs.project.parquet_table import SUFFIXES, read_parquet
from edge_tqs.project.series_format import SeriesFormat, period_text
from edge_tqs.project.table import Table
from edge_tqs.project.time_axis import AGREES, JITTER, lay_out, runs_backwards, stamp, to_utc

Values = npt.NDArray[np.float32]
Part = Literal["train", "test"]

#: Part of the rows, at the end, that nothing is fitted to, where the project says nothing else.
TEST_FRACTION = 0.2
#: A file says itself how it is to be read.
AS_FOUND = SeriesFormat()


@dataclass(frozen=True, eq=False)
class Series:
    """Rows, oldest first: ``values`` (rows, columns), float32, physical units, all finite.

    times (rows,): datetime64[ns], UTC where the files say an offset or a zone, else as written; None where the files
    have none. period: nanoseconds from one row to the next. segments: (first, one past the last) of the rows between
    holes; empty for one segment of all rows. facts, warnings: how the files were read, and what a user should know of
    it, in sentences. where: the file and the line of a row, or its time, for a message.
    """

    path: Path
    columns: tuple[str, ...]
    values: Values
    times: npt.NDArray[np.datetime64] | None = None
    period: int | None = None
    segments: tuple[tuple[int, int], ...] = ()
    facts: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    where: Callable[[int], str] = "row {}".format

    @property
    def rows(self) -> int:
        return len(self.values)

    @property
    def spans(self) -> tuple[tuple[int, int], ...]:
        """The segments, one of all rows included."""
        return self.segments or ((0, self.rows),)

    def first(self, rows: int) -> Series:
        """The series of the first ``rows`` rows."""
        times = None if self.times is None else self.times[:rows]
        segments = tuple((start, min(end, rows)) for start, end in self.segments if start < rows)
        return replace(self, values=self.values[:rows], times=times, segments=segments)


def read_columns(path: Path, how: SeriesFormat = AS_FOUND) -> tuple[str, ...]:
    """The names of the columns that read_series takes where none is named. Raises UsageError as it does."""
    return read_series(path, how=how).columns


def read_series(source: Path | Sequence[Path], columns: Sequence[str] = (), how: SeriesFormat = AS_FOUND) -> Series:
    """Read ``columns`` of CSV or Parquet files in the order given; all numeric ones when none is named.

    Several files are put in the order of their times, or are taken as given where they have none. docs/data.md says
    what is read and what is refused.

    Raises:
        UsageError: a file or a column is missing, a cell is no number, times repeat or go back or are not even, or
            something can be read in two ways. ToolError: Parquet without pyarrow.
    """
    paths = [source] if isinstance(source, Path) else list(source)
    parts = [_one(path, columns, how) for path in paths]
    return parts[0] if len(parts) == 1 else _joined(parts)


def _one(path: Path, columns: Sequence[str], how: SeriesFormat) -> Series:
    parquet = path.suffix.lower() in SUFFIXES
    table = (read_parquet if parquet else read_csv)(path, () if how.long else columns, how)
    facts, warnings = list(table.facts), list(table.warnings)
    values, times, line, names = table.values, table.times, table.line, table.columns
    if times is None or table.offsets is None:
        slots, period = np.arange(len(values)), how.period
    else:
        backwards = table.sensors is None and runs_backwards(times)
        offsets = table.offsets
        if backwards:
            values, times, offsets, last = values[::-1], times[::-1], offsets[::-1], len(values) - 1
            facts.append(f"{path.name}: its rows run from the newest to the oldest, and are turned round.")

            def line(row: int) -> str:
                return table.line(last - row)

        times, utc, found = to_utc(path, table.time, times, offsets, how, line)
        facts += found
        if table.sensors is not None:
            values, times, order, names = _pivot(table, times, columns)

            def line(row: int) -> str:
                return table.line(int(order[row]))

        axis = lay_out(path, table.time, times, how, line, utc=utc, hint=_long_hint(table))
        slots, period = axis.slots, axis.period
        facts += axis.facts
        warnings += axis.warnings
    if how.fill:
        values, times, slots = _filled(path, values, times, slots, how.fill, period, warnings)
    kept = np.flatnonzero(~np.isnan(values).any(axis=1))
    values, times, slots = _whole(path, names, values, times, slots, line if not how.fill else None, warnings)
    cuts = [0, *(np.flatnonzero(np.diff(slots) != 1) + 1).tolist(), len(values)]
    segments = tuple(itertools.pairwise(cuts)) if len(cuts) > 2 else ()
    stamps = None if times is None else times.astype("datetime64[ns]")

    def where(row: int) -> str:
        at = line(int(kept[row])) if not how.fill else f"row {row + 1}" if stamps is None else stamp(stamps[row])
        return f"{path}, {at}"

    return Series(path, names, values, stamps, period, segments, tuple(facts), tuple(warnings), where)


def _long_hint(table: Table) -> str:
    """What to write where a time that comes again may be another sensor's."""
    if len(table.labels) != 1 or len(table.columns) != 1:
        return ""
    return (
        f"Where each row is of the sensor that {table.labels[0]!r} names, write [data] "
        f'long = {{sensor = "{table.labels[0]}", value = "{table.columns[0]}"}}. Else keep one row a time.'
    )


def _pivot(table: Table, times: Array, columns: Sequence[str]) -> tuple[Values, Array, Array, tuple[str, ...]]:
    """(values with a column a sensor, times, the row of each time's first, names). Raises UsageError."""
    assert table.sensors is not None
    codes, names = table.sensors
    wanted = tuple(columns) or names
    chosen = [named(table.path, names, name, "sensor") for name in wanted]
    stamps, first, place = np.unique(times, return_index=True, return_inverse=True)
    cell = place.astype(np.int64) * len(names) + codes
    order = np.argsort(cell, kind="stable")
    again = np.flatnonzero(np.diff(cell[order]) == 0)
    if again.size:
        row = int(order[again + 1].min())
        raise UsageError(
            f"{table.path}, {table.line(row)}: sensor {names[codes[row]]!r} has a second value at "
            f"{stamp(times[row])}" + (f"; {again.size:,} in all" if again.size > 1 else ""),
            hint="Keep one row a sensor and time.",
        )
    values = np.full((len(stamps), len(names)), np.nan, np.float32)
    values[place, codes] = table.values[:, 0]
    return values[:, chosen], stamps, first, wanted


def _filled(
    path: Path, values: Values, times: Array | None, slots: Array, most: int, period: int | None, warnings: list[str]
) -> tuple[Values, Array | None, Array]:
    """Holes of up to ``most`` samples filled by the last value, and what was filled said in ``warnings``."""
    step = np.diff(slots, append=slots[-1] + 1)
    copies = np.where(step <= most + 1, step, 1)
    rows = np.repeat(np.arange(len(values)), copies)
    ahead = np.arange(len(rows)) - np.repeat(np.cumsum(copies) - copies, copies)
    values = np.where((ahead > 0)[:, None], np.float32(np.nan), values[rows])
    times = None if times is None or period is None else times[rows] + ahead * period
    slots = slots[rows] + ahead
    samples = holes = 0
    starts = np.concatenate([[True], np.diff(slots) != 1])
    for channel in range(values.shape[1]):
        missing = np.isnan(values[:, channel])
        known = ~missing | starts  # a value is never carried over a hole
        last = np.maximum.accumulate(np.where(known, np.arange(len(values)), 0))
        run = np.arange(len(values)) - last
        begins = np.flatnonzero(known)
        lengths = np.diff(begins, append=len(values)) - 1
        short = np.repeat(lengths <= most, lengths + 1)
        fill = missing & (run > 0) & short & ~np.isnan(values[last, channel])
        values[fill, channel] = values[last[fill], channel]
        samples += int(fill.sum())
        holes += int((fill & (run == 1)).sum())
    if samples:
        warnings.append(
            f"{path.name}: {samples:,} values in {holes:,} holes of up to {most} samples are filled by the last value "
            "([data] fill)."
        )
    return values, times, slots


def _whole(
    path: Path,
    names: Sequence[str],
    values: Values,
    times: Array | None,
    slots: Array,
    line: Any,
    warnings: list[str],
) -> tuple[Values, Array | None, Array]:
    """The rows in which no value is missing, and what was left out said in ``warnings``."""
    missing = np.isnan(values)
    left_out = missing.any(axis=1)
    if not left_out.any():
        return values, times, slots
    row = int(np.flatnonzero(left_out)[0])
    column = names[int(np.flatnonzero(missing[row])[0])]
    where = line(row) if line is not None else stamp(times[row]) if times is not None else f"row {row + 1}"
    count = int(left_out.sum())
    if count == len(values):
        emptiest = names[int(missing.sum(axis=0).argmax())]
        raise UsageError(
            f"{path}: every row lacks a value, column {emptiest} {int(missing.sum(axis=0).max()):,} of them",
            hint="Leave that column out of inputs.",
        )
    warnings.append(
        f"{path.name}: {count:,} of {len(values):,} rows lack a value and are holes, the first on {where} "
        f"(column {column}): no window crosses one. [data] fill = 3 fills short ones by the last value."
    )
    return values[~left_out], None if times is None else times[~left_out], slots[~left_out]


def _joined(parts: Sequence[Series]) -> Series:
    """One series of several files; windows cross from one to the next only where its first row is due."""
    first = parts[0]
    for part in parts[1:]:
        if part.columns != first.columns:
            raise UsageError(
                f"{part.path} has the columns {', '.join(part.columns)}, {first.path} has {', '.join(first.columns)}",
                hint="Name the inputs under [data], or give files of the same columns.",
            )
        if (part.times is None) != (first.times is None):
            timed, other = (first, part) if part.times is None else (part, first)
            raise UsageError(f"{timed.path} has times, {other.path} has none", hint="Give files of one kind.")
    ordered = sorted(parts, key=_start) if first.times is not None else list(parts)
    period = next((part.period for part in ordered if part.period), None)
    warnings = [text for part in ordered for text in part.warnings]
    segments: list[tuple[int, int]] = []
    at = 0
    for index, part in enumerate(ordered):
        spans = [(at + start, at + end) for start, end in part.spans]
        if index and _join(ordered[index - 1], part, period):
            spans[0] = (segments.pop()[0], spans[0][1])
        elif index:
            warnings.append(
                f"{part.path.name} does not join on to {ordered[index - 1].path.name}: no window crosses the border."
            )
        segments += spans
        at += part.rows
    times = [part.times for part in ordered if part.times is not None]
    begins = list(itertools.accumulate((part.rows for part in ordered[:-1]), initial=0))

    def where(row: int) -> str:
        index = bisect.bisect_right(begins, row) - 1
        return ordered[index].where(row - begins[index])

    return Series(
        Path(f"{ordered[0].path} and {len(parts) - 1} more"),
        first.columns,
        np.concatenate([part.values for part in ordered]),
        np.concatenate(times) if times else None,
        period,
        tuple(segments) if len(segments) > 1 else (),
        tuple(text for part in ordered for text in part.facts),
        tuple(warnings),
        where,
    )


def _start(part: Series) -> int:
    """Nanoseconds since 1970 of the first row."""
    assert part.times is not None
    return int(part.times[0].astype(np.int64))


def _join(before: Series, part: Series, period: int | None) -> bool:
    """Whether the first row of ``part`` is due after the last of ``before``. Raises UsageError where it is earlier."""
    if period and part.period and abs(part.period - period) > AGREES * period:
        raise UsageError(
            f"{part.path}: rows are {period_text(part.period)} apart, those of the files before {period_text(period)}",
            hint="Give files of one period.",
        )
    if before.times is None:
        return False
    start, end = _start(part), int(before.times[-1].astype(np.int64))
    if start <= end:
        raise UsageError(
            f"{part.path} begins at {stamp(start)}, before {before.path} ends at {stamp(end)}",
            hint="Give files whose times do not overlap.",
        )
    return period is not None and abs(start - end - period) <= JITTER * period


def train_rows(series: Series, *, test_rows: int | None = None, test_fraction: float = TEST_FRACTION) -> int:
    """How many of the first rows are the training part. Raises UsageError when nothing would be left for one part."""
    count = series.rows - (round(series.rows * test_fraction) if test_rows is None else test_rows)
    if not 0 < count < series.rows:
        raise UsageError(
            f"{series.path}: {series.rows} rows cannot be split into {count} for training "
            f"and {series.rows - count} for test",
            hint="Change test_rows or test_fraction under [data].",
        )
    return count


def standard_scaling(series: Series, rows: int) -> Scaling:
    """Mean and population standard deviation of the first ``rows`` rows. A constant column keeps its unit (std 1)."""
    part = series.values[:rows].astype(np.float64)
    mean, std = part.mean(axis=0), part.std(axis=0)
    return Scaling(tuple(float(value) for value in mean), tuple(float(value) if value > 0 else 1.0 for value in std))


def normalise(values: Values, scaling: Scaling | None) -> Values:
    """Physical units (..., columns) to the model's; unchanged without scaling."""
    if scaling is None:
        return values
    normalised: Values = ((values - np.asarray(scaling.mean)) / np.asarray(scaling.std)).astype(np.float32)
    return normalised


def origins(series: Series, window: int, horizon: int, *, part: Part = "test", rows: int) -> tuple[Array, int]:
    """(rows at which a forecast can start, as windows() has it; how many more there were without holes)."""
    first, last = (window, rows - horizon) if part == "train" else (max(rows, window), series.rows - horizon)
    found = [
        np.arange(max(first, start + window), min(last, end - horizon) + 1, dtype=np.int64)
        for start, end in series.spans
    ]
    whole = np.concatenate(found)
    return whole, max(0, last - first + 1) - len(whole)


def spread_origins(series: Series, window: int, horizon: int, count: int, *, part: Part = "test", rows: int) -> Array:
    """``count`` evenly spaced rows (N,) that forecasts of a part begin at, as `windows` has them.

    Raises UsageError when the part holds fewer.
    """
    possible, lost = origins(series, window, horizon, part=part, rows=rows)
    if len(possible) < count:
        holes = f" ({lost:,} more would cross a hole)" if lost else ""
        hint = "Give more rows, a shorter horizon, fewer rollouts or another split."
        if lost:
            hint += " [data] fill closes short holes; time = false takes rows as they come, where holes do not matter."
        raise UsageError(
            f"{series.path}: the {part} part has room for {len(possible)} windows of {window} rows "
            f"with {horizon} rows of truth{holes}, {count} are needed",
            hint=hint,
        )
    chosen: Array = possible[np.floor(np.linspace(0, len(possible) - 1, count) + 0.5).astype(np.int64)]
    return chosen


def windows(
    series: Series,
    window: int,
    horizon: int,
    count: int,
    *,
    part: Part = "test",
    rows: int,
    scaling: Scaling | None = None,
) -> tuple[Values, Values]:
    """``count`` evenly spaced windows and what followed them: seeds (N, window, F), truth (N, horizon, F), normalised.

    ``rows`` is the size of the training part. Training windows and their truth lie in it. The truth of test windows
    lies after it, while the first seeds reach back across the border, as they would in use. No window crosses a hole.

    Raises UsageError when the part holds fewer than ``count`` windows.
    """
    chosen = spread_origins(series, window, horizon, count, part=part, rows=rows)
    values = normalise(series.values, scaling)
    seeds = np.stack([values[origin - window : origin] for origin in chosen])
    truth = np.stack([values[origin : origin + horizon] for origin in chosen])
    return seeds, truth
