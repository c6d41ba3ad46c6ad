"""A million steps on one emulated board, each compared with the host: `make soak`.

Builds benchmarks/machine_temperature unless --build names a build, and validates it. The model carries its states on,
so that each step depends on all before it: one that was lost or doubled would show to the end. Prints one line of
Markdown; leaves with 1 unless every step is bit-exact.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

from edge_tqs.api.request import model_request, plan_request
from edge_tqs.boards.board import load_board
from edge_tqs.building.build import build
from edge_tqs.device.messages import StepReply
from edge_tqs.device.trace_file import TRACE, read_trace
from edge_tqs.project.file import load_project
from edge_tqs.report.format import REPORT_HTML, VALIDATION_JSON
from edge_tqs.validation.validate import ValidateRequest, validate

PROJECT = Path(__file__).parent / "machine_temperature"
STAGE = "rollouts on the board"


class Clock:
    """Progress that notes when the first and the last step came."""

    def __init__(self) -> None:
        self.first = self.last = self.shown = 0.0

    def __call__(self, stage: str, done: int, total: int) -> None:
        now = time.monotonic()
        if stage == STAGE:
            self.first, self.last = self.first or now, now
        if now - self.shown > 30:
            self.shown = now
            print(f"{stage} {done}/{total}", file=sys.stderr, flush=True)

    @property
    def seconds(self) -> float:
        return self.last - self.first


def recurrent(folder: Path, board: str) -> Path:
    project = load_project(PROJECT / "edge-tqs.toml")
    settings = {"data": None, "horizon": None, "window": None, "recurrence": "stateful", "draws": 2, "seed": 0}
    asked = model_request(None, project, **settings)  # type: ignore[arg-type]
    build(asked, plan_request(refine=False), load_board(board), folder, lambda *_: None)
    return folder


def soak(folder: Path, rollouts: int, horizon: int) -> bool:
    """Validate, and print what it took."""
    clock, began = Clock(), time.monotonic()
    result = validate(ValidateRequest(folder, rollouts=rollouts, horizon=horizon), clock)
    whole = time.monotonic() - began
    codes = bytes(len(read_trace(folder / TRACE).steps[0].codes))
    frame = len(StepReply(0, 0, 0, codes).frame(1))
    sizes = [os.stat(folder / name).st_size for name in (TRACE, VALIDATION_JSON, REPORT_HTML)]
    print(
        f"| {result.board} | {result.rollouts} x {result.horizon:,} | {'yes' if result.bit_exact else 'NO'} "
        f"| {result.line.sentence()} | {clock.seconds:.0f} s | {result.steps / clock.seconds:,.0f} "
        f"| {result.steps * frame / clock.seconds:,.0f} | {whole:.0f} s "
        f"| {sizes[0] / 1e6:.0f} MB, {sizes[1] / 1e3:.0f} KB, {sizes[2] / 1e3:.0f} KB |"
    )
    return result.passed and result.bit_exact


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", type=Path, help="a directory of `edge-tqs build`; its files of a validation change")
    parser.add_argument("--board", default="qemu-mps2-an386", help="what the model is built for")
    parser.add_argument("--rollouts", type=int, default=16)
    parser.add_argument("--horizon", type=int, default=62_500)
    args = parser.parse_args()
    print(
        "| board | rollouts x steps | bit-exact | line | on the board | steps/s | STEP bytes/s "
        "| in all | trace, JSON, HTML |"
    )
    print("|---" * 9 + "|", flush=True)
    with tempfile.TemporaryDirectory(prefix="edge-tqs-soak-") as temporary:
        folder = args.build or recurrent(Path(temporary), args.board)
        exact = soak(folder, args.rollouts, args.horizon)
    sys.exit(0 if exact else 1)


if __name__ == "__main__":
    main()
