"""docs/evidence-kinds.md, from the records."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.evidence import tables
from benchmarks.evidence.evaluate import WINDOWS
from benchmarks.evidence.judge import CHANNEL_BYTES, ROUNDINGS, SHARES
from benchmarks.evidence.kinds.evaluate import COMPENSATED, REFINED
from benchmarks.evidence.kinds.problem import AHEAD, MEASUREMENT_NOISE
from benchmarks.evidence.page import TIE, mean_ratio
from benchmarks.evidence.rivals import HESSIAN_WINDOWS, VECTORS
from benchmarks.evidence.rivals import WINDOWS as RIVAL_WINDOWS
from benchmarks.evidence.statistics import geometric_mean, median, spearman
from benchmarks.evidence.tables import Record, correlations, ratios
from benchmarks.evidence.zoo import HORIZON
from edge_tqs.planning.score import SEEDS
from edge_tqs.templates import fill

HERE = Path(__file__).resolve().parent
ON_DATA = "TQS, training windows"
RANKED = ("TQS", ON_DATA, "HAWQ-V2", "leave-one-out", "one-step noise", "weight error", "random")
PLANNED = ("random", "weight error", "one-step noise", "leave-one-out", "TQS", ON_DATA, *REFINED, *COMPENSATED)
SHOWN_PLANS = (REFINED[-1], COMPENSATED[0])
#: Share of the budget that the table of models shows.
SHOWN = 50
#: A correlation that differs by less is the same: 3 weights have but 4 values of it.
SAME = 1e-9
NOTHING_LEFT = "*left to the next step:* nothing"


def _summary(records: Sequence[Record]) -> str:
    """Figures over all models with their intervals, and where TQS stands beside HAWQ-V2."""

    def ranking(method: str) -> Callable[[Sequence[Record]], float]:
        return lambda chosen: median(correlations(chosen, method, "expected"))

    figures: dict[str, Callable[[Sequence[Record]], float]] = {}
    for method in ("TQS", ON_DATA, "HAWQ-V2", "one-step noise"):
        figures[f"median Spearman of {method} with the expected int4 damage"] = ranking(method)
    for method in ("TQS", ON_DATA, *REFINED, *COMPENSATED):
        figures[f"plans of {method} over those of HAWQ-V2, RMSE"] = mean_ratio(method, "HAWQ-V2", 1)
        figures[f"plans of {method} over those of HAWQ-V2, mean square"] = mean_ratio(method, "HAWQ-V2", 2)
    for method in COMPENSATED:
        figures[f"plans of {method} over those of {REFINED[-1]}, RMSE"] = mean_ratio(method, REFINED[-1], 1)
        figures[f"int8 of {method} over nearest's, RMSE"] = _int8(method)
    rows = []
    for text, figure in figures.items():
        low, high = tables.interval(records, figure)
        rows.append([text, f"{figure(records):.3f}", f"{low:.2f} to {high:.2f}"])
    return tables.table(["all models; of plans the geometric mean over all budgets", "found", "90 % interval"], rows)


def _int8(method: str) -> Callable[[Sequence[Record]], float]:
    """Divergence of every weight int8, over that of rounding to nearest."""
    return lambda chosen: geometric_mean(
        [record["uniform"][f"int8 {method}"] / record["uniform"]["int8"] for record in chosen]
    )


def _counts(records: Sequence[Record]) -> str:
    own, other = (median(correlations(records, method, "expected")) for method in ("TQS", "HAWQ-V2"))
    word = "better than" if own > other + SAME else "worse than" if own < other - SAME else "as well as"
    lines = [
        f"- By the median, TQS alone ranks the weights of these kinds {word} HAWQ-V2, which sees data and gradients.\n"
    ]
    for what, method in (
        ("What the tool does without data", COMPENSATED[0]),
        ("What it does with data", COMPENSATED[1]),
        ("What it does with `--rounding nearest`", REFINED[-1]),
    ):
        full = ratios(records, method, "HAWQ-V2")
        lines.append(
            f"- {what} ({method}) diverges less than HAWQ-V2's plan in {sum(ratio < 1 - TIE for ratio in full)} of "
            f"{len(full)} cases, more in {sum(ratio > 1 + TIE for ratio in full)}.\n"
        )
    for rival in ("HAWQ-V2", "one-step noise"):
        gains = np.subtract(correlations(records, "TQS", "expected"), correlations(records, rival, "expected"))
        plans = ratios(records, "TQS", rival)
        lines.append(
            f"- Beside {rival}, TQS ranks the weights better in {int((gains > SAME).sum())} of {len(records)} models, "
            f"worse in {int((gains < -SAME).sum())}; its plan diverges less in "
            f"{sum(ratio < 1 - TIE for ratio in plans)} of {len(plans)} cases (model and budget), more in "
            f"{sum(ratio > 1 + TIE for ratio in plans)}, and is as good in the others.\n"
        )
    return "".join(lines)


def _groups(records: Sequence[Record]) -> dict[str, list[Record]]:
    """The models by kind, and by what one step leaves to the next."""
    found: dict[str, list[Record]] = {}
    for leaves in (lambda record: record["kind"], _left):
        for record in records:
            found.setdefault(leaves(record), []).append(record)
    return found


def _left(record: Record) -> str:
    """What a step of the rollout leaves to the next."""
    if record["kind"] == "partly fed back":
        return "*left to the next step:* an output"
    if record["kind"] == "filter":
        return f"*left to the next step:* {'delay lines' if record['model'] == 'tcn-filter' else 'states'}"
    return NOTHING_LEFT


def _horizon(records: Sequence[Record]) -> str:
    """What the horizon was worth, in a sentence each."""
    lines = []
    adds_up = ("states", "an output")
    for name, chosen in (
        ("no error reaches the next step", [record for record in records if not _left(record).endswith(adds_up)]),
        ("errors do, by states or an output", [record for record in records if _left(record).endswith(adds_up)]),
    ):
        if chosen:
            own, single = (float(np.mean(correlations(chosen, m, "expected"))) for m in ("TQS", "one-step noise"))
            over = geometric_mean(ratios(chosen, "TQS", "one-step noise"))
            lines.append(
                f"- Where {name} ({len(chosen)} models), the mean Spearman of TQS is {own:.2f}, that of one-step noise "
                f"{single:.2f}; the plans of TQS have {over:.2f} of the RMSE of those of one-step noise.\n"
            )
    return "".join(lines)


def kind_table(records: Sequence[Record]) -> str:
    """Mean rank correlations with the expected damage, and ratios of plans, of each group."""
    methods = ("TQS", ON_DATA, "HAWQ-V2", "one-step noise")
    rows = []
    for name, chosen in _groups(records).items():
        row = [name, str(len(chosen))]
        row += [f"{float(np.mean(correlations(chosen, method, 'expected'))):.2f}" for method in methods]
        row += [
            f"{geometric_mean(ratios(chosen, method, 'HAWQ-V2')):.2f}" for method in ("TQS", *REFINED, *COMPENSATED)
        ]
        rows.append(row)
    header = ["", "models", *(f"Spearman {method}" for method in methods)]
    return tables.table([*header, *(f"plans, {method}" for method in ("TQS", *REFINED, *COMPENSATED))], rows)


def plan_table(records: Sequence[Record]) -> str:
    """RMSE of plans over that of HAWQ-V2's by budget."""
    return tables.by_share(records, PLANNED, "HAWQ-V2")


def _error(record: Record, of: str) -> str:
    value = record["error"][of]
    return f"{100 * value:.0f} % wrong" if record["kind"] == "classes" else f"{value:.2f}"


def zoo_table(records: Sequence[Record]) -> str:
    """Each model, its float error beside the naive answer's, and its divergence under some plans."""
    rows = []
    for record in records:
        worse = " (**worse**)" if record["error"]["model"] >= record["error"]["naive"] else ""
        rows.append(
            [
                record["kind"],
                record["model"],
                record["series"],
                f"{record['parameters']:,}",
                str(len(record["weights"])),
                _error(record, "model") + worse,
                f"{_error(record, 'naive')}, {record['error']['by']}",
                *(f"{record['uniform'][width]:.3f}" for width in ("int4", "int8")),
                *(f"{tables.divergence(record, method, SHOWN):.3f}" for method in ("HAWQ-V2", "TQS", *SHOWN_PLANS)),
            ]
        )
    header = ["kind", "architecture", "series", "parameters", "weights", "float error", "naive error", "all int4"]
    return tables.table([*header, "all int8", "HAWQ-V2", "TQS", *SHOWN_PLANS], rows)


def losses(records: Sequence[Record]) -> dict[str, list[str]]:
    """Where TQS loses against HAWQ-V2: title -> one line a model, worst first."""
    ranked, planned = [], []
    for record in records:
        own, other = (spearman(record["damages"][method], record["expected"]) for method in ("TQS", "HAWQ-V2"))
        if own < other - SAME:
            ranked.append((other - own, f"{tables.name(record)}: {own:.2f}, HAWQ-V2 {other:.2f}"))
        for method in ("TQS", *REFINED, *COMPENSATED):
            each = ratios([record], method, "HAWQ-V2")
            mean = geometric_mean(each)
            if mean > 1 + TIE:
                shares = ", ".join(f"{ratio:.2f}" for ratio in each)
                planned.append((mean, f"{method}: {tables.name(record)}: {mean:.2f} ({shares})"))
    return {
        "TQS ranks the expected damage worse than HAWQ-V2": [text for _, text in sorted(ranked, reverse=True)],
        "A plan diverges more than that of HAWQ-V2": [text for _, text in sorted(planned, reverse=True)],
    }


def _losses(records: Sequence[Record]) -> str:
    parts = []
    for title, lines in losses(records).items():
        parts.append(f"\n### {title}\n\n" + ("".join(f"- {line}\n" for line in lines) or "None.\n"))
    return "".join(parts)


def text(measured: Sequence[Record], settings: Mapping[str, int]) -> str:
    """The page."""
    # Pairs, which intervals resample, and names are of kind and architecture together.
    records: list[dict[str, Any]] = [
        {**record, "model": record["architecture"], "architecture": f"{record['kind']}, {record['architecture']}"}
        for record in measured
    ]
    values = {
        "MODELS": len(records),
        "KINDS": len({record["kind"] for record in records}),
        "SERIES": len({record["series"] for record in records}),
        "HORIZON": HORIZON,
        "WINDOWS": WINDOWS,
        "ROUNDINGS": ROUNDINGS,
        "CHANNEL": CHANNEL_BYTES,
        "SHARES": ", ".join(map(str, SHARES)),
        "SHOWN": SHOWN,
        "DRAWS": settings["draws"],
        "SEEDS": SEEDS,
        "STEPS_IN_ALL": SEEDS * HORIZON,
        "COUNT": settings["seeds"],
        "VECTORS": VECTORS,
        "HESSIAN": HESSIAN_WINDOWS,
        "RIVAL": RIVAL_WINDOWS,
        "AHEAD": AHEAD,
        "NOISE": MEASUREMENT_NOISE,
        "APART": f"{max(record['apart'] for record in records):.0e}",
        "GRAPH_APART": f"{max(record['graph_apart'] for record in records):.0e}",
        "SUMMARY": _summary(records),
        "COUNTS": _counts(records),
        "RANKS": tables.rank_table(records, RANKED),
        "BY_KIND": kind_table(records),
        "HORIZON_ADDS": _horizon(records),
        "PLANS": plan_table(records),
        "ZOO": zoo_table(records),
        "LOSSES": _losses(records),
    }
    template = (HERE / "evidence-kinds.md.in").read_text(encoding="utf-8")
    return fill(template, {name: str(value) for name, value in values.items()}).rstrip() + "\n"
