"""The text of a CSV: its encoding and delimiter, found where they are certain, its header, and its rows in blocks."""

from __future__ import annotations

import codecs
import csv
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_tqs.errors import UsageError
from edge_tqs.project.numerals import is_number, looks_number
from edge_tqs.project.series_format import Offences, SeriesFormat
from edge_tqs.project.time_text import looks_like_time

#: Rows that are in memory as text at one time.
BLOCK = 16_384
#: Rows that the delimiter is decided from.
_LOOKED_AT = 200
_DELIMITERS = (",", ";", "\t", "|")
_AS_TEXT = "Save it as CSV in UTF-8."

Row = list[str]


@dataclass(frozen=True)
class Sheet:
    """An opened CSV. preamble: rows above the header that are none ("sep=;", lines of # comments)."""

    path: Path
    encoding: str
    delimiter: str
    preamble: int
    header: tuple[str, ...]
    head: tuple[Row, ...]

    def column(self, index: int) -> list[str]:
        """The first cells of a column."""
        return [row[index].strip() for row in self.head if index < len(row)]

    def blocks(self) -> Iterator[tuple[int, list[Row]]]:
        """(number of the first row, rows): empty lines left out, every row as wide as the header.

        Raises UsageError where one is not, once all were seen.
        """
        width, start, wrong, skip = len(self.header), 0, Offences(), 1
        for block in _blocks(self):
            rows = [row for row in block if row and (row[0] or "".join(row).strip())]
            rows, skip = (rows[skip:], 0) if rows else (rows, skip)
            if not set(map(len, rows)) <= {width}:
                for index, row in enumerate(rows):
                    if len(row) > width and not any(cell.strip() for cell in row[width:]):
                        del row[width:]
                    elif len(row) != width:
                        wrong.add(start + index, f": {len(row)} cells, but the header has {width} columns")
            if rows and not wrong.count:
                yield start, rows
            start += len(rows)
        wrong.refuse(self.path, self.line, self._width_hint())
        if not start:
            raise _empty(self.path)

    def line(self, row: int) -> str:
        """The line of the file on which row ``row`` ends, as "line 5"; a header with nothing above it is line 1."""
        return f"line {next(itertools.islice(_rows(self), row + 1, None))[0]}"

    def _width_hint(self) -> str:
        separated = f"Cells are separated by {self.delimiter!r}."
        if self.delimiter == ",":
            separated += ' If commas are decimal here, name what separates cells: [data] delimiter = ";".'
        return separated + " Lines above the header must go."


def open_sheet(path: Path, how: SeriesFormat) -> Sheet:
    """Find out how ``path`` is written. Raises UsageError where it cannot be read, or is not certain."""
    encoding = how.encoding or _encoding(path)
    probe = Sheet(path, encoding, ",", 0, (), ())
    preamble, said = 0, None
    with _text(probe) as stream:
        try:
            lines = list(itertools.islice(stream, _LOOKED_AT))
        except (UnicodeError, OSError) as error:
            raise _unreadable(path, error) from error
    for line in lines:
        if line.lower().startswith("sep=") and len(line.strip()) <= 5:
            said = line.rstrip("\r\n")[4:5] or None
        elif line.strip() and not line.startswith("#"):
            break
        preamble += 1
    delimiter = how.delimiter or said or _delimiter(path, lines[preamble:])
    sheet = Sheet(path, encoding, delimiter, preamble, (), ())
    head = [row for _, row in itertools.islice(_rows(sheet), _LOOKED_AT)]
    if len(head) < 2:
        raise _empty(path)
    header = tuple(cell.strip() for cell in head[0])
    if all(map(is_number, header)):
        raise UsageError(f"{path} has no header: its first line holds numbers", hint="Put the columns' names there.")
    for name in header:
        if name and header.count(name) > 1:
            raise UsageError(f"{path} names the column {name!r} twice", hint="Rename one of the two.")
    return Sheet(path, encoding, delimiter, preamble, header, tuple(head[1:]))


def _blocks(sheet: Sheet, size: int = BLOCK) -> Iterator[list[Row]]:
    """The cells of all lines from the header on, empty ones too, ``size`` lines at a time."""
    for lines, _ in _lines(sheet, size):
        yield lines


def _rows(sheet: Sheet) -> Iterator[tuple[int, Row]]:
    """(line, cells) of the header and each row that is not empty."""
    for lines, number in _lines(sheet, 1):
        if lines[0] and (lines[0][0] or "".join(lines[0]).strip()):
            yield number, lines[0]


def _lines(sheet: Sheet, size: int) -> Iterator[tuple[list[Row], int]]:
    """(cells of ``size`` lines, number of the last line)."""
    with _text(sheet) as stream:
        for _ in range(sheet.preamble):
            next(stream)
        reader = csv.reader(stream, delimiter=sheet.delimiter)
        try:
            while lines := list(itertools.islice(reader, size)):
                yield lines, sheet.preamble + reader.line_num
        except csv.Error as error:
            line = sheet.preamble + reader.line_num
            raise UsageError(f"{sheet.path}, line {line}: {error}", hint=_AS_TEXT) from error
        except (UnicodeError, OSError) as error:
            raise _unreadable(sheet.path, error) from error


def _text(sheet: Sheet) -> codecs.StreamReaderWriter:
    try:
        return open(sheet.path, encoding=sheet.encoding, newline="")  # type: ignore[return-value]
    except FileNotFoundError:
        raise UsageError(f"{sheet.path} does not exist", hint="Check the path of the CSV file.") from None
    except (OSError, LookupError) as error:
        raise _unreadable(sheet.path, error) from error


def _encoding(path: Path) -> str:
    """UTF-16 by its mark, or by the zeros that ASCII has in it; else UTF-8."""
    try:
        with path.open("rb") as stream:
            start = stream.read(4096)
    except FileNotFoundError:
        raise UsageError(f"{path} does not exist", hint="Check the path of the CSV file.") from None
    except OSError as error:
        raise _unreadable(path, error) from error
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    pairs = len(start) // 2
    if pairs >= 4 and start[1 : 2 * pairs : 2].count(0) > 0.9 * pairs and start[: 2 * pairs : 2].count(0) == 0:
        return "utf-16-le"
    if pairs >= 4 and start[: 2 * pairs : 2].count(0) > 0.9 * pairs and start[1 : 2 * pairs : 2].count(0) == 0:
        return "utf-16-be"
    return "utf-8-sig"


def _delimiter(path: Path, lines: Sequence[str]) -> str:
    """The one delimiter under which every line has as many cells as the header, two or more; "," for one column."""
    tables = {mark: [row for row in csv.reader(lines, delimiter=mark) if "".join(row).strip()] for mark in _DELIMITERS}
    widths = {mark: {len(_trimmed(row, rows[0])) for row in rows} for mark, rows in tables.items() if rows}
    even = [mark for mark, found in widths.items() if len(found) == 1 and min(found) > 1]
    if len(even) > 1:
        # "time;temp, C" over "2024-01-01;20,5" has two cells in every line either way: cells tell which it is.
        read = [mark for mark in even if all(map(_readable, itertools.chain(*tables[mark][1:])))]
        even = read if len(read) == 1 else even
    if len(even) > 1:
        shown = lines[1].strip() if len(lines) > 1 else ""
        raise UsageError(
            f"{path}: {' and '.join(map(repr, even))} may both separate its cells ({shown!r})",
            hint=f'Write [data] delimiter = "{even[0]}" or "{even[1]}" in edge-tqs.toml.',
        )
    if even:
        return even[0]
    # A line is broken somewhere: the header says best what separates cells, and blocks() names the line.
    return max(_DELIMITERS, key=lambda mark: len(tables[mark][0]) if tables[mark] else 0)


def _trimmed(row: Row, header: Row) -> Row:
    return row[: len(header)] if len(row) > len(header) and not any(map(str.strip, row[len(header) :])) else row


def _readable(cell: str) -> bool:
    return not cell.strip() or looks_number(cell) or looks_like_time(cell.strip())


def _empty(path: Path) -> UsageError:
    return UsageError(f"{path} holds no rows", hint="The first line names the columns, each further one is a sample.")


def _unreadable(path: Path, error: Exception) -> UsageError:
    hint = _AS_TEXT
    if isinstance(error, UnicodeError):
        hint += ' Or name what it is written in: [data] encoding = "cp1252" in edge-tqs.toml.'
    return UsageError(f"{path} cannot be read as text: {error}", hint=hint)
