"""Tables of docs/evidence.md, from the records of evaluate."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.evidence.judge import SHARES
from benchmarks.evidence.methods import COMPENSATIONS, ON_DATA, REFINEMENTS, UNIFORM
from benchmarks.evidence.statistics import geometric_mean, median, spearman
from benchmarks.evidence.whole import ACTIVATIONS

Record = Mapping[str, Any]
RANKED = ("TQS", "HAWQ-V2", "leave-one-out", "one-step noise", "weight error")
PLANNED = ("random", "weight error", "one-step noise", "HAWQ-V2", "leave-one-out", "TQS", *REFINEMENTS, *ON_DATA)
PLAIN, FULL = "refined", "refined + clip + bias"
BEST = "candidates"
PLAIN_ON_DATA = f"{PLAIN}, training windows"
#: Recipes of the peer for weights alone; and for whole models, TFLite's converter first.
WEIGHT_ONLY = ("int8", "int8 GPTQ", "int4", "int4 GPTQ", "int4 OCTAV", "int4 OSCAR")
WHOLE = ("converter int8", "static int8", "static int16")
#: Draws of the random ranking, a model.
RANDOM = 200
#: Resamplings of an interval.
BOOTSTRAPS = 400


def name(record: Record) -> str:
    return f"{record['architecture']}, {record['series']}, {record['training_seed']}"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)]) + "\n"


def divergence(record: Record, method: str, share: int) -> float:
    """RMSE of a method's plan; of several plans, their geometric mean."""
    found = record["plans"][method]["divergence"][str(share)]
    return geometric_mean(found) if isinstance(found, list) else float(found)


def ratios(records: Sequence[Record], method: str, over: str, shares: Sequence[int] = SHARES) -> list[float]:
    """RMSE of one method's plans over another's, or over the "optimum", of the models that have both."""
    found = []
    for record in records:
        if method not in record["plans"]:
            continue
        for share in shares:
            if over != "optimum":
                found.append(divergence(record, method, share) / divergence(record, over, share))
            elif record["optimum"]:
                found.append(divergence(record, method, share) / record["optimum"][str(share)])
    return found


def correlations(records: Sequence[Record], method: str, truth: str) -> list[float]:
    """Spearman of a method with the "isolated" or "expected" damage, a model each; random: the mean of RANDOM."""
    found = []
    for index, record in enumerate(records):
        if method != "random":
            found.append(spearman(record["damages"][method], record[truth]))
            continue
        rng = np.random.default_rng(index)
        draws = [spearman(list(rng.random(len(record[truth]))), record[truth]) for _ in range(RANDOM)]
        found.append(float(np.mean(draws)))
    return found


def rank_table(records: Sequence[Record], methods: Sequence[str] = (*RANKED, "random")) -> str:
    """Median and quartiles of each method, over all models."""
    rows = []
    for method in methods:
        row = [method]
        for truth in ("expected", "isolated"):
            found = correlations(records, method, truth)
            low, high = np.quantile(found, [0.25, 0.75])
            row += [f"{median(found):.2f}", f"{low:.2f} to {high:.2f}"]
        rows.append(row)
    return table(["method", "expected damage: median", "quartiles", "isolated damage: median", "quartiles"], rows)


def by_share(records: Sequence[Record], methods: Sequence[str], over: str) -> str:
    rows = []
    for method in methods:
        by_share = [geometric_mean(ratios(records, method, over, [share])) for share in SHARES]
        every = geometric_mean(ratios(records, method, over))
        worst = max(ratios(records, method, over))
        rows.append([method, *(f"{v:.2f}" for v in by_share), f"{every:.2f}", f"{every**2:.2f}", f"{worst:.2f}"])
    return table(["method", *(f"{share} %" for share in SHARES), "all, RMSE", "all, mean square", "worst, RMSE"], rows)


def optimum_table(records: Sequence[Record]) -> str:
    return by_share([record for record in records if record["optimum"]], PLANNED, "optimum")


def hawq_table(records: Sequence[Record]) -> str:
    return by_share(records, [method for method in PLANNED if method != "HAWQ-V2"], "HAWQ-V2")


def grouped(records: Sequence[Record]) -> dict[tuple[str, str], list[Record]]:
    """The training seeds of each pair."""
    found: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        found.setdefault((record["architecture"], record["series"]), []).append(record)
    return found


def interval(records: Sequence[Record], figure: Callable[[Sequence[Record]], float]) -> tuple[float, float]:
    """90 % bootstrap interval of a figure, pairs resampled with all their training seeds."""
    pairs = list(grouped(records).values())
    rng = np.random.default_rng(0)
    drawn = []
    for _ in range(BOOTSTRAPS):
        chosen = rng.integers(0, len(pairs), len(pairs))
        drawn.append(figure([record for index in chosen for record in pairs[index]]))
    low, high = np.quantile(drawn, [0.05, 0.95])
    return float(low), float(high)


def zoo_table(records: Sequence[Record]) -> str:
    rows = []
    for (architecture, series), same in grouped(records).items():
        errors = [geometric_mean([record["error"][kind] for record in same]) for kind in ("model", "persistence")]
        rows.append(
            [
                architecture,
                series,
                f"{same[0]['parameters']:,}",
                str(len(same[0]["weights"])),
                *(f"{error:.2f}" for error in errors),
                f"{same[0]['bytes']['int8']:,}",
                f"{same[0]['bytes']['int4']:,}",
            ]
        )
    header = ["architecture", "series", "parameters", "weights", "float RMSE", "persistence", "bytes int8", "int4"]
    return table(header, rows)


def pair_table(records: Sequence[Record], share: int = 50) -> str:
    """Divergence of each pair at one budget, geometric mean of its training seeds."""
    columns: dict[str, Callable[[Record], float | None]] = {
        "all int4": lambda record: record["uniform"]["int4"],
        "all int8": lambda record: record["uniform"]["int8"],
        "optimum": lambda record: record["optimum"] and record["optimum"][str(share)],
        "HAWQ-V2": lambda record: divergence(record, "HAWQ-V2", share),
        "TQS": lambda record: divergence(record, "TQS", share),
        PLAIN: lambda record: divergence(record, PLAIN, share),
        FULL: lambda record: divergence(record, FULL, share),
    }
    rows = []
    for (architecture, series), same in grouped(records).items():
        row = [architecture, series]
        for column in columns.values():
            values = [value for value in map(column, same) if value is not None]
            row.append(f"{geometric_mean(values):.3f}" if values else "")
        rows.append(row)
    return table(["architecture", "series", *columns], rows)


def whole(records: Sequence[Record]) -> list[Record]:
    """Those whose models were compensated, built whole and given to peers."""
    return [record for record in records if record["whole"]]


def compensated_table(records: Sequence[Record], over: str) -> str:
    """Compensated rounding, plans at equal bytes, over another method's."""
    methods = [method for method in (FULL, *COMPENSATIONS) if method != over]
    return by_share(whole(records), methods, over)


def uniform_ratios(records: Sequence[Record], width: str, way: str) -> list[float]:
    """RMSE of one width for all, rounded in that way, over the same rounded to nearest."""
    return [r["uniform"][f"{width} {way}"] / r["uniform"][width] for r in whole(records)]


def uniform_table(records: Sequence[Record]) -> str:
    rows = []
    for width in ("int8", "int4"):
        for way in UNIFORM:
            found = uniform_ratios(records, width, way)
            less = f"{sum(ratio < 1 for ratio in found)} of {len(found)}"
            rows.append([f"{width}, {way}", f"{geometric_mean(found):.2f}", f"{max(found):.2f}", less])
    return table(["all weights", "RMSE over nearest", "worst", "less in"], rows)


def _figure(found: Mapping[str, Any] | None, key: str, form: str) -> str:
    return format(found[key], form) if found and key in found else ""


def peer_table(records: Sequence[Record]) -> str:
    """Weights alone: divergence of the peer's recipes beside ours of the same widths."""
    rows = []
    for record in whole(records):
        row = [record["architecture"], record["series"]]
        for width in ("int8", "int4"):
            row += [
                _figure(record["peer"].get(recipe), "divergence", ".3f") for recipe in WEIGHT_ONLY if width in recipe
            ]
            row += [f"{record['uniform'][name]:.3f}" for name in (width, f"{width} candidates")]
        rows.append(row)
    header = ["architecture", "series"]
    for width in ("int8", "int4"):
        header += [recipe for recipe in WEIGHT_ONLY if width in recipe] + [f"our {width}, nearest", "candidates"]
    return table(header, rows)


def peer_files(records: Sequence[Record]) -> str:
    """Bytes of files: the peer's, float and weight-only, beside ours, all int8."""
    rows = []
    for record in whole(records):
        sizes = [_figure(record["peer"].get(name), "bytes", ",") for name in ("float", "int8", "int4", *WHOLE)]
        ours = [_figure(record["whole"].get(name), "bytes", ",") for name in ACTIVATIONS]
        rows.append([record["architecture"], record["series"], *sizes, *ours])
    header = ["float", "int8", "int4", *WHOLE, *(f"our {name} activations" for name in ACTIVATIONS)]
    return table(["architecture", "series", *header], rows)


def whole_table(records: Sequence[Record]) -> str:
    """Weights and activations: divergence of whole models, and the mean square error of ours over float's."""
    rows = []
    for record in whole(records):
        theirs = [_figure(record["peer"].get(name), "divergence", ".3f") for name in WHOLE]
        ours = [_figure(record["whole"].get(name), "divergence", ".3f") for name in ACTIVATIONS]
        errors = [_figure(record["whole"].get(name), "mse", ".3f") for name in ACTIVATIONS]
        rows.append([record["architecture"], record["series"], *theirs, *ours, *errors])
    ours = [f"our {name}" for name in ACTIVATIONS]
    return table(["architecture", "series", *WHOLE, *ours, *(f"MSE, {name}" for name in ours)], rows)


def whole_ratios(records: Sequence[Record], ours: str, rival: str) -> list[float]:
    """RMSE of our whole models with those activations over a rival's, of the models that both make."""
    return [
        record["whole"][ours]["divergence"] / record["peer"][rival]["divergence"]
        for record in whole(records)
        if "divergence" in record["whole"][ours] and "divergence" in record["peer"].get(rival, {})
    ]


def seconds_table(records: Sequence[Record]) -> str:
    rows = []
    for method in (*PLANNED, *COMPENSATIONS):
        found = [record["plans"][method]["seconds"] for record in records if method in record["plans"]]
        rows.append([method, f"{median(found):.1f}", f"{max(found):.1f}"])
    for recipe in ("int4", "int4 GPTQ"):
        peer = [record["peer"][recipe]["seconds"] for record in records if "seconds" in record["peer"].get(recipe, {})]
        if peer:
            rows.append([f"ai-edge-quantizer, {recipe}", f"{median(peer):.2f}", f"{max(peer):.2f}"])
    return table(["method", "median, s", "most, s"], rows)


def losses(records: Sequence[Record]) -> dict[str, list[str]]:
    """What is lost: title -> one line a model, worst first."""
    found: dict[str, list[tuple[float, str]]] = {}

    def add(title: str, ratio: float, text: str) -> None:
        found.setdefault(title, [])
        if ratio > 1 + 1e-9:
            found[title].append((ratio, text))

    for record in records:
        for method, rival in (
            (BEST, FULL),
            (BEST, "HAWQ-V2"),
            (FULL, "HAWQ-V2"),
            (PLAIN, "HAWQ-V2"),
            (FULL, PLAIN),
            ("TQS", "HAWQ-V2"),
        ):
            each = ratios([record], method, rival)
            if not each:
                continue
            mean = geometric_mean(each)
            text = f"{name(record)}: {mean:.2f} ({', '.join(f'{ratio:.2f}' for ratio in each)})"
            add(f"The plan of {method} diverges more than that of {rival}", mean, text)
        if record["optimum"]:
            mean = geometric_mean(ratios([record], PLAIN, "optimum"))
            add(f"{PLAIN} is more than 1.20 of the optimum", mean / 1.2, f"{name(record)}: {mean:.2f}")
        for rival in WHOLE[:2]:
            for ratio in whole_ratios([record], "int8", rival):
                title = f"All int8, the whole model diverges more than that of {rival}"
                add(title, ratio, f"{name(record)}: {ratio:.2f}")
        own, other = (spearman(record["damages"][method], record["expected"]) for method in ("TQS", "HAWQ-V2"))
        text = f"{name(record)}: {own:.2f}, HAWQ-V2 {other:.2f}"
        add("TQS ranks the expected damage worse than HAWQ-V2", 1 + other - own, text)
    return {title: [text for _, text in sorted(lines, reverse=True)] for title, lines in found.items()}


def compared(records: Sequence[Record], title: str) -> int:
    """Models that a title of `losses` is about."""
    return len(whole(records) if BEST in title or title.startswith("All int8") else records)


def growth_table(points: Sequence[Mapping[str, Any]], axis: str) -> str:
    methods = list(points[0]["seconds"])
    rows = [
        [f"{point[axis]:,}", *(f"{point['seconds'][m]:.1f}" if m in point["seconds"] else "" for m in methods)]
        for point in points
    ]
    return table([axis, *(f"{method}, s" for method in methods)], rows)
