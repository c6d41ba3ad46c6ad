"""A CSV as a table: which column holds the times, which hold numbers, and how they are written."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_tqs.errors import UsageError
from edge_tqs.graph.graph import Array
from edge_tqs.project.csv_text import Sheet, open_sheet
from edge_tqs.project.numerals import Decimal, Evidence, is_missing, is_number, looks_number, parse_block
from edge_tqs.project.series_format import UNITS, Offences, SeriesFormat
from edge_tqs.project.table import Table
from edge_tqs.project.time_numbers import TimeNumbers, epoch_unit, unit_of_word, unknown_unit
from edge_tqs.project.time_text import TimeCells, compile_format, looks_like_clock, looks_like_time
from edge_tqs.strict import nearest

_TIME_WORDS = frozenset(
    ("time", "timestamp", "date", "datetime", "ts", "epoch", "unix", "utc", "zeit", "zeitstempel", "datum", "fecha")
)
_COUNTERS = frozenset(("", "no", "no.", "nr", "id", "index", "row", "#", "n", "unnamed: 0"))
_GAPS_HINT = (
    "Mend the cells or leave the rows out: a row with an empty cell is a hole, that no window crosses. "
    "Columns that are no inputs are not read where inputs are named under [data]."
)


@dataclass(frozen=True)
class _Roles:
    """Indices of columns: of times, of values and of the sensor; clock: what reads the times; labels: text."""

    times: tuple[int, ...]
    clock: TimeCells | TimeNumbers | None
    values: tuple[int, ...]
    sensor: int | None
    labels: tuple[str, ...]
    facts: tuple[str, ...]
    warnings: tuple[str, ...]


def read_csv(path: Path, columns: Sequence[str], how: SeriesFormat) -> Table:
    """Read ``columns`` of a CSV, all of numbers where none is named. Raises UsageError for what is not certain."""
    sheet = open_sheet(path, how)
    roles = _roles(sheet, columns, how)
    names = tuple(sheet.header[index] for index in roles.values)
    values, times, sensors, facts = _read(sheet, roles, how)
    clock = None if roles.clock is None else roles.clock.finish(sheet.line)
    return Table(
        path=path,
        columns=names,
        values=values,
        line=sheet.line,
        times=None if clock is None else clock[0],
        offsets=None if clock is None else clock[1],
        time=times,
        sensors=sensors,
        labels=roles.labels,
        warnings=roles.warnings,
        facts=(*roles.facts, *facts, *(clock[2] if clock else ())),
    )


def named(path: Path, names: Sequence[str], wanted: str, what: str = "column") -> int:
    """The place of ``wanted`` in ``names``. Raises UsageError where it is none of them."""
    if wanted in names:
        return names.index(wanted)
    listed = ", ".join(name for name in names if name)
    raise UsageError(f"{path} has no {what} {wanted!r}", hint=nearest(wanted, names, f"Its {what}s are {listed}."))


# --- which column is what -------------------------------------------------------------------------------------------


def _roles(sheet: Sheet, columns: Sequence[str], how: SeriesFormat) -> _Roles:
    header = sheet.header
    if how.long is not None:
        sensor, value = (named(sheet.path, header, name) for name in (how.long.sensor, how.long.value))
        taken = {header[sensor], header[value]}
        times, clock, facts = _time_columns(sheet, taken, how)
        if clock is None:
            raise UsageError(
                f"{sheet.path}: one sensor a row needs a column of times", hint='Name it: [data] time = "COLUMN".'
            )
        return _Roles(times, clock, (value,), sensor, (), tuple(facts), ())
    picked = tuple(named(sheet.path, header, name) for name in columns)
    times, clock, facts = _time_columns(sheet, set(columns), how)
    warnings: list[str] = []
    others = [index for index in range(len(header)) if index not in times]
    labels = [index for index in others if index not in picked and _is_text(sheet, index)]
    if not picked:
        counter = [index for index in others if index == 0 and _counts(sheet)]
        picked = tuple(index for index in others if header[index] and index not in (*labels, *counter))
        if not picked:
            raise UsageError(
                f"{sheet.path} has no column of numbers", hint="Its columns are " + ", ".join(map(repr, header)) + "."
            )
        _refuse_labels(sheet, [index for index in labels if index and header[index]], picked)
        if labels[:1] == [0] and clock is None and how.time is None:
            warnings.append(
                f"{sheet.path.name}: column {header[0]!r} ({sheet.column(0)[0]!r}) is text, but no time that is read: "
                "rows are taken as even. [data] time and time_format say how times are written."
            )
        elif labels[:1] == [0]:
            facts.append(f"{sheet.path.name}: column {header[0]!r} is text, and is left out.")
        if counter:
            facts.append(f"{sheet.path.name}: column {header[0]!r} counts the rows, and is left out.")
    return _Roles(times, clock, picked, None, tuple(header[index] for index in labels), tuple(facts), tuple(warnings))


def _refuse_labels(sheet: Sheet, labels: Sequence[int], numbers: Sequence[int]) -> None:
    if not labels:
        return
    names = [sheet.header[index] for index in numbers]
    cell = next(cell for cell in sheet.column(labels[0]) if not is_missing(cell))
    listed = ", ".join(f'"{name}"' for name in names)
    hint = f"Name the inputs in edge-tqs.toml: [data] inputs = [{listed}]."
    if len(names) == 1:
        hint += (
            " Or, where each row is of one sensor that it names: "
            f'[data] long = {{sensor = "{sheet.header[labels[0]]}", value = "{names[0]}"}}.'
        )
    raise UsageError(f"{sheet.path}: column {sheet.header[labels[0]]!r} holds text ({cell!r})", hint=hint)


def _is_text(sheet: Sheet, index: int) -> bool:
    """Whether the first rows hold something in a column, and no number."""
    cells = [cell for cell in sheet.column(index) if not is_missing(cell)]
    return bool(cells) and not any(looks_number(cell) for cell in cells)


def _counts(sheet: Sheet) -> bool:
    """Whether the first column counts rows, by its name and its cells."""
    cells = sheet.column(0)
    first = cells[0] if cells else ""
    if sheet.header[0].lower() not in _COUNTERS or first not in ("0", "1"):
        return False
    return len(cells) > 1 and cells == [str(int(first) + row) for row in range(len(cells))]


def _time_columns(
    sheet: Sheet, taken: set[str], how: SeriesFormat
) -> tuple[tuple[int, ...], TimeCells | TimeNumbers | None, list[str]]:
    """The columns of times, what reads them, and what was assumed."""
    header, path = sheet.header, sheet.path
    if how.time is False:
        return (
            (),
            None,
            [f"{path.name}: its times are not read, rows are taken to be even ([data] time = false)."],
        )
    if how.time_columns:
        indices = tuple(named(path, header, name) for name in how.time_columns)
        return indices, _clock(sheet, indices, how), []
    free = [index for index, name in enumerate(header) if name not in taken]
    first = {index: next((cell for cell in sheet.column(index) if cell), "") for index in free}
    dates = [index for index in free if looks_like_time(first[index])]
    if dates:
        indices = (dates[0],)
        clocks = [index for index in free if looks_like_clock(first[index])]
        if ":" not in first[dates[0]] and len(clocks) == 1:
            indices = (dates[0], clocks[0])
        return indices, _clock(sheet, indices, how), []
    for index in free:
        words = [word for word in re.split(r"[^a-z0-9µ]+", header[index].lower()) if word]
        named_time = bool(_TIME_WORDS & set(words))
        if named_time and is_number(first[index]) and epoch_unit(float(first[index])):
            return (index,), _clock(sheet, (index,), how), []
        plain = named_time and all(word in _TIME_WORDS or unit_of_word(word) for word in words)
        if plain and first[index] and not (looks_like_clock(first[index]) or is_missing(first[index])):
            return (index,), _clock(sheet, (index,), how), []
        if plain and looks_like_clock(first[index]):
            raise UsageError(
                f"{path}, column {header[index]}: {first[index]!r} is a time of day without its date",
                hint='Name both columns: [data] time = ["DATE", "TIME"]. Where rows are even anyway: time = false.',
            )
    return (), None, [f"{path.name} has no column of times: its rows are taken to be evenly sampled, without holes."]


def _clock(sheet: Sheet, indices: tuple[int, ...], how: SeriesFormat) -> TimeCells | TimeNumbers:
    path, name = sheet.path, " ".join(sheet.header[index] for index in indices)
    if how.time_format in UNITS:
        first = next((cell for cell in sheet.column(indices[0]) if is_number(cell)), "0")
        return TimeNumbers(path, name, how.time_format, epoch_unit(float(first)) == how.time_format)
    if how.time_format is not None:
        return TimeCells(path, name, compile_format(how.time_format))
    cell = next((cell for cell in sheet.column(indices[0]) if cell), "")
    if len(indices) == 1 and is_number(cell) and not looks_like_time(cell):
        unit = epoch_unit(float(cell))
        if unit is not None:
            return TimeNumbers(path, name, unit, True)
        if not re.fullmatch(r"(19|20)\d\d[01]\d[0-3]\d", cell):
            word = re.split(r"[^a-z0-9µ]+", name.lower().rstrip(")] "))[-1]
            unit = unit_of_word(word)
            if unit is None:
                raise unknown_unit(path, name, cell)
            return TimeNumbers(path, name, unit, False)
    return TimeCells(path, name)


# --- cells ----------------------------------------------------------------------------------------------------------


def _read(
    sheet: Sheet, roles: _Roles, how: SeriesFormat
) -> tuple[npt.NDArray[np.float32], str, tuple[Array, tuple[str, ...]] | None, list[str]]:
    evidence = Evidence()
    decimal: Decimal = how.decimal or "."
    names: dict[str, int] = {}
    sensors: list[Array] = []

    def others(start: int, rows: list[list[str]]) -> None:
        if roles.clock is not None:
            columns = [[row[index] for row in rows] for index in roles.times]
            joined = columns[0] if len(columns) == 1 else [" ".join(cells) for cells in zip(*columns, strict=True)]
            roles.clock.add(start, joined)
        if roles.sensor is not None:
            cells = [row[roles.sensor].strip() for row in rows]
            sensors.append(np.fromiter((names.setdefault(cell, len(names)) for cell in cells), np.int32, len(cells)))

    values, offences = _numbers(sheet, roles.values, decimal, None if how.decimal else evidence, others)
    facts = []
    if evidence.marks is not None and not offences.count:
        values, decimal = _settle(sheet, roles.values, values, evidence)
        mark = "comma" if decimal == "," else "point"
        facts = [f"{sheet.path.name}: numbers have a decimal {mark}; {evidence.cell!r} and the others allow no other."]
    offences.refuse(sheet.path, sheet.line, _GAPS_HINT)
    times = " ".join(sheet.header[index] for index in roles.times)
    found = None if roles.sensor is None else (np.concatenate(sensors), tuple(names))
    return values, times, found, facts


def _settle(
    sheet: Sheet, picked: Sequence[int], as_point: npt.NDArray[np.float32], evidence: Evidence
) -> tuple[npt.NDArray[np.float32], Decimal]:
    """The reading under which every cell is a number. Raises UsageError where there are two, or none."""
    point, comma = "." in (evidence.marks or ()), "," in (evidence.marks or ())
    if not point and not comma:
        raise UsageError(
            f"{sheet.path}, {sheet.line(evidence.row)}: {evidence.cell} and other cells are written with "
            "different decimal marks",
            hint="Write all numbers alike, with a decimal point.",
        )
    values, offences = _numbers(sheet, picked, ",", None)
    if not comma or (point and offences.count):
        return as_point, "."
    hint = f"{evidence.cell} on {sheet.line(evidence.row)} has a decimal comma: write all numbers alike."
    offences.refuse(sheet.path, sheet.line, hint)
    if point and not np.array_equal(values, as_point, equal_nan=True):
        raise UsageError(
            f"{sheet.path}, {sheet.line(evidence.row)}: {evidence.cell!r} is "
            f"{evidence.cell.replace(',', '.', 1)} with a decimal comma, and {evidence.cell.replace(',', '')} where "
            "commas part thousands; no cell tells which",
            hint='Write [data] decimal = "," or decimal = "." in edge-tqs.toml.',
        )
    return values, ","


def _numbers(
    sheet: Sheet, picked: Sequence[int], decimal: Decimal, evidence: Evidence | None, others: Any = None
) -> tuple[npt.NDArray[np.float32], Offences]:
    blocks, offences = [], Offences()
    for start, rows in sheet.blocks():
        block = np.empty((len(rows), len(picked)), np.float32)
        wrong: list[tuple[int, str]] = []
        for channel, index in enumerate(picked):
            cells = [row[index] for row in rows]
            values, odd = parse_block(cells, decimal, evidence, start)
            infinite = np.flatnonzero(~np.isfinite(values) & ~np.isnan(values))
            name = sheet.header[index]
            wrong += [(start + row, f", column {name}: {cells[row].strip()!r} is no number") for row in odd]
            wrong += [(start + int(row), f", column {name}: {cells[row].strip()} is not finite") for row in infinite]
            with np.errstate(over="ignore"):
                block[:, channel] = values
            large = np.flatnonzero(np.isinf(block[:, channel]) & np.isfinite(values))
            wrong += [(start + int(row), f", column {name}: {cells[row].strip()} exceeds float32") for row in large]
        for row, what in sorted(wrong):
            offences.add(row, what)
        if others is not None:
            others(start, rows)
        blocks.append(block)
    return np.concatenate(blocks), offences
