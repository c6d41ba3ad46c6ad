"""Pieces of HTML that the parts of report.html are made of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from edge_tqs.report.format import Figure

TIMES = "\N{MULTIPLICATION SIGN}"


def section(title: str, body: str) -> str:
    """``body`` is HTML already, ``title`` is not."""
    return f"<section>\n<h2>{escape(title)}</h2>\n{body}\n</section>"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Cells are plain text. The first of each row names it."""
    top = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in head)
    body = "\n".join(
        f'<tr><th scope="row">{escape(row[0])}</th>' + "".join(f"<td>{escape(cell)}</td>" for cell in row[1:]) + "</tr>"
        for row in rows
    )
    return f'<div class="scroll"><table>\n<thead><tr>{top}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table></div>\n'


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
