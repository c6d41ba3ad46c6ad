"""The fault matrix: every kind of fault, at seeded random points of long runs on an emulated board, counted by outcome.

Run as `make faults`. Prints a table in Markdown; leaves with 1 if any run had a third outcome. The runs of a kind are
done in parts, each with a board of its own, side by side.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from device.fault_matrix import KINDS, Matrix, make_build, make_other, running, survey

from edge_tqs.device.device import Times

STALL_SECONDS = 10.0
#: Seeds of one part.
PART = 25
#: An emulator answers within milliseconds: the default waits would only make the runs longer. A stall is longer than
#: any of these, and is waited out by greeting the board again.
TIMES = Times(answer=0.5, step=1.0)


@dataclass(frozen=True)
class Row:
    """Runs of a kind: completed at once; ended with one message, and completed by --resume where a step had come;
    and what was wrong with the others. means: as in `Outcome`."""

    kind: str
    completed: int
    ended: int
    wrong: tuple[str, ...]
    means: frozenset[str]

    def __add__(self, other: Row) -> Row:
        completed, ended = self.completed + other.completed, self.ended + other.ended
        return Row(self.kind, completed, ended, self.wrong + other.wrong, self.means | other.means)

    @property
    def name(self) -> str:
        return ": ".join([KINDS[self.kind], *sorted(self.means)])


def run_part(kind: str, build: Path, seeds: range, steps: int) -> Row:
    """The runs of a kind with ``seeds``, in a copy of the build."""
    completed = ended = 0
    wrong: list[str] = []
    means: set[str] = set()
    with tempfile.TemporaryDirectory(prefix="edge-tqs-faults-") as folder, ExitStack() as stack:
        own = Path(folder) / "build"
        shutil.copytree(build, own)
        board = stack.enter_context(running(own))
        setting = survey(own, board.port, steps, TIMES)
        other = board.port
        if kind == "replace":
            other = stack.enter_context(running(make_other(own, Path(folder) / "other"))).port
        matrix = Matrix(setting, board, other, TIMES, STALL_SECONDS)
        for seed in seeds:
            try:
                outcome = matrix.run(kind, seed)
            except Exception as error:  # any that no user may see counts as wrong, and the matrix goes on
                wrong.append(f"{kind}, seed {seed}: {type(error).__name__}: {error}")
                continue
            completed += outcome.ended == "completed"
            ended += outcome.ended != "completed"
            means |= {outcome.means} - {""}
    return Row(kind, completed, ended, tuple(wrong), frozenset(means))


def table(rows: list[Row]) -> str:
    lines = ["| fault | runs | completed, every step exact | ended with one message, then resumed | wrong |"]
    lines.append("|---|---|---|---|---|")
    for row in rows:
        runs = row.completed + row.ended + len(row.wrong)
        lines.append(f"| {row.name} | {runs} | {row.completed} | {row.ended} | {len(row.wrong)} |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=50, help="runs of each kind (default: 50)")
    parser.add_argument("--steps", type=int, default=1000, help="steps of each run (default: 1000)")
    parser.add_argument("--jobs", type=int, default=2, help="parts at once (default: 2)")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS), help="default: all")
    options = parser.parse_args()
    rows = {kind: Row(kind, 0, 0, (), frozenset()) for kind in options.kinds}
    with tempfile.TemporaryDirectory(prefix="edge-tqs-faults-") as folder, ProcessPoolExecutor(options.jobs) as pool:
        build = make_build(Path(folder), options.steps)
        parts = [range(first, min(first + PART, options.seeds)) for first in range(0, options.seeds, PART)]
        for job in as_completed(
            pool.submit(run_part, kind, build, part, options.steps) for kind in options.kinds for part in parts
        ):
            row = job.result()
            rows[row.kind] += row
            print(f"{row.kind}: {row.completed} completed, {row.ended} ended", file=sys.stderr, flush=True)
            print(*row.wrong, sep="\n", end="\n" * bool(row.wrong), file=sys.stderr, flush=True)
    print(table(list(rows.values())))
    return 1 if any(row.wrong for row in rows.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
