"""Forecasters of PyTorch, by litert-torch: opened, built, validated, and judged by a rollout of their own.

    python -m benchmarks.pytorch                 writes docs/pytorch.md; some gigabytes are downloaded once
    python -m benchmarks.pytorch --python PYTHON with a Python that has torch and litert-torch already

program.py trains and converts them in that Python, in build/pytorch. Each file is built as `build` builds it, for this
machine, with the series as data; the judge runs model.tflite in LiteRT by what docs/format.md says, and shares no code
with what built it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter

import edge_tqs
from edge_tqs.errors import TqsError
from edge_tqs.templates import fill

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "pytorch"
PAGE = ROOT / "docs" / "pytorch.md"
REQUIREMENTS = ("torch", "litert-torch")
BOARD = "host"
TEST_ROWS = 1400


@dataclass(frozen=True)
class Row:
    """Of one model. refusal: why it was not built. apart: RMSE from torch, of: of torch from what followed, in
    standard deviations. mse: mean square error against what followed, over torch's."""

    name: str
    weights: int
    form: str = ""
    size: int = 0
    bit_exact: bool = False
    apart: float = 0.0
    of: float = 0.0
    mse: float = 0.0
    refusal: str = ""


def environment() -> Path:
    """A Python with REQUIREMENTS, installed once. Raises CalledProcessError where that fails."""
    python = BUILD / "environment" / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(python.parents[1])], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *REQUIREMENTS], check=True)
    return python


def rollout(content: bytes, seeds: Any, horizon: int) -> Any:
    """(N, horizon, outputs): docs/format.md, with all that is predicted fed back."""
    about = json.JSONDecoder().raw_decode(content[content.index(b'{"channels":') :].decode("utf-8", "replace"))[0]
    call = Interpreter(model_content=content, num_threads=1).get_signature_runner("serving_default")
    inputs = call.get_input_details()
    (scale, zero), kind = inputs["x"]["quantization"], inputs["x"]["dtype"]
    limits, found = np.iinfo(kind), []
    states = {n: np.full(d["shape"], d["quantization"][1], d["dtype"]) for n, d in inputs.items() if n != "x"}
    for seed in seeds:
        path = np.clip(np.rint(seed / scale) + zero, limits.min, limits.max).astype(kind)
        while len(path) < about["window"] + horizon:
            window, now = path[-about["window"] :], dict(states)
            for sample in [window] if about["recurrence"] == "none" else window:
                made = call(x=sample[None], **now)
                now = {name: made[name] for name in now}
            path = np.concatenate([path, made["y"].reshape(about["steps"], -1)])
        found.append(path[about["window"] :][:horizon])
    return (np.array(found, np.float64) - zero) * scale


def measure(folder: Path, name: str) -> Row:
    """Build and judge FOLDER/NAME.tflite."""
    known = np.load(folder / f"{name}.npz")
    seeds, truth, by_torch = (known[key].astype(np.float64) for key in ("seeds", "truth", "torch"))
    weights, horizon = int(known["weights"]), by_torch.shape[1]
    project = folder / name.replace(" ", "-").replace(",", "")
    project.mkdir(exist_ok=True)
    (project / "edge-tqs.toml").write_text(
        f'[model]\npath = "../{name}.tflite"\n[forecast]\nhorizon = {horizon}\n[data]\ncsv = "../series.csv"\n'
        f'test_rows = {TEST_ROWS}\n[scaling]\nmethod = "none"\n',
        encoding="utf-8",
    )
    try:
        built = edge_tqs.build(edge_tqs.open_model(project / "edge-tqs.toml"), board=BOARD, out=project / "out")
        verdict = edge_tqs.validate(built, rollouts=4)
    except TqsError as error:
        return Row(name, weights, refusal=error.message.rsplit(".tflite: ", 1)[-1])
    content = (project / "out" / "model.tflite").read_bytes()
    report = json.loads((project / "out" / "report.json").read_text(encoding="utf-8"))["model"]
    made = rollout(content, seeds, horizon)
    as_step = "a step" if report["recurrence"] == "windowed" else "the window"
    return Row(
        name,
        weights,
        f"{as_step}, {report['activations']}",
        len(content),
        verdict.passed,
        float(np.sqrt(np.mean((made - by_torch) ** 2))),
        float(np.sqrt(np.mean((by_torch - truth) ** 2))),
        float(np.mean((made - truth) ** 2) / np.mean((by_torch - truth) ** 2)),
    )


def page(rows: list[Row], failed: list[str]) -> str:
    """docs/pytorch.md."""
    cells = []
    for row in rows:
        figures = [
            f"{row.size:,}",
            "yes" if row.bit_exact else "**no**",
            f"{row.of:.3f}",
            f"{row.apart:.4f}",
            f"{row.mse:.3f}",
        ]
        cells.append(
            [row.name, f"{row.weights:,}", row.form, *(figures if not row.refusal else [row.refusal] + ["-"] * 4)]
        )
    header = ["model", "weights", "built as", "bytes", "bit for bit", "RMSE of torch", "from torch", "MSE over torch's"]
    lines = [f"| {' | '.join(line)} |" for line in (header, ["---"] * len(header), *cells)]
    built = [row for row in rows if not row.refusal]
    values = {
        "COUNT": len(rows),
        "BUILT": len(built),
        "EXACT": sum(row.bit_exact for row in built),
        "MEDIAN": f"{median(row.mse for row in built):.3f}",
        "WORST": f"{max(row.mse for row in built):.3f}",
        "TABLE": "\n".join(lines),
        "FAILED": "".join(f"- {line}\n" for line in failed) or "None: the converter took all.\n",
    }
    template = (Path(__file__).resolve().parent / "pytorch.md.in").read_text(encoding="utf-8")
    return fill(template, {name: str(value) for name, value in values.items()}).rstrip() + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", type=Path, help="one that has torch and litert-torch")
    parser.add_argument("names", nargs="*", help="of the models; all where left out, and then the page is written")
    args = parser.parse_args()
    folder = BUILD / "models"
    folder.mkdir(parents=True, exist_ok=True)
    program = Path(__file__).resolve().parent / "program.py"
    subprocess.run([str(args.python or environment()), str(program), str(folder), *args.names], check=True)
    known = sorted(folder.glob("*.npz"), key=lambda path: path.stat().st_mtime)
    rows = []
    for path in known:
        if not args.names or path.stem in args.names:
            rows.append(measure(folder, path.stem))
            print(rows[-1], flush=True)
    if not args.names:
        failed = folder / "failed.txt"
        PAGE.write_text(page(rows, failed.read_text().splitlines() if failed.exists() else []), encoding="utf-8")
        print(PAGE)


if __name__ == "__main__":
    main()
