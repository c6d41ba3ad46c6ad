"""The figures of a forecast as the cells of a table, for people."""

from __future__ import annotations

from collections.abc import Sequence

from edge_tqs.report.figures import FigureRow, Figures
from edge_tqs.report.format import Figure
from edge_tqs.report.html import figure

#: What each measure is called.
MEASURES = {
    "rmse": "RMSE",
    "mae": "MAE",
    "mase": "MASE",
    "pinball": "pinball loss",
    "coverage": "coverage",
    "accuracy": "accuracy",
    "agreement": "agreement with float",
    "score": "score",
}
UNITS = {"data": "data's unit", "model": "model's units", "none": "-"}


def figure_cells(figures: Figures, rows: Sequence[FigureRow]) -> tuple[list[str], list[list[str]]]:
    """(header, rows) of some of ``figures``; a column that would be empty is left out."""
    mase = {(row.name, row.lead, row.level): row.mixed for row in figures.rows if row.measure == "mase"}
    head = ["output", "ahead", "figure", "unit", "float", "int8", "int4", "mixed", "90 %", "persistence", "seasonal"]
    cells = []
    for row in rows:
        values = (row.float, row.int8, row.int4, row.mixed)
        beside = mase.get((row.name, row.lead, row.level)) if row.measure == "rmse" else None
        cells.append(
            [
                row.name,
                _ahead(row),
                MEASURES[row.measure] + _level(row),
                UNITS[row.unit],
                *map(figure, values),
                _between(row.low, row.high),
                figure(row.persistence),
                figure(row.seasonal),
                figure(beside),
            ]
        )
    head.append("MASE of mixed")
    kept = [at for at in range(len(head)) if at < 4 or any(row[at] != "-" for row in cells)]
    return [head[at] for at in kept], [[row[at] for at in kept] for row in cells]


def _ahead(row: FigureRow) -> str:
    return "all" if row.lead is None else str(row.lead)


def _level(row: FigureRow) -> str:
    if row.level is None:
        return ""
    return {"coverage": f", {row.level:g} promised", "score": f", quantile {row.level:g}"}.get(
        row.measure, f" at {row.level:g}"
    )


def _between(low: Figure, high: Figure) -> str:
    return "-" if low is None or high is None else f"{figure(low)} to {figure(high)}"
