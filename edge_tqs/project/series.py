"""Measured series: columns out of a CSV, scaling, and windows to roll forecasts from."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from edge_tqs.errors import UsageError
from edge_tqs.graph.graph import Scaling
from edge_tqs.strict import nearest

Values = npt.NDArray[np.float32]
Part = Literal["train", "test"]

#: Part of the rows, at the end, that nothing is fitted to, where the project says nothing else.
TEST_FRACTION = 0.2


@dataclass(frozen=True, eq=False)
class Series:
    """Evenly sampled rows, oldest first: ``values`` (rows, columns), float32, physical units, all finite."""

    path: Path
    columns: tuple[str, ...]
    values: Values

    @property
    def rows(self) -> int:
        return len(self.values)


def read_columns(path: Path) -> tuple[str, ...]:
    """The names of the numeric columns: all but a first column of timestamps. Raises UsageError as read_series does."""
    header, rows, _ = _table(path)
    first = rows[0][1]
    skipped = 1 if _number(first[0]) is None and first[0].strip() else 0
    return tuple(header[skipped:])


def read_series(path: Path, columns: Sequence[str] = ()) -> Series:
    """Read ``columns`` of a CSV in the order given; all numeric ones when none is named.

    The first line names the columns; a comma, a semicolon or a tab separates them; a leading column of timestamps is
    skipped. Empty lines are ignored.

    Raises:
        UsageError: the file, its header or a column is missing, or a cell is empty, NaN, infinite or no number (with
            its line in the file).
    """
    header, rows, delimiter = _table(path)
    wanted = tuple(columns) or read_columns(path)
    if not wanted:
        raise UsageError(f"{path} has no column of numbers", hint="The first column is taken for timestamps.")
    for name in wanted:
        if name not in header:
            raise UsageError(
                f"{path} has no column {name!r}", hint=nearest(name, header, f"Its columns are {', '.join(header)}.")
            )
    picked = [header.index(name) for name in wanted]
    values = np.empty((len(rows), len(picked)), np.float32)
    for index, (line, cells) in enumerate(rows):
        if len(cells) != len(header):
            raise UsageError(
                f"{path}, line {line}: {len(cells)} cells, but the header has {len(header)} columns",
                hint=f"Cells are separated by {delimiter!r}.",
            )
        for channel, column in enumerate(picked):
            values[index, channel] = _cell(path, line, header[column], cells[column])
    return Series(path, wanted, values)


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
    lies after it, while the first seeds reach back across the border, as they would in use.

    Raises UsageError when the part holds fewer than ``count`` windows.
    """
    first, last = (window, rows - horizon) if part == "train" else (max(rows, window), series.rows - horizon)
    available = max(0, last - first + 1)
    if available < count:
        raise UsageError(
            f"{series.path}: the {part} part has room for {available} windows of {window} rows "
            f"with {horizon} rows of truth, {count} are needed",
            hint="Give more rows, a shorter horizon, fewer rollouts or another split.",
        )
    origins = first + np.floor(np.linspace(0, last - first, count) + 0.5).astype(np.int64)
    values = normalise(series.values, scaling)
    seeds = np.stack([values[origin - window : origin] for origin in origins])
    truth = np.stack([values[origin : origin + horizon] for origin in origins])
    return seeds, truth


def _table(path: Path) -> tuple[list[str], list[tuple[int, list[str]]], str]:
    """Header, rows with their line numbers, and the delimiter."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UsageError(f"{path} does not exist", hint="Check the path of the CSV file.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read as text: {error}", hint="Save it as CSV in UTF-8.") from error
    head = text.partition("\n")[0]
    delimiter = max(",;\t", key=head.count)
    reader = csv.reader(io.StringIO(text), delimiter=delimiter)
    try:
        lines = [(reader.line_num, cells) for cells in reader if any(cell.strip() for cell in cells)]
    except csv.Error as error:
        raise UsageError(f"{path}, line {reader.line_num}: {error}", hint="Save it as CSV in UTF-8.") from error
    if len(lines) < 2:
        raise UsageError(
            f"{path} holds no rows", hint="The first line names the columns, each further one is a sample."
        )
    header = [cell.strip() for cell in lines[0][1]]
    if all(_number(cell) is not None for cell in header):
        raise UsageError(f"{path} has no header: its first line holds numbers", hint="Put the columns' names there.")
    for name in header:
        if header.count(name) > 1:
            raise UsageError(f"{path} names the column {name!r} twice", hint="Rename one of the two.")
    return header, lines[1:], delimiter


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None


def _cell(path: Path, line: int, column: str, cell: str) -> float:
    value = _number(cell)
    if value is not None and math.isfinite(value):
        return value
    what = f"{cell!r} is no number" if cell.strip() and value is None else "a value is missing"
    if value is not None and math.isinf(value):
        what = f"{cell} is not finite"
    raise UsageError(
        f"{path}, line {line}, column {column}: {what}",
        hint="A forecaster cannot be fed gaps: fill them (forward fill, interpolation) or cut the file there.",
    )
