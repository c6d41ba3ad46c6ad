"""Would one scale for a whole weight, or 6 bits, pay? Bytes of the file and divergence, weights alone, without data.

    python -m benchmarks.granularity                        ten seconds of one core
    python -m benchmarks.granularity --plans [ARCHITECTURE ...]

For the models of the repository: each weight rounded to nearest with a scale for each output channel or with one for
all, at 8, 6 and 4 bits. Divergence is the RMSE from the float rollouts, over that of int8 with a scale a channel. Files
are written, those with one scale from the same graph with vectors of one scale. No runtime takes 6 bits: their column
is the codes of a C image, four in three bytes, with what each channel has in it.

--plans: what it brings to plans. For each model of the zoo's judging half (benchmarks/evidence), first training seed:
budgets of PLAN_SHARES of the bytes between all-int4 and all-int8, as files have them, the same search with and without
one scale among the choices, without data; divergence over windows that nothing saw, weights decoded here from codes.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from benchmarks.evidence.__main__ import one_thread
from benchmarks.evidence.evaluate import WINDOWS as JUDGED
from benchmarks.evidence.judge import Judge
from benchmarks.evidence.statistics import geometric_mean
from benchmarks.evidence.zoo import HORIZON, Member, members, trained
from benchmarks.rounding import changed_by
from edge_tqs.api.arguments import silent
from edge_tqs.api.request import model_request
from edge_tqs.building.opened import opened_model, scaled_graph
from edge_tqs.flatbuffer import model as tflite_model
from edge_tqs.graph.graph import Array, Graph, Quant
from edge_tqs.operators.arithmetic.int8 import round_away
from edge_tqs.passes.interpret import float_rollout
from edge_tqs.planning.file import Origin
from edge_tqs.planning.refine import SEEDS as REFINE_SEEDS
from edge_tqs.planning.refine import Refiner
from edge_tqs.planning.roundings import WINDOWS, Rounded, Roundings
from edge_tqs.planning.score import score
from edge_tqs.project.file import load_project
from edge_tqs.quantization.calibration import calibrate
from edge_tqs.quantization.quantize import quantize
from edge_tqs.quantization.sizes import one_scale_bytes, weight_bytes
from edge_tqs.read.opening import open_model
from edge_tqs.system.of_graph import graph_system
from edge_tqs.system.reading import Said
from edge_tqs.system.seeds import noise, zero_data_seeds
from edge_tqs.text_table import table

ROOT = Path(__file__).resolve().parents[1]
SEEDS, STEPS = 24, 24
#: What a C image has of each output channel beside codes: a multiplier, a shift and a bias.
CHANNEL_BYTES = 9
WAYS = ("without", "with")
#: Of the bytes between all-int4 and all-int8.
PLAN_SHARES = (25, 50, 75)


def rounded(weight: Array, width: int, *, by_channel: bool) -> Rounded:
    """Codes to nearest, and a scale a row; with ``by_channel`` false all the same."""
    limit = 2 ** (width - 1) - 1
    peak = np.abs(weight.reshape(len(weight), -1)).max(axis=1)
    scale = np.maximum(peak if by_channel else np.full_like(peak, peak.max()), 1e-12) / limit
    steps = scale.reshape(-1, *[1] * (weight.ndim - 1))
    codes = np.clip(round_away(weight / steps), -limit, limit).astype(np.int8)
    return Rounded(codes, scale.astype(np.float32))


def with_one_scale(integer: Graph) -> Graph:
    """``integer``, whose rows have equal scales, with one for each weight, and for each bias."""
    changed = {}
    for op in integer.ops:
        for name in op.inputs[1:] if op.signature.is_weighted else ():
            tensor = integer.tensors[name]
            assert tensor.quant is not None
            one = Quant(tensor.quant.scale[:1], tensor.quant.zero_point)
            changed[name] = replace(tensor, quant=one)
    return integer.with_tensors(changed)


def measure(folder: Path) -> list[str]:
    """A row of the table."""
    model = opened_model(model_request(None, load_project(folder / "edge-tqs.toml")), silent)
    graph, horizon = scaled_graph(model), min(STEPS, model.request.horizon)
    seeds = zero_data_seeds(graph_system(graph), SEEDS, horizon, 0)
    ranges, floats = calibrate(graph, seeds, horizon), float_rollout(graph, seeds, horizon).outputs
    weights = [tensor for tensors in graph.weights().values() for tensor in tensors]
    values, channels = sum(tensor.size for tensor in weights), sum(tensor.shape[0] for tensor in weights)
    files, errors = {}, {}
    for width in (8, 6, 4):
        for by_channel in (True, False):
            codes = {tensor.name: rounded(tensor.data, width, by_channel=by_channel) for tensor in weights}  # type: ignore[arg-type]
            changed = {tensor.name: replace(tensor, data=codes[tensor.name].values) for tensor in weights}
            outputs = float_rollout(graph.with_tensors(changed), seeds, horizon).outputs
            errors[width, by_channel] = float(np.sqrt(np.square(outputs - floats).mean()))
            if width != 6:
                widths = dict.fromkeys(graph.weights(), width)
                integer = quantize(graph, widths, ranges, rounded=codes)
                made = integer if by_channel else with_one_scale(integer)
                given = {"source_hash": "", "plan": widths, "generator": ""}
                files[width, by_channel] = len(tflite_model.write(made, given))
    image = {width: -(-values * width // 8) + CHANNEL_BYTES * channels for width in (8, 6, 4)}
    least = errors[8, True]
    return [
        folder.name,
        f"{values:,}",
        *(f"{files[width, by_channel]:,}" for width in (8, 4) for by_channel in (True, False)),
        *(f"{errors[key] / least:.2f}" for key in ((8, False), (4, True), (4, False))),
        "/".join(f"{image[width]:,}" for width in (8, 6, 4)),
        f"{errors[6, True] / least:.2f}",
    ]


def plans_of(member: Member) -> tuple[list[str], dict[int, float]]:
    """A row of the table of plans, and the ratio at each share."""
    series = trained(member).series
    opened = open_model(member.file, said=Said(feedback=series.feedback))
    assert opened.loaded is not None, opened.refusal
    graph, system = opened.loaded.graph, opened.system
    judge = Judge(system, series.windows(system.window, HORIZON, JUDGED, held_out=True), HORIZON)
    costs = weight_bytes(graph)
    of_one = one_scale_bytes(graph, costs)
    low, high = (sum(options[width] for options in costs.values()) for width in (4, 8))
    scores = {tensor.name: tensor.tqs for tensor in score(system, horizon=HORIZON).tensors}
    seeds, windows = zero_data_seeds(system, REFINE_SEEDS, HORIZON, 0), noise(system, WINDOWS, HORIZON, 0)
    roundings = Roundings(graph, lambda: windows, Origin("zero-data", WINDOWS, HORIZON, 0))
    bias = system.output_bias.name if system.output_bias else None
    row = [member.architecture, member.series, f"{low:,}", f"{high:,}"]
    ratios, one = {}, 0
    refiners = [
        Refiner(system, scores, costs, seeds, HORIZON, roundings=roundings, one_scale=way)
        for way in (None, lambda: of_one)
    ]
    for share in PLAN_SHARES:
        plans = [refiner.plan(low + (high - low) * share // 100) for refiner in refiners]
        before, after = (judge.damage(changed_by(graph, plan, roundings, bias)) ** 0.5 for plan in plans)
        row += [f"{before:.4f}", f"{after:.4f}"]
        ratios[share] = after / before
        one += sum(tensor.rounded.one_scale for tensor in plans[1].tensors)
    return [*row, f"{one} of {len(PLAN_SHARES) * len(costs)}"], ratios


def measure_plans(architectures: list[str]) -> None:
    one_thread()
    heads = ["architecture", "series", "all-int4", "all-int8", *(f"{s} % {w}" for s in PLAN_SHARES for w in WAYS)]
    print("| " + " | ".join([*heads, "of one scale"]) + " |\n" + "|---" * (len(heads) + 1) + "|")
    ratios: dict[int, list[float]] = {share: [] for share in PLAN_SHARES}
    for member in members(chooses=False):
        if member.training_seed == 0 and member.architecture in (architectures or [member.architecture]):
            row, found = plans_of(member)
            print("| " + " | ".join(row) + " |", flush=True)
            for share, ratio in found.items():
                ratios[share].append(ratio)
    every = {f"{share} %": values for share, values in ratios.items()}
    every["all"] = [value for values in ratios.values() for value in values]
    print("\n| with over without | geometric mean | largest | less |\n|---|---|---|---|")
    for name, values in every.items():
        wins = sum(value < 1 for value in values)
        print(f"| {name} | {geometric_mean(values):.3f} | {max(values):.2f} | {wins} of {len(values)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plans", nargs="*", metavar="ARCHITECTURE", help="of the zoo; all when none is named")
    plans = parser.parse_args().plans
    if plans is not None:
        measure_plans(plans)
        return
    folders = [
        *sorted(path.parent for path in ROOT.glob("examples/*/edge-tqs.toml")),
        ROOT / "benchmarks/machine_temperature",
    ]
    rows = [measure(folder) for folder in folders if any(folder.glob("*.keras"))]
    heads = ["model", "weights", "int8, a scale a channel", "one scale", "int4, a scale a channel", "one scale"]
    heads += ["int8 one scale", "int4 a channel", "int4 one scale", "image int8/6/int4", "6 bits"]
    print(table(heads, rows))


if __name__ == "__main__":
    main()
