"""Draw README's first picture from a validated build of the example: one forecast beside what was measured.

python tools/picture.py examples/greenhouse/build/qemu-mps2-an386 docs/forecast.svg
"""

from __future__ import annotations

import sys
from pathlib import Path

from edge_tqs.report.build_report import BuildReport
from edge_tqs.report.format import REPORT_JSON, VALIDATION_JSON
from edge_tqs.report.plot import Line, line_plot
from edge_tqs.report.validation_report import ValidationReport


def picture(built: BuildReport, run: ValidationReport) -> str:
    """The SVG: the first window's forecast of the first output. Raises SystemExit where the reports do not hold it."""
    example, figures, board = built.host.curves.example, built.host.figures, run.curves.example
    if example is None or example.truth is None or figures is None or figures.season is None or board is None:
        sys.exit("the picture needs a build with data that have a season, and a validation of it")
    steps, season = len(example.float), example.seed[-figures.season :]
    if len(season) < figures.season or len(board) < steps:
        sys.exit("the picture needs a window of a whole season, and a validation over the whole horizon")
    naive = [season[step % len(season)] for step in range(steps)]
    seen = example.seed[-steps:]
    (shown,) = (row for row in figures.rows if (row.name, row.lead, row.measure) == (example.column, None, "rmse"))
    lines = [
        Line("measured", "truth", [*seen, *example.truth], 1 - len(seen)),
        Line(f"{figures.season} samples before", "int4", naive, 1, dash="2 3"),
        Line(f"float, {built.bytes.float32:,} B", "float", example.float, 1),
        Line(f"on the board, {built.bytes.mixed:,} B", "device", board, 1, marks=1),
    ]
    return line_plot(
        lines,
        ident="forecast",
        title=f"{example.column}: {steps} samples ahead, each forecast fed back",
        description=f"RMSE over {figures.windows} of these: float {shown.float:.3g}, the build {shown.mixed:.3g}, "
        f"the values of {figures.season} samples before {shown.seasonal:.3g}, the last one {shown.persistence:.3g}.",
        x_label="sample; up to 0 the window's newest",
        y_label=example.column,
        standalone=True,
    )


def main(build: str, target: str) -> None:
    """Write the picture of the build directory ``build`` to ``target``."""
    built, run = Path(build) / REPORT_JSON, Path(build) / VALIDATION_JSON
    text = picture(
        BuildReport.from_json(built.read_text(encoding="utf-8"), str(built)),
        ValidationReport.from_json(run.read_text(encoding="utf-8"), str(run)),
    )
    Path(target).write_text(text, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
