"""Draw README's picture, one rollout of float, all-int4 and mixed, from a build of the example.

python tools/picture.py examples/machine-temperature/build/qemu-mps2-an386 docs/rollout.svg
"""

from __future__ import annotations

import sys
from pathlib import Path

from edge_tqs.report.build_report import BuildReport
from edge_tqs.report.format import REPORT_JSON
from edge_tqs.report.plot import Line, line_plot


def picture(report: BuildReport) -> str:
    """The SVG. Raises SystemExit when the report has no example rollout."""
    example, divergence = report.host.curves.example, report.host.divergence
    if example is None:
        sys.exit("this build holds no example rollout")
    lines = [Line("seed", "soft", example.seed, 1 - len(example.seed))]
    if example.truth is not None:
        lines.append(Line("what followed", "truth", example.truth, 1))
    lines += [
        Line(f"float32, {report.bytes.float32:,} B", "float", example.float, 1),
        Line(f"int4, {report.bytes.int4:,} B", "int4", example.int4, 1, dash="2 3"),
        Line(f"mixed, {report.bytes.mixed:,} B", "mixed", example.mixed, 1),
    ]
    return line_plot(
        lines,
        ident="rollout",
        title=f"{report.model.name}: one closed-loop rollout of {report.host.horizon} steps",
        description=f"RMSE against float over {report.host.rollouts} rollouts: all int4 {divergence.int4:.3f}, "
        f"mixed {divergence.mixed:.3f}, in standard deviations.",
        x_label="step; up to 0 the seed window",
        y_label=example.column,
        standalone=True,
    )


def main(build: str, target: str) -> None:
    """Write the picture of the build directory ``build`` to ``target``."""
    source = Path(build) / REPORT_JSON
    text = picture(BuildReport.from_json(source.read_text(encoding="utf-8"), str(source)))
    Path(target).write_text(text, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
