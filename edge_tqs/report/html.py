"""Pieces of HTML that the parts of report.html are made of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from edge_tqs.report.format import Figure

#: Columns that are many, and characters of a cell that is not broken.
_MANY, _FEW = 4, 16

TIMES = "\N{MULTIPLICATION SIGN}"


def section(title: str, body: str) -> str:
    """``body`` is HTML already, ``title`` is not."""
    return f"<section>\n<h2>{escape(title)}</h2>\n{body}\n</section>"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Cells are plain text. The first of each row names it. On a narrow screen a table of many columns becomes a list,
    in which each cell says what it is of."""
    top = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in head)
    wide = len(head) >= _MANY

    def cell(number: int, text: str) -> str:
        short = ' class="few"' if len(text) <= _FEW else ""
        label = f' data-label="{escape(head[number])}"' if wide and number < len(head) else ""
        return f"<td{short}{label}>{escape(text)}</td>"

    body = "\n".join(
        f'<tr><th scope="row">{escape(row[0])}</th>'
        + "".join(cell(number, text) for number, text in enumerate(row[1:], 1))
        + "</tr>"
        for row in rows
    )
    kind = ' class="wide"' if wide else ""
    return (
        f'<div class="scroll"><table{kind}>\n<thead><tr>{top}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table></div>\n'
    )


def figure(value: Figure) -> str:
    """Four significant digits; plain where that is readable."""
    if value is None:
        return "-"
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4g}" if abs(value) >= 1e-4 else f"{value:.2e}"


def count(value: int | None) -> str:
    """A number with separators."""
    return "-" if value is None else f"{value:,}"


def size(value: int | None) -> str:
    """Bytes on the board."""
    return "not known on this port" if value is None else f"{value:,} B"


def share(part: int, whole: int) -> str:
    """In percent."""
    return f"{100 * part / whole:.0f} %" if whole else "-"
