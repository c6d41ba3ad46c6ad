"""How far other runtimes' closed loops part from tflite-micro's, on the files of finished builds.

    python benchmarks/runtimes.py BUILD [BUILD ...] --python .venv-tflite-runtime/bin/python

For each build: the RMSE of the outputs over the saved seed windows and the whole horizon, in the model's units, of
ai-edge-litert and of the tflite-runtime in another Python, against tflite-micro; and tflite-micro against the integer
reference, which must be zero.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from edge_tqs.building.evaluate import rmse
from edge_tqs.building.folder import directory as build_dir
from edge_tqs.quantization.runtimes import rollout_in, rollout_in_environment
from edge_tqs.quantization.simulate import decode, encode, integer_rollout


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("builds", nargs="+", type=Path)
    parser.add_argument("--python", type=Path, help="a Python with tflite-runtime 2.14 and numpy < 2")
    parser.add_argument("--rollouts", type=int, default=4)
    args = parser.parse_args()
    print(
        "| model | rollouts x steps | tflm against the reference | LiteRT against tflm | tflite-runtime against tflm |"
    )
    print("|---|---|---|---|---|")
    for path in args.builds:
        built = build_dir.load(path)
        codes = encode(built.graph, built.seeds[: args.rollouts])
        horizon = built.report.host.horizon
        rollouts = {name: rollout_in(name, built.model, built.graph, codes, horizon) for name in ("tflm", "litert")}
        rollouts["reference"] = integer_rollout(built.graph, codes, horizon)
        if args.python:
            rollouts["tflite-runtime"] = rollout_in_environment(args.python, built.model, codes, horizon)
        values = {name: decode(built.graph, rollout.outputs) for name, rollout in rollouts.items()}
        other = f"{rmse(values['tflite-runtime'], values['tflm']):.4f}" if args.python else "not asked for"
        print(
            f"| {built.report.model.name} | {len(codes)} x {horizon} | {rmse(values['tflm'], values['reference']):.4f} "
            f"| {rmse(values['litert'], values['tflm']):.4f} | {other} |"
        )


if __name__ == "__main__":
    main()
