"""The plots of docs/evidence.md, as SVG."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.evidence.judge import SHARES
from benchmarks.evidence.statistics import geometric_mean
from benchmarks.evidence.tables import FULL, PLAIN, Record, correlations, ratios
from edge_tqs.report.plot import Line, Points, line_plot, point_plot


def ranks(records: Sequence[Record]) -> str:
    colours = {"TQS": "mixed", "HAWQ-V2": "int4", "one-step noise": "int8", "weight error": "truth"}
    lines = [
        Line(method, colour, sorted(correlations(records, method, "expected")), start=1)
        for method, colour in colours.items()
    ]
    return line_plot(
        lines,
        ident="ranks",
        title="Rank correlation with the expected int4 damage, each model one step",
        description="Spearman's correlation of each method on every model, sorted for each method by itself.",
        x_label="models, each curve sorted",
        y_label="Spearman",
        log=False,
        standalone=True,
    )


def budgets(records: Sequence[Record]) -> str:
    shown = {
        "random": ("random", "truth"),
        "HAWQ-V2": ("HAWQ-V2", "int4"),
        "TQS": ("TQS", "int8"),
        "leave-one-out": ("leave-one-out", "device"),
        PLAIN: ("refined", "mixed"),
        FULL: ("+ clip + bias", "float"),
    }
    lines = []
    for method, (label, colour) in shown.items():
        at = [geometric_mean(ratios(records, method, "optimum", [share])) for share in SHARES]
        between = np.interp(np.arange(SHARES[0], SHARES[-1] + 1), SHARES, at)
        lines.append(Line(label, colour, [float(value) for value in between], start=SHARES[0]))
    return line_plot(
        lines,
        ident="budgets",
        title="Divergence over that of the exhaustive optimum",
        description="Geometric means at 10, 25, 50 and 75 % of the bytes between all-int4 and all-int8.",
        x_label="budget, % of the bytes between all-int4 and all-int8",
        y_label="RMSE over the optimum's",
        log=False,
        from_zero=True,
        standalone=True,
    )


def against_hawq(records: Sequence[Record]) -> str:
    lines = [
        Line(label, colour, sorted(ratios(records, method, "HAWQ-V2")), start=1)
        for method, label, colour in ((PLAIN, "refined", "mixed"), (FULL, "refined + clip + bias", "float"))
    ]
    lines.append(Line("HAWQ-V2", "int4", [1.0] * len(lines[0].values), start=1, dash="5 4"))
    return line_plot(
        lines,
        ident="hawq",
        title="Divergence over that of HAWQ-V2's plan of the same bytes, each model and budget one step",
        description="Ratios of RMSE, each curve sorted by itself; above 1 HAWQ-V2's plan is better.",
        x_label="models and budgets, each curve sorted",
        y_label="RMSE over HAWQ-V2's",
        log=False,
        from_zero=True,
        standalone=True,
    )


def growth(points: Sequence[Mapping[str, Any]]) -> str:
    colours = {"TQS": "mixed", "HAWQ-V2": "int4", "refined": "float"}
    series = []
    for method, colour in colours.items():
        placed = [(math.log10(p["parameters"]), p["seconds"][method]) for p in points if method in p["seconds"]]
        series.append(Points(method, colour, placed, joined=True))
    return point_plot(
        series,
        ident="growth",
        title="CPU seconds over parameters",
        description="An MLP of three hidden layers, rollouts of 48 steps.",
        x_label="parameters, power of ten",
        y_label="CPU seconds",
        standalone=True,
    )
