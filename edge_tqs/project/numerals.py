"""Cells as numbers: with a decimal point or a decimal comma, thousands apart, and the spellings of no value."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Decimal = Literal[".", ","]

#: Spellings of a missing value, in lower case.
MISSING = frozenset(
    (
        "",
        "na",
        "n/a",
        "#n/a",
        "#na",
        "nan",
        "-nan",
        "null",
        "none",
        "nil",
        "-",
        "--",
        "?",
        ".",
        "missing",
        "<na>",
        "nat",
    )
)
_GROUPED = r"[1-9]\d{{0,2}}([ '{group}])\d{{3}}(?:\1\d{{3}})*(?:{mark}\d*)?"
_NUMBER = r"[+-]?(?:" + _GROUPED + r"|\d+(?:{mark}\d*)?|{mark}\d+)(?:[eE][+-]?\d+)?"
_PATTERNS: dict[Decimal, re.Pattern[str]] = {
    ".": re.compile(_NUMBER.format(group=",", mark=r"\."), re.ASCII),
    ",": re.compile(_NUMBER.format(group=".", mark=","), re.ASCII),
}
_SPACES = str.maketrans({"\u00a0": " ", "\u202f": " ", "\u2009": " ", "\u2019": "'", "\u2212": "-"})


def is_number(cell: str) -> bool:
    """Whether Python reads ``cell`` as a number, written with a point."""
    try:
        float(cell)
    except ValueError:
        return False
    return "_" not in cell


def looks_comma(cell: str) -> bool:
    """Whether ``cell`` is a number with a decimal comma."""
    return _PATTERNS[","].fullmatch(_plain(cell)) is not None


def looks_number(cell: str) -> bool:
    """Whether ``cell`` is a number with either decimal mark, thousands apart or not."""
    return is_number(cell) or any(pattern.fullmatch(_plain(cell)) for pattern in _PATTERNS.values())


def is_missing(cell: str) -> bool:
    """Whether ``cell`` says that there is no value."""
    return cell.strip().lower() in MISSING


@dataclass
class Evidence:
    """Which decimal marks allow all cells that have no plain decimal point; marks is None while there is none.

    row, cell: the first that excludes a mark, or else the first.
    """

    marks: frozenset[Decimal] | None = None
    row: int = 0
    cell: str = ""

    def add(self, row: int, cell: str) -> None:
        allowed = frozenset(mark for mark, pattern in _PATTERNS.items() if pattern.fullmatch(_plain(cell)))
        before = self.marks
        self.marks = allowed if before is None else before & allowed
        if before is None or len(self.marks) < len(before):
            self.row, self.cell = row, cell.strip()


def parse(cell: str, decimal: Decimal) -> float | None:
    """The value of ``cell``, NaN where it is missing, None where it is no number."""
    text = _plain(cell)
    if _PATTERNS[decimal].fullmatch(text):
        group = "," if decimal == "." else "."
        return float(text.replace(group, "").replace(" ", "").replace("'", "").replace(decimal, "."))
    if text.lower() in MISSING:
        return float("nan")
    return float(text) if text.lower().lstrip("+-") in ("inf", "infinity") else None


def parse_block(
    cells: Sequence[str], decimal: Decimal, evidence: Evidence | None, start: int
) -> tuple[npt.NDArray[np.float64], list[int]]:
    """(values, NaN where a cell is missing or no number; the positions of those that are no number either way).

    With ``evidence``, cells without a plain decimal point are noted there (the first cell is row ``start``), and those
    that only a decimal comma makes numbers count as missing.
    """
    plain: Sequence[str] | None = cells
    if decimal == ",":
        joined = "\n".join(cells)
        plain = None if "." in joined or joined.count("\n") != len(cells) - 1 else joined.replace(",", ".").split("\n")
    if plain is not None and "_" not in "".join(plain):
        try:
            return np.fromiter(map(float, plain), np.float64, len(plain)), []
        except ValueError:
            pass
    values: npt.NDArray[Any] = np.full(len(cells), np.nan)
    odd = []
    for index, cell in enumerate(cells):
        value = float(cell) if decimal == "." and is_number(cell) else parse(cell, decimal)
        if (
            evidence is not None
            and not is_missing(cell)
            and not is_number(cell)
            and (value is not None or looks_comma(cell))
        ):
            evidence.add(start + index, cell)
            values[index] = np.nan if value is None else value
            continue
        if value is None:
            odd.append(index)
        else:
            values[index] = value
    return values, odd


def _plain(cell: str) -> str:
    return cell.strip().translate(_SPACES)
