"""Compensated rounding beside rounding to nearest: divergence of closed loops, weights alone, on windows held out.

    python -m benchmarks.rounding [--training-seeds N] [--data] [ARCHITECTURE ...]

For each model of the zoo's judging half (benchmarks/evidence): all-int8 and all-int4 weights, and a plan at half of the
gap between them, each rounded to nearest ("nearest", with the clip ratios that a plan has), compensated by the first
recipe ("first"), and with the recipes that measured rollouts choose ("candidates"). What is built is chosen without
data, or with --data compensated over training windows; all are judged on windows that nothing saw. Prints one line a
model, and the geometric means, the largest ratio and the wins over nearest.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Mapping

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from benchmarks.evidence.__main__ import one_thread
from benchmarks.evidence.evaluate import WINDOWS as JUDGED
from benchmarks.evidence.judge import Judge, budgets, costs
from benchmarks.evidence.statistics import geometric_mean
from benchmarks.evidence.zoo import HORIZON, Member, members, trained
from edge_tqs.graph.graph import Array, Graph
from edge_tqs.operators.arithmetic.int8 import quantize_weight
from edge_tqs.planning.file import NEAREST, Origin
from edge_tqs.planning.plan import Plan
from edge_tqs.planning.refine import Refiner, RefineSettings
from edge_tqs.planning.roundings import WINDOWS, Roundings
from edge_tqs.planning.score import score
from edge_tqs.read.opening import open_model
from edge_tqs.system.reading import Said
from edge_tqs.system.seeds import noise, zero_data_seeds

SEEDS = 48
WAYS = ("nearest", "first", "candidates")
FORMS = ("int8", "int4", "plan")


def changed_by(graph: Graph, plan: Plan, roundings: Roundings | None, bias: str | None) -> dict[str, Array]:
    """The constants of ``graph`` that a plan changes, decoded here from its codes."""
    changed: dict[str, Array] = {}
    codes = {} if roundings is None else roundings.rounded(plan.roundings())
    for tensor in plan.tensors:
        for weight in graph.weights()[tensor.name]:
            assert weight.data is not None
            if tensor.rounding == NEAREST:
                found, scale = quantize_weight(weight.data, tensor.width, clip=tensor.clip)
            else:
                found, scale = codes[weight.name].codes, codes[weight.name].scale
            steps = scale.reshape(-1, *[1] * (weight.data.ndim - 1))
            changed[weight.name] = (found * steps.astype(np.float64)).astype(np.float32)
            shift = None if tensor.rounding == NEAREST else codes[weight.name].shift
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
    """Divergence RMSE by form and way; CPU seconds by way."""
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
    found, seconds = {}, {}
    for way in WAYS:
        started = time.process_time()
        origin = Origin("data" if on_data else "zero-data", WINDOWS, HORIZON, 0)
        roundings = None if way == "nearest" else Roundings(graph, lambda: windows, origin)
        settings = RefineSettings(candidates=way == "candidates")
        refiner = Refiner(system, scores, prices, seeds, HORIZON, settings=settings, roundings=roundings)
        plans: Mapping[str, Plan] = {
            "int8": refiner.uniform(8, candidates=settings.candidates),
            "int4": refiner.uniform(4, candidates=settings.candidates),
            "plan": refiner.plan(budget),
        }
        bias = system.output_bias.name if system.output_bias else None
        for form, made in plans.items():
            plain = made if form == "plan" or way == "candidates" else _without_correction(made)
            found[form, way] = judge.damage(changed_by(graph, plain, roundings, bias)) ** 0.5
        seconds[way] = time.process_time() - started
    return found, seconds


def _without_correction(plan: Plan) -> Plan:
    """Uniform weights rounded to nearest had none, and one recipe alone is shown without."""
    from dataclasses import replace

    return replace(plan, bias_correction=())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("architectures", nargs="*", help="of the zoo; all when none is named")
    parser.add_argument("--training-seeds", type=int, default=1, help="models of each architecture, 1 to 3")
    parser.add_argument("--data", action="store_true", help="compensate over training windows")
    args = parser.parse_args()
    one_thread()
    ratios: dict[tuple[str, str], list[float]] = {}
    columns = [(form, way) for form in FORMS for way in WAYS]
    print("| model | " + " | ".join(f"{form} {way}" for form, way in columns) + " | CPU s |")
    print("|---" * (len(columns) + 2) + "|")
    for member in members(chooses=False):
        if member.training_seed >= args.training_seeds or member.architecture not in (
            args.architectures or [member.architecture]
        ):
            continue
        found, seconds = measure(member, args.data)
        figures = " | ".join(f"{found[column]:.4f}" for column in columns)
        print(f"| {member.name} | {figures} | {', '.join(f'{value:.0f}' for value in seconds.values())} |", flush=True)
        for form, way in columns:
            if way != "nearest":
                ratios.setdefault((form, way), []).append(found[form, way] / found[form, "nearest"])
    print("\n| over nearest | geometric mean | largest | less |\n|---|---|---|---|")
    for (form, way), values in ratios.items():
        wins = sum(value < 1 for value in values)
        print(f"| {form} {way} | {geometric_mean(values):.3f} | {max(values):.2f} | {wins} of {len(values)} |")


if __name__ == "__main__":
    main()
