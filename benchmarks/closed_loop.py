"""Build and validate Keras forecasters on real windows, and print their closed-loop errors side by side.

    python benchmarks/closed_loop.py examples/greenhouse [...] --activations int8 mixed
    python benchmarks/closed_loop.py model.keras [...] --csv ETTh1.csv --train-rows 8640

Each model, of a project or given with its data, is built for BOARD with --mean-bits for its mix, once for each type of
--activations, and validated there over ROLLOUTS test windows. It gets one row of the table each: MSE against the truth
over all steps of float, int8, int4 and the mix; bytes; whether the board agreed. A build that is no longer the float
model is not refused (--force).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any


def run(*command: object, folder: Path) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "edge_tqs", *map(str, command), "--json"],
        cwd=folder,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode not in (0, 1) or not done.stdout:
        sys.exit(f"edge-tqs {command[0]} failed with exit code {done.returncode}")
    body: dict[str, Any] = json.loads(done.stdout)
    return body


def measure(model: Path, activations: str, args: argparse.Namespace) -> list[str]:
    with tempfile.TemporaryDirectory() as name:
        folder, out = model, Path(name) / "build"
        if not model.is_dir():
            folder, rows = Path(name), sum(1 for line in args.csv.open() if line.strip()) - 1
            (folder / "edge-tqs.toml").write_text(
                f'[model]\npath = "{model.resolve()}"\n[forecast]\nhorizon = {args.horizon}\n'
                f'[data]\ncsv = "{args.csv.resolve()}"\ntest_rows = {rows - args.train_rows}\n'
                '[scaling]\nmethod = "standard"\n'
            )
        started = time.monotonic()
        options = ("--board", args.board, "--activations", activations, "--mean-bits", args.mean_bits, "--force")
        built = run("build", *options, "--out", out, folder=folder)
        seconds = time.monotonic() - started
        checked = run("validate", out, "--rollouts", args.rollouts, folder=folder)
    host = built["host"]
    return [
        model.stem,
        activations,
        *(f"{host['mse_vs_truth'][name]:.3f}" for name in ("float", "int8", "int4", "mixed")),
        *(f"{host['divergence'][name]:.3f}" for name in ("int8", "int4", "mixed")),
        *(f"{built['bytes'][name]:,}" for name in ("int8", "int4", "mixed")),
        str(host["tflm_bit_exact"]).lower(),
        f"{host['litert_rmse']:.3f}",
        f"{str(checked['bit_exact']).lower()} ({checked['steps']} steps)",
        f"{checked['latency']['instructions'] or 0:,.0f}",
        f"{seconds:.0f}",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=Path, help="folders of projects, or model files")
    parser.add_argument("--csv", type=Path, help="of model files")
    parser.add_argument("--train-rows", type=int, help="its first rows: scaling and ranges come from them")
    parser.add_argument("--board", default="qemu-mps2-an386")
    parser.add_argument("--activations", default=["int8"], nargs="+", choices=["int8", "mixed", "int16"])
    parser.add_argument("--mean-bits", default=6.0, type=float, help="of the mix, codes alone: 6 is half way")
    parser.add_argument("--horizon", default=96, type=int)
    parser.add_argument("--rollouts", default=8, type=int)
    args = parser.parse_args()
    header = ["model", "activations", "MSE float", "int8", "int4", "mixed", "RMSE from float int8", "int4", "mixed"]
    header += [
        "bytes int8",
        "int4",
        "mixed",
        "tflm exact",
        "LiteRT RMSE",
        "board exact",
        "instructions per step",
        "build s",
    ]
    print("| " + " | ".join(header) + " |")
    print("|" + "---|" * len(header))
    for model in args.models:
        for activations in args.activations:
            print("| " + " | ".join(measure(model, activations, args)) + " |", flush=True)


if __name__ == "__main__":
    main()
