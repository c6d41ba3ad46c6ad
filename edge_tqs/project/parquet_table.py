"""A Parquet file as a table, with pyarrow, which is in no installation that does not ask for it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_tqs.errors import ToolError, UsageError
from edge_tqs.graph.graph import Array
from edge_tqs.project.csv_table import named
from edge_tqs.project.series_format import UNITS, SeriesFormat
from edge_tqs.project.table import Table
from edge_tqs.project.time_numbers import TimeNumbers, epoch_unit, unknown_unit
from edge_tqs.project.time_text import NO_OFFSET

SUFFIXES = (".parquet", ".pq")
_PIP = "edge-tqs[data]"


def read_parquet(path: Path, columns: Sequence[str], how: SeriesFormat) -> Table:
    """Read ``columns``, all of numbers where none is named. Rows are numbered from 1 in messages, as lines are.

    Raises ToolError without pyarrow, UsageError for what is not certain.
    """
    try:
        from pyarrow import ArrowInvalid, types
        from pyarrow.parquet import ParquetFile
    except ImportError:
        raise ToolError(
            f"{path} is a Parquet file, and pyarrow is not installed", hint=f"pip install '{_PIP}', or save it as CSV."
        ) from None
    if not path.is_file():
        raise UsageError(f"{path} does not exist", hint="Check the path of the file.")
    try:
        file = ParquetFile(path)
        schema = file.schema_arrow
        header = tuple(schema.names)
        kinds = dict(zip(header, schema.types, strict=True))
        stamps = [name for name in header if types.is_timestamp(kinds[name])]
        time = _time_column(path, header, stamps, set(columns), how)
        facts: tuple[str, ...] = ()
        sensor = None
        if how.long is not None:
            sensor = header[named(path, header, how.long.sensor)]
            wanted: tuple[str, ...] = (header[named(path, header, how.long.value)],)
        else:
            wanted = tuple(header[named(path, header, name)] for name in columns)
        is_number = {name: types.is_integer(kind) or types.is_floating(kind) for name, kind in kinds.items()}
        wanted = wanted or tuple(name for name in header if is_number[name] and name not in (time, *stamps))
        for name in wanted:
            if not is_number[name]:
                raise UsageError(f"{path}, column {name}: it holds {kinds[name]}, no numbers", hint="Save it as float.")
        if not wanted:
            raise UsageError(f"{path} has no column of numbers", hint=f"Its columns are {', '.join(header)}.")
        needed = [*wanted, *([time] if time else []), *([sensor] if sensor else [])]
        table = file.read(columns=list(dict.fromkeys(needed)))
        values = np.stack([_floats(table.column(name)) for name in wanted], axis=1)
        times = offsets = codes = None
        if time:
            times, offsets, facts = _times(path, time, table.column(time), kinds[time], how)
        if sensor:
            encoded = table.column(sensor).combine_chunks().dictionary_encode()
            names = tuple(str(name) for name in encoded.dictionary.to_pylist())
            codes = (encoded.indices.fill_null(0).to_numpy(zero_copy_only=False).astype(np.int32), names)
    except (ArrowInvalid, OSError) as error:
        raise UsageError(
            f"{path} cannot be read as Parquet: {error}", hint="Write it again, or save it as CSV."
        ) from error
    if not len(values):
        raise UsageError(f"{path} holds no rows", hint="Each row is a sample.")
    infinite = np.argwhere(np.isinf(values))
    if len(infinite):
        row, channel = infinite[0]
        raise UsageError(
            f"{path}, row {row + 1}, column {wanted[channel]}: {values[row, channel]} is not finite",
            hint="Mend it, or leave the value empty.",
        )
    labels = tuple(name for name in header if types.is_string(kinds[name]) or types.is_dictionary(kinds[name]))
    if time is None:
        facts = (f"{path.name}: no column of times is read: its rows are taken to be evenly sampled, without holes.",)
    return Table(path, wanted, values, _place, times, offsets, time or "", codes, labels, facts)


def _place(row: int) -> str:
    return f"row {row + 1}"


def _time_column(
    path: Path, header: Sequence[str], stamps: Sequence[str], taken: set[str], how: SeriesFormat
) -> str | None:
    if how.time is False:
        return None
    if len(how.time_columns) > 1:
        raise UsageError(f"{path}: times of a Parquet file are one column", hint='Write [data] time = "COLUMN".')
    if how.time_columns:
        return header[named(path, header, how.time_columns[0])]
    return next((name for name in stamps if name not in taken), None)


def _floats(column: Any) -> npt.NDArray[np.float32]:
    """A column as float32, NaN where it has no value."""
    with np.errstate(over="ignore"):
        found: npt.NDArray[np.float32] = column.to_numpy().astype(np.float32)
    return found


def _times(path: Path, name: str, column: Any, kind: Any, how: SeriesFormat) -> tuple[Array, Array, tuple[str, ...]]:
    if column.null_count:
        raise UsageError(
            f"{path}, column {name}: {column.null_count:,} times are missing", hint="Leave these rows out."
        )
    unit, zoned = getattr(kind, "unit", None), getattr(kind, "tz", None) is not None
    if unit is not None:
        times = column.to_numpy().astype("datetime64[ns]").astype(np.int64)
        return times, np.full(len(times), 0 if zoned else NO_OFFSET, np.int32), ()
    numbers = column.to_numpy()
    if numbers.dtype.kind not in "iuf":
        raise UsageError(f"{path}, column {name}: it holds {kind}, no times", hint="Save it as a timestamp.")
    unit = how.time_format if how.time_format in UNITS else epoch_unit(float(numbers[0]))
    if unit is None:
        raise unknown_unit(path, name, str(numbers[0]))
    reader = TimeNumbers(path, name, unit, epoch_unit(float(numbers[0])) == unit)
    reader.add(0, [str(number) for number in numbers])
    times, offsets, facts = reader.finish(_place)
    return times, offsets, tuple(facts)
