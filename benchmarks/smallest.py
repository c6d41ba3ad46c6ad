"""The smallest plan, made without data, that keeps a forecaster's closed loop near its float one.

    python benchmarks/smallest.py --csv ETTh1.csv --train-rows 8640 --test-rows 2880 --skip-rows 2880 model.keras ...

For each model: plans for shares of the int8 weight bytes (codes, metadata apart), from zero-data seeds. Each is rolled
out over WINDOWS test windows of HORIZON steps: weights alone in float; as the emitted flatbuffer in LiteRT with 16-bit
and with 8-bit activations, ranges from real training windows. A plan holds where its MSE against the truth is within
the limit over float's. Prints one table a model, and the smallest share from which on all hold; --picture FILE.svg
draws the error over the steps of float, all-int4 and the share given by --share, weights alone, for the first model.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from edge_tqs.building.choose import Chooser, PlanRequest
from edge_tqs.flatbuffer import model as tflite_model
from edge_tqs.graph.graph import Array, Graph
from edge_tqs.operators.arithmetic.int8 import quantize_weight
from edge_tqs.passes.output_bias import shift_output
from edge_tqs.planning.divergence import default_root
from edge_tqs.planning.plan import Plan
from edge_tqs.planning.score import score
from edge_tqs.project.series import read_series, standard_scaling, windows
from edge_tqs.quantization.calibration import Ranges, calibrate
from edge_tqs.quantization.quantize import quantize
from edge_tqs.quantization.runtimes import rollout_in
from edge_tqs.quantization.simulate import decode, encode
from edge_tqs.quantization.sizes import weight_bytes
from edge_tqs.read.opening import open_model
from edge_tqs.report.plot import Line, line_plot
from edge_tqs.system.seeds import zero_data_seeds
from edge_tqs.system.system import System

SHARES = (0.50, 0.505, 0.51, 0.52, 0.54, 0.56, 0.60, 0.65, 0.70, 0.80, 0.90, 1.0)
#: Largest MSE over float's: weights alone, 16-bit and 8-bit activations.
LIMITS = {"weights": 1.10, "int16": 1.10, "int8": 1.15}


@dataclasses.dataclass(frozen=True, eq=False)
class Case:
    """A model with its real windows in the model's units: calibration (N, W, F), seeds (N, W, F), truth (N, T, F)."""

    name: str
    graph: Graph
    system: System
    calibration: Array
    seeds: Array
    truth: Array
    horizon: int


def rounded(system: System, plan: Plan) -> dict[str, Array]:
    """The parts of all weights as ``plan`` holds them, and the output's bias."""
    changed = {}
    for tensor in plan.tensors:
        for part in system.weights[tensor.name]:
            codes, scale = quantize_weight(part.rows(), tensor.width, clip=tensor.clip)
            changed[part.name] = part.with_rows(codes.astype(np.float32) * scale[:, None])
    if plan.bias_correction and system.output_bias:
        bias = system.output_bias
        changed[bias.name] = (bias.data + np.asarray(plan.bias_correction)).astype(np.float32)
    return changed


def in_litert(case: Case, plan: Plan, ranges: Ranges, activations: Any) -> Array:
    """Outputs (N, T, F) of the emitted flatbuffer in LiteRT, in the model's units."""
    shifted = shift_output(case.graph, plan.bias_correction)
    integer = quantize(shifted, plan.widths(), ranges, plan.clips(), activations=activations)
    model = tflite_model.write(integer, {"source_hash": "", "plan": plan.widths(), "generator": "benchmark"})
    codes = rollout_in("litert", model, integer, encode(integer, case.seeds), case.horizon).outputs
    return decode(integer, codes)


def load_case(path: Path, args: argparse.Namespace) -> Case:
    graph = open_model(path).need_graph()[1]
    system = open_model(path).system
    series = read_series(args.csv)
    end = args.train_rows + args.skip_rows + args.test_rows
    series = dataclasses.replace(series, values=series.values[:end])
    scaling = standard_scaling(series, args.train_rows)
    calibration, _ = windows(
        series, system.window, args.horizon, 256, part="train", rows=args.train_rows, scaling=scaling
    )
    rows = args.train_rows + args.skip_rows
    seeds, truth = windows(series, system.window, args.horizon, args.windows, rows=rows, scaling=scaling)
    return Case(path.stem, graph, system, calibration, seeds, truth, args.horizon)


def measure(path: Path, args: argparse.Namespace) -> None:
    case = load_case(path, args)
    system = case.system
    rollout = system.trace(case.horizon, len(case.seeds))
    sensitivity = score(system, horizon=case.horizon, model_hash=open_model(path).model_hash, cache=default_root())
    ranges = {
        "real": calibrate(case.graph, case.calibration, case.horizon),
        "zero-data": calibrate(case.graph, zero_data_seeds(system, 16, case.horizon, 1), case.horizon),
    }
    costs = weight_bytes(case.graph)
    float_error = mse(rollout({}, case.seeds), case.truth)
    total = sum(system.size(source) for source in system.weights)
    print(f"\n### {case.name}: float MSE {float_error:.4f}, {total:,} weights, {len(system.weights)} tensors\n")
    columns = ["weights alone", "int16, real", "int8, real", "int16, zero-data", "int8, zero-data"]
    print("| share | plan (width, clip) | flatbuffer weight bytes | " + " | ".join(columns) + " |")
    print("|---|---|---|" + "---|" * len(columns))
    smallest: dict[str, float] = {}
    for share in args.shares:
        made = Chooser(system, sensitivity, costs, PlanRequest(code_bytes=int(share * total))).plan()
        errors = [mse(rollout(rounded(system, made), case.seeds), case.truth)]
        for kind in ("real", "zero-data"):
            errors += [mse(in_litert(case, made, ranges[kind], name), case.truth) for name in ("int16", "int8")]
        ratios = [error / float_error for error in errors]
        for name, ratio in zip(("weights", "int16", "int8"), ratios, strict=False):
            if ratio > LIMITS[name]:
                smallest.pop(name, None)
            else:
                smallest.setdefault(name, share)
        print(
            f"| {share:.1%} | {made.assignment} | {made.total_bytes:,} | "
            + " | ".join(f"{ratio:.3f}" for ratio in ratios)
            + " |",
            flush=True,
        )
    held = (f"{name} within {LIMITS[name] - 1:.0%}: {smallest.get(name, float('nan')):.1%}" for name in LIMITS)
    print(f"\nSmallest share from which on all hold, real ranges: {'; '.join(held)}.")


def draw(path: Path, args: argparse.Namespace) -> None:
    case = load_case(path, args)
    system = case.system
    rollout = system.trace(case.horizon, len(case.seeds))
    sensitivity = score(system, horizon=case.horizon, model_hash=open_model(path).model_hash, cache=default_root())
    costs = weight_bytes(case.graph)
    total = sum(system.size(source) for source in system.weights)
    mixed = Chooser(system, sensitivity, costs, PlanRequest(code_bytes=int(args.share * total))).plan()
    int4 = Chooser(system, sensitivity, costs, PlanRequest(bits=4)).plan()
    shown = {"float32": {}, "int4": rounded(system, int4), "mixed": rounded(system, mixed)}
    curves = {name: np.mean(np.square(rollout(w, case.seeds) - case.truth), axis=(0, 2)) for name, w in shown.items()}
    mean = {name: float(curve.mean()) for name, curve in curves.items()}
    lines = [
        Line(f"float32, mean {mean['float32']:.2f}", "float", list(map(float, curves["float32"]))),
        Line(f"int4, mean {mean['int4']:.1f}", "int4", list(map(float, curves["int4"])), dash="2 3"),
        Line(f"mixed at {args.share:.0%}, mean {mean['mixed']:.2f}", "mixed", list(map(float, curves["mixed"]))),
    ]
    picture = line_plot(
        lines,
        ident="horizon",
        title=f"{case.name}: error against the truth over the closed loop",
        description="Mean squared error at each step over test windows, weights quantised, planned without data.",
        x_label="step",
        y_label="MSE, standardised",
        log=True,
        standalone=True,
    )
    args.picture.write_text(picture, encoding="utf-8")


def mse(a: Array, b: Array) -> float:
    return float(np.mean(np.square(a.astype(np.float64) - b)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--csv", required=True, type=Path)
    parser.add_argument("--train-rows", required=True, type=int)
    parser.add_argument("--skip-rows", type=int, default=0, help="rows between the training and the test part")
    parser.add_argument("--test-rows", required=True, type=int)
    parser.add_argument("--horizon", type=int, default=96)
    parser.add_argument("--windows", type=int, default=24)
    parser.add_argument("--shares", type=float, nargs="*", default=SHARES)
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--share", type=float, default=0.56, help="of the mixed plan in the picture")
    args = parser.parse_args()
    if args.picture:
        draw(args.models[0], args)
        return
    for model in args.models:
        measure(model, args)


if __name__ == "__main__":
    main()
