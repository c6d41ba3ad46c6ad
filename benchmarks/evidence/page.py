"""docs/evidence.md and its plots, from the records."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.evidence import plots, tables
from benchmarks.evidence.evaluate import WINDOWS
from benchmarks.evidence.judge import EXHAUSTIVE, ROUNDINGS, SHARES
from benchmarks.evidence.rivals import HESSIAN_WINDOWS, VECTORS
from benchmarks.evidence.rivals import WINDOWS as RIVAL_WINDOWS
from benchmarks.evidence.statistics import geometric_mean, median
from benchmarks.evidence.tables import (
    BEST,
    FULL,
    PLAIN,
    PLAIN_ON_DATA,
    WEIGHT_ONLY,
    WHOLE,
    Record,
    correlations,
    ratios,
    uniform_ratios,
    whole,
    whole_ratios,
)
from benchmarks.evidence.whole import ACTIVATIONS
from benchmarks.evidence.zoo import HORIZON
from edge_tqs.templates import fill

HERE = Path(__file__).resolve().parent
#: A ratio this near to 1 is a tie: the plans are the same.
TIE = 1e-9


@dataclass(frozen=True)
class Bar:
    """A figure of records beside what it was to be: ``bound`` at most, or at least."""

    text: str
    figure: Callable[[Sequence[Record]], float]
    bound: float
    most: bool = True

    def row(self, records: Sequence[Record]) -> list[str]:
        value = self.figure(records)
        low, high = tables.interval(records, self.figure)
        met = value <= self.bound if self.most else value >= self.bound
        sign = "<=" if self.most else ">="
        said = "met" if met else "**missed**"
        return [self.text, f"{value:.3f}", f"{low:.2f} to {high:.2f}", f"{sign} {self.bound:.2f}", said]


def mean_ratio(method: str, rival: str, power: int) -> Callable[[Sequence[Record]], float]:
    """The geometric mean of the ratios of RMSE (power 1) or of mean square (power 2)."""
    return lambda records: geometric_mean(ratios(records, method, rival)) ** power


def bars() -> list[Bar]:
    """The figures that were promised, by both measures of divergence."""
    found = []
    for text, method, rival, bound in (
        (f"{PLAIN} (no clipping, no bias correction) over HAWQ-V2", PLAIN, "HAWQ-V2", 0.70),
        (f"{PLAIN}, from training windows as HAWQ-V2 is, over HAWQ-V2", PLAIN_ON_DATA, "HAWQ-V2", 0.70),
        (f"{FULL} over HAWQ-V2", FULL, "HAWQ-V2", 0.50),
        (f"{PLAIN} over the exhaustive optimum of the same choices", PLAIN, "optimum", 1.20),
    ):
        found.append(Bar(f"{text}, mean square", mean_ratio(method, rival, 2), bound))
        found.append(Bar(f"{text}, RMSE", mean_ratio(method, rival, 1), bound))
    found.append(Bar(f"{BEST} over {FULL}, RMSE", mean_ratio(BEST, FULL, 1), 0.45))
    found.append(Bar(f"{BEST} over HAWQ-V2, mean square", mean_ratio(BEST, "HAWQ-V2", 2), 0.12))
    text = f"all int8, {BEST} over rounding to nearest, RMSE"
    found.append(Bar(text, lambda records: geometric_mean(uniform_ratios(records, "int8", BEST)), 0.30))
    text = "TQS alone: median Spearman with the expected int4 damage"
    found.append(Bar(text, lambda records: median(correlations(records, "TQS", "expected")), 0.82, most=False))
    return found


def _summary(records: Sequence[Record]) -> str:
    rows = [bar.row(records) for bar in bars()]
    text = tables.table(
        ["divergence at equal bytes: geometric mean of all models and budgets", "found", "90 % interval", "bar", ""],
        rows,
    )
    hawq = median(correlations(records, "HAWQ-V2", "expected"))
    single = median(correlations(records, "one-step noise", "expected"))
    a_priori = geometric_mean(ratios(records, "TQS", "HAWQ-V2"))
    open_loop = geometric_mean(ratios(records, "one-step noise", "HAWQ-V2"))
    over = ratios(records, "HAWQ-V2", "optimum")
    left = 1 / geometric_mean(over)
    mine = ratios(records, FULL, "HAWQ-V2")
    return text + (
        f"\n- Medians of Spearman with the expected int4 damage: HAWQ-V2 {hawq:.2f}, one-step noise {single:.2f}.\n"
        f"- TQS alone, which sees no data, plans with {a_priori:.2f} of the RMSE of HAWQ-V2's plans "
        f"({a_priori**2:.2f} of the mean square), one-step noise with {open_loop:.2f} ({open_loop**2:.2f}).\n"
        "- What widths alone could gain: the optimum, which knows the judging windows, has "
        f"{left**2:.2f} of the mean square divergence of HAWQ-V2's plans ({left:.2f} of the RMSE). HAWQ-V2's plan is "
        f"that optimum in {sum(ratio <= 1 + TIE for ratio in over)} of {len(over)} cases (model and budget).\n"
        f"- {FULL} diverges less than HAWQ-V2's plan in {sum(ratio < 1 - TIE for ratio in mine)} of {len(mine)} cases, "
        f"more in {sum(ratio > 1 + TIE for ratio in mine)}.\n"
    )


def _settings(settings: Mapping[str, int], candidates: Mapping[str, Mapping[int, float]]) -> str:
    draws = ", ".join(f"{count}: {value:.3f}" for count, value in candidates["draws"].items())
    seeds = ", ".join(f"{count}: {value:.3f}" for count, value in candidates["seeds"].items())
    return (
        f"- Draws of the score: **{settings['draws']}**, by the median Spearman with the expected damage ({draws}).\n"
        f"- Zero-data windows of the refinement: **{settings['seeds']}**, by the geometric mean of the RMSE of {FULL} "
        f"over HAWQ-V2's ({seeds}).\n"
    )


def _losses(records: Sequence[Record]) -> str:
    parts = []
    for title, lines in tables.losses(records).items():
        parts.append(f"\n### {title}: {len(lines)} of {tables.compared(records, title)}\n\n")
        parts.append("".join(f"- {line}\n" for line in lines) or "None.\n")
    return "".join(parts)


def _apart(records: Sequence[Record]) -> str:
    found = [record["peer"]["apart"] for record in records if "apart" in record["peer"]]
    return f"{max(found):.1g}" if found else "(not measured)"


def _against_peer(records: Sequence[Record]) -> str:
    """Ours over each recipe of the same width; geometric means of the models that both make."""
    lines = []
    for recipe in WEIGHT_ONLY:
        width = recipe.partition(" ")[0]
        over = [
            record["uniform"][f"{width} {BEST}"] / record["peer"][recipe]["divergence"]
            for record in whole(records)
            if "divergence" in record["peer"].get(recipe, {})
        ]
        if over:
            less = f"{sum(ratio < 1 for ratio in over)} of {len(over)}"
            lines.append(f"- {width}, {BEST}, over the peer's {recipe}: {geometric_mean(over):.2f}, less in {less}\n")
    return "".join(lines)


def _against_whole(records: Sequence[Record]) -> str:
    lines = []
    for rival in WHOLE:
        for ours in ACTIVATIONS:
            over = whole_ratios(records, ours, rival)
            if over:
                less = f"{sum(ratio < 1 for ratio in over)} of {len(over)}"
                lines.append(f"- our {ours} over {rival}: {geometric_mean(over):.2f}, less in {less}\n")
    return "".join(lines)


def _growth(grown: Mapping[str, Any]) -> str:
    if not grown:
        return ""
    each = [tables.growth_table(points, axis) for axis, points in grown.items()]
    return fill((HERE / "growth.md.in").read_text(encoding="utf-8"), {"TABLES": "\n".join(each)})


def files(
    records: Sequence[Record],
    settings: Mapping[str, int],
    candidates: Mapping[str, Mapping[int, float]],
    grown: Mapping[str, Any],
) -> dict[str, str]:
    """Text by file name: evidence.md and its plots. Without ``grown`` the page has no section on growth."""
    optimal = [record for record in records if record["optimum"]]
    values = {
        "MODELS": len(records),
        "ARCHITECTURES": len({record["architecture"] for record in records}),
        "SERIES": len({record["series"] for record in records}),
        "TRAINING_SEEDS": len({record["training_seed"] for record in records}),
        "HORIZON": HORIZON,
        "SUMMARY": _summary(records),
        "WINDOWS": WINDOWS,
        "ROUNDINGS": ROUNDINGS,
        "SHARES": ", ".join(map(str, SHARES)),
        "EXHAUSTIVE": EXHAUSTIVE,
        "DRAWS": settings["draws"],
        "COUNT": settings["seeds"],
        "VECTORS": VECTORS,
        "HESSIAN": HESSIAN_WINDOWS,
        "RIVAL": RIVAL_WINDOWS,
        "ZOO": tables.zoo_table(records),
        "RANKS": tables.rank_table(records),
        "OPTIMAL": len(optimal),
        "OPTIMUM": tables.optimum_table(optimal),
        "HAWQ": tables.hawq_table(records),
        "PAIRS": tables.pair_table(records),
        "WHOLES": len(whole(records)),
        "COMPENSATED": tables.compensated_table(records, FULL),
        "COMPENSATED_HAWQ": tables.compensated_table(records, "HAWQ-V2"),
        "UNIFORM": tables.uniform_table(records),
        "PEERS": tables.peer_table(records),
        "WHOLE": tables.whole_table(records),
        "AGAINST_WHOLE": _against_whole(records),
        "FILES": tables.peer_files(records),
        "APART": _apart(records),
        "AGAINST_PEER": _against_peer(records),
        "SECONDS": tables.seconds_table(records),
        "GROWTH": _growth(grown),
        "LOSSES": _losses(records),
        "SETTINGS": _settings(settings, candidates),
    }
    template = (HERE / "evidence.md.in").read_text(encoding="utf-8")
    found = {
        "evidence.md": fill(template, {name: str(value) for name, value in values.items()}).rstrip() + "\n",
        "evidence_ranks.svg": plots.ranks(records),
        "evidence_budgets.svg": plots.budgets(optimal),
        "evidence_hawq.svg": plots.against_hawq(records),
    }
    if grown:
        found["evidence_growth.svg"] = plots.growth(grown["parameters"])
    return found
