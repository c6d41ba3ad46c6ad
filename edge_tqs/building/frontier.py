"""The Pareto frontier of a choice, bytes against divergence, as a table, as JSON and as a picture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edge_tqs.building.choose import Choice, mean_bits
from edge_tqs.planning.plan import Plan
from edge_tqs.report.plot import Points, point_plot
from edge_tqs.text_table import table


def frontier_rows(choice: Choice) -> list[tuple[str, Plan]]:
    """(mark, plan): the frontier, the uniform plans ("all-int4", "all-int8") and the chosen one, by bytes."""
    rows = [("", point) for point in choice.frontier if not _same(point, choice.plan)]
    rows += [(f"all-int{made.tensors[0].width}", made) for made in choice.uniform]
    rows.append(("chosen", choice.plan))
    return sorted(rows, key=lambda row: (row[1].total_bytes, -row[1].predicted_rmse, row[0]))


def frontier_table(choice: Choice, tables: Mapping[str, int]) -> str:
    """One line a plan, from the smallest; with ``tables`` (flash by assignment) what a microcontroller flashes."""
    flash = ["flash"] if tables else []
    rows = [
        [
            f"{made.total_bytes:,}",
            *(f"{tables[made.assignment]:,}" for _ in flash),
            f"{mean_bits(made):.2f}",
            f"{made.predicted_rmse:.4f}",
            "-" if made.measured_rmse is None else f"{made.measured_rmse:.4f}",
            mark,
            made.assignment,
        ]
        for mark, made in frontier_rows(choice)
    ]
    return table(
        ["bytes", *flash, "mean bits", "predicted", "measured", "", "widths/scales*clips, in the model's order"], rows
    )


def frontier_body(choice: Choice, tables: Mapping[str, int]) -> dict[str, Any]:
    """The same for --json: "frontier" is a list of points by bytes; "flash" is null without a microcontroller."""
    return {
        "frontier": [
            {
                "mark": mark,
                "bytes": made.total_bytes,
                "flash": tables.get(made.assignment),
                "mean_bits": mean_bits(made),
                "predicted_rmse": made.predicted_rmse,
                "measured_rmse": made.measured_rmse,
                "widths": made.widths(),
                "scales": {tensor.name: tensor.scales for tensor in made.tensors},
                "clips": made.clips(),
                "roundings": {tensor.name: tensor.rounding for tensor in made.tensors},
            }
            for mark, made in frontier_rows(choice)
        ]
    }


def frontier_plot(choice: Choice, name: str) -> str:
    """An SVG file: what was predicted, what was measured, and the marked plans."""
    rows = frontier_rows(choice)
    points = [made for mark, made in rows if mark in ("", "chosen")]
    measured = [(float(made.total_bytes), made.measured_rmse) for made in points if made.measured_rmse is not None]
    series = [
        Points("predicted", "truth", [(float(m.total_bytes), m.predicted_rmse) for m in points], joined=True),
        *([Points("measured", "float", measured)] if measured else []),
    ]
    colours = {"all-int4": "int4", "all-int8": "int8", "chosen": "mixed"}
    for mark, made in rows:
        if mark:
            shown = made.predicted_rmse if made.measured_rmse is None else made.measured_rmse
            series.append(Points(mark, colours[mark], [(float(made.total_bytes), shown)], radius=5.5, note=mark))
    return point_plot(
        series,
        ident="frontier",
        title=f"{name}: bytes against closed-loop divergence",
        description="Each point is a plan that no other one beats in both bytes and predicted divergence.",
        x_label="bytes of all weights",
        y_label="divergence, RMSE",
        standalone=True,
    )


def _same(a: Plan, b: Plan) -> bool:
    return a.assignment == b.assignment
