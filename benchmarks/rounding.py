"""Compensated rounding beside rounding to nearest: divergence of closed loops, weights alone, on windows held out.

    python -m benchmarks.rounding [--training-seeds N] [--data] [ARCHITECTURE ...]

For each model of the zoo's judging half (benchmarks/evidence): all-int8 and all-int4 weights, rounded to nearest,
compensated by the first recipe ("first"), and with the recipes that measured rollouts choose ("candidates"); and plans
at half of the gap between them, by the same search over roundings to nearest with clip ratios, and over compensated
ones. All is chosen without data, or with --data compensated over training windows; all is judged on windows that
nothing saw, decoded here from codes. Prints one line a model, then geometric means, the largest ratio and wins.
"""

from __future__ import annotations

import argparse
import os
import time
from dataclasses import replace

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from benchmarks.evidence.__main__ import one_thread
from benchmarks.evidence.evaluate import WINDOWS as JUDGED
from benchmarks.evidence.judge import Judge, budgets, costs
from benchmarks.evidence.statistics import geometric_mean
from benchmarks.evidence.zoo import HORIZON, Member, members, trained
from edge_tqs.graph.graph import Array, Graph
from edge_tqs.operators.arithmetic.int8 import quantize_weight
from edge_tqs.planning.file import Origin
from edge_tqs.planning.plan import Plan, uniform
from edge_tqs.planning.refine import Refiner
from edge_tqs.planning.roundings import WINDOWS, Roundings
from edge_tqs.planning.score import score
from edge_tqs.read.opening import open_model
from edge_tqs.system.reading import Said
from edge_tqs.system.seeds import noise, zero_data_seeds

SEEDS = 48
COLUMNS = (
    *((form, way) for form in ("int8", "int4") for way in ("nearest", "first", "candidates")),
    *(("plan", way) for way in ("nearest", "candidates")),
)


def changed_by(graph: Graph, plan: Plan, roundings: Roundings, bias: str | None) -> dict[str, Array]:
    """The constants of ``graph`` that a plan changes, decoded here from its codes."""
    changed: dict[str, Array] = {}
    codes = roundings.rounded(plan.roundings())
    for tensor in plan.tensors:
        for weight in graph.weights()[tensor.name]:
            assert weight.data is not None
            if tensor.rounded.usual:
                found, scale = quantize_weight(weight.data, tensor.width, clip=tensor.clip)
            else:
                found, scale = codes[weight.name].codes, codes[weight.name].scale
            steps = scale.reshape(-1, *[1] * (weight.data.ndim - 1))
            changed[weight.name] = (found * steps.astype(np.float64)).astype(np.float32)
            shift = None if tensor.rounded.usual else codes[weight.name].shift
            if shift is not None:
                (name,) = {op.inputs[2] for op in graph.ops if len(op.inputs) == 3 and op.inputs[1] == weight.name}
                data = graph.tensors[name].data
                assert data is not None
                changed[name] = (data + shift).astype(np.float32)
    if plan.bias_correction:
        assert bias is not None
        before = changed.get(bias, graph.tensors[bias].data)
        assert before is not None
        changed[bias] = (before + np.asarray(plan.bias_correction)).astype(np.float32)
    return changed


def measure(member: Member, on_data: bool) -> tuple[dict[tuple[str, str], float], dict[str, float]]:
    """Divergence RMSE by form and way; CPU seconds of each plan, without the score."""
    of_zoo = trained(member)
    series = of_zoo.series
    opened = open_model(member.file, said=Said(feedback=series.feedback))
    assert opened.loaded is not None, opened.refusal
    graph, system = opened.loaded.graph, opened.system
    judge = Judge(system, series.windows(system.window, HORIZON, JUDGED, held_out=True), HORIZON)
    prices = costs(system)
    budget = budgets(prices)[50]
    scores = {tensor.name: tensor.tqs for tensor in score(system, horizon=HORIZON).tensors}
    seeds = zero_data_seeds(system, SEEDS, HORIZON, 0)
    if on_data:
        windows = series.windows(system.window, HORIZON, WINDOWS, held_out=False)
    else:
        windows = noise(system, WINDOWS, HORIZON, 0)
    origin = Origin("data" if on_data else "zero-data", WINDOWS, HORIZON, 0)
    roundings = Roundings(graph, lambda: windows, origin)
    bias = system.output_bias.name if system.output_bias else None
    found, seconds = {}, {}

    def judged(form: str, way: str, plan: Plan) -> None:
        found[form, way] = judge.damage(changed_by(graph, plan, roundings, bias)) ** 0.5

    started = time.process_time()
    refiner = Refiner(system, scores, prices, seeds, HORIZON)
    judged("plan", "nearest", refiner.plan(budget))
    seconds["nearest"] = time.process_time() - started
    started = time.process_time()
    refiner = Refiner(system, scores, prices, seeds, HORIZON, roundings=roundings)
    judged("plan", "candidates", refiner.plan(budget))
    seconds["candidates"] = time.process_time() - started
    for width in (8, 4):
        judged(f"int{width}", "nearest", uniform(prices, scores, width))
        first = refiner.uniform(width, candidates=False)
        judged(f"int{width}", "first", replace(first, bias_correction=()))
        judged(f"int{width}", "candidates", refiner.uniform(width))
    return found, seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("architectures", nargs="*", help="of the zoo; all when none is named")
    parser.add_argument("--training-seeds", type=int, default=1, help="models of each architecture, 1 to 3")
    parser.add_argument("--data", action="store_true", help="compensate over training windows")
    args = parser.parse_args()
    one_thread()
    ratios: dict[tuple[str, str], list[float]] = {}
    print("| model | " + " | ".join(f"{form} {way}" for form, way in COLUMNS) + " | CPU s |")
    print("|---" * (len(COLUMNS) + 2) + "|")
    for member in members(chooses=False):
        if member.training_seed >= args.training_seeds or member.architecture not in (
            args.architectures or [member.architecture]
        ):
            continue
        found, seconds = measure(member, args.data)
        figures = " | ".join(f"{found[column]:.4f}" for column in COLUMNS)
        print(f"| {member.name} | {figures} | {', '.join(f'{value:.0f}' for value in seconds.values())} |", flush=True)
        for form, way in COLUMNS:
            if way != "nearest":
                ratios.setdefault((form, way), []).append(found[form, way] / found[form, "nearest"])
    print("\n| over nearest | geometric mean | largest | less |\n|---|---|---|---|")
    for (form, way), values in ratios.items():
        wins = sum(value < 1 for value in values)
        print(f"| {form} {way} | {geometric_mean(values):.3f} | {max(values):.2f} | {wins} of {len(values)} |")


if __name__ == "__main__":
    main()
