"""Compare ways to plan, on any Keras forecasters, with the best assignment of widths that there is.

    python benchmarks/planning.py model.keras [model.keras=data.csv:TRAIN_ROWS ...]

For each model and each of 25, 50 and 75 % of the byte gap between the smallest plan and all-int8, prints the divergence
(RMSE from float, rounded weights and float activations) of several plans over that of the exhaustive optimum: every
assignment of int8 and int4 within the budget, rolled out. Plans are made with zero-data windows, always; they are
judged over held-out ones: zero-data windows of another seed, and windows after TRAIN_ROWS where data is named. The
optimum is chosen on the judging windows themselves, with max-scaled weights and no correction: a plan that clips or
corrects can be below 1.
"""

from __future__ import annotations

import argparse
import itertools
import math
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt

from edge_tqs.graph import Graph
from edge_tqs.graph_system import graph_system
from edge_tqs.keras_model import load
from edge_tqs.plan import Plan, assigned, plan
from edge_tqs.refine import SEEDS, Refiner, RefineSettings
from edge_tqs.score import score
from edge_tqs.seeds import zero_data_seeds
from edge_tqs.series import read_series, standard_scaling, windows
from edge_tqs.sizes import weight_bytes

Array = npt.NDArray[Any]

SHARES = (25, 50, 75)
HELD_OUT = 64
HELD_OUT_SEED = 1_000
EXHAUSTIVE = 12
NOTHING = RefineSettings(gram=False, clip=False, verify=False, bias_correction=False)
METHODS = {
    "a priori": None,
    "a priori, verified": RefineSettings(gram=False, clip=False, bias_correction=False),
    "refined, no clip or bias": RefineSettings(clip=False, bias_correction=False),
    "refined": RefineSettings(),
}


@dataclass(frozen=True)
class Row:
    """One model at one budget, judged on one kind of window: divergence of the optimum and of each method's plan."""

    model: str
    windows: str
    share: int
    budget: int
    optimum: float
    divergence: dict[str, float]


def held_out(graph: Graph, data: str, horizon: int) -> dict[str, Array]:
    """Windows (N, W, F) to judge with, by kind. data: "FILE:TRAIN_ROWS" or empty."""
    kinds = {"zero data": zero_data_seeds(graph_system(graph), HELD_OUT, horizon, HELD_OUT_SEED)}
    if data:
        file, _, rows = data.rpartition(":")
        series = read_series(Path(file))
        scaling = standard_scaling(series, int(rows))
        kinds["real"], _ = windows(series, graph.forecast.window, horizon, HELD_OUT, rows=int(rows), scaling=scaling)
    return kinds


def measure(path: Path, data: str, horizon: int) -> tuple[list[Row], dict[str, float]]:
    """The rows of one model, and the seconds that each method took for all budgets."""
    graph = load(path).graph
    costs = weight_bytes(graph)
    if len(costs) > EXHAUSTIVE:
        sys.exit(f"{path} has {len(costs)} weights: more than {EXHAUSTIVE} are not enumerated")
    started = time.monotonic()
    scores = {tensor.name: tensor.tqs for tensor in score(graph_system(graph), horizon=horizon).tensors}
    seconds = {"score": time.monotonic() - started}
    smallest = sum(min(options.values()) for options in costs.values())
    largest = sum(options[8] for options in costs.values())
    budgets = {share: smallest + (largest - smallest) * share // 100 for share in SHARES}
    planning = zero_data_seeds(graph_system(graph), SEEDS, horizon, 0)
    found: dict[int, dict[str, Plan]] = {share: {} for share in SHARES}
    for name, settings in METHODS.items():
        started = time.monotonic()
        refiner = settings and Refiner(graph_system(graph), scores, costs, planning, horizon, settings=settings)
        for share, budget in budgets.items():
            made = refiner.plan(budget) if refiner else plan(scores, costs, budget)
            assert made.total_bytes <= budget
            found[share][name] = made
        seconds[name] = time.monotonic() - started
    rows = []
    for kind, seeds in held_out(graph, data, horizon).items():
        judge = Refiner(graph_system(graph), scores, costs, seeds, horizon, settings=NOTHING)
        every = []
        for widths in itertools.product((8, 4), repeat=len(costs)):
            made = assigned(scores, costs, dict(zip(costs, widths, strict=True)), None, {})
            every.append((made.total_bytes, judge.measure(made)))
        for share, budget in budgets.items():
            optimum = min(divergence for size, divergence in every if size <= budget)
            divergence = {name: judge.measure(made) for name, made in found[share].items()}
            rows.append(Row(path.stem, kind, share, budget, optimum, divergence))
    return rows, seconds


def geometric_mean(values: list[float]) -> float:
    return math.exp(math.fsum(map(math.log, values)) / len(values))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", metavar="MODEL[=CSV:TRAIN_ROWS]")
    parser.add_argument("--horizon", type=int, default=96)
    args = parser.parse_args()
    print("| model | judged on | budget, bytes | optimum, RMSE | " + " | ".join(METHODS) + " |")
    print("|---|---|---|---|" + "---|" * len(METHODS))
    rows: list[Row] = []
    spent: dict[str, dict[str, float]] = {}
    for given in args.models:
        model, _, data = given.partition("=")
        found, spent[Path(model).stem] = measure(Path(model), data, args.horizon)
        rows += found
        for row in found:
            ratios = " | ".join(f"{row.divergence[name] / row.optimum:.2f}" for name in METHODS)
            print(f"| {row.model} | {row.windows} | {row.share} %: {row.budget:,} | {row.optimum:.4f} | {ratios} |")
    for kind in dict.fromkeys(row.windows for row in rows):
        of_kind = [row for row in rows if row.windows == kind]
        means = [geometric_mean([row.divergence[name] / row.optimum for row in of_kind]) for name in METHODS]
        print(f"| geometric mean | {kind} | | | " + " | ".join(f"{mean:.2f}" for mean in means) + " |")
    print("\nSeconds for the three budgets:\n\n| model | " + " | ".join(next(iter(spent.values()))) + " |")
    print("|---|" + "---|" * len(next(iter(spent.values()))))
    for model, seconds in spent.items():
        print(f"| {model} | " + " | ".join(f"{value:.1f}" for value in seconds.values()) + " |")


if __name__ == "__main__":
    main()
