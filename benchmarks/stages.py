"""What a default build takes, stage by stage: seconds, CPU seconds, and the most memory until its end.

    python benchmarks/stages.py [PROJECT] [--board BOARD]        half a minute for the example

Cold: a process of its own, nothing in the cache. Memory is the process's largest resident set so far, so a stage that
needs no more than those before it shows theirs.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def clock() -> tuple[float, float, float]:
    """Seconds, CPU seconds of all threads and of ended children, and the largest resident set in MB."""
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    busy = sum(part.ru_utime + part.ru_stime for part in (own, children))
    return time.monotonic(), busy, own.ru_maxrss / 1024


class Stages:
    """A Progress that keeps when each stage began; one that comes again adds to what it had."""

    def __init__(self) -> None:
        self._name, self._begun = "starting", clock()
        self.found: dict[str, tuple[float, float, float]] = {}

    def __call__(self, name: str, done: int, total: int) -> None:
        if name != self._name:
            self.end(name)

    def end(self, following: str = "") -> None:
        now = clock()
        seconds, busy, _ = self.found.get(self._name, (0.0, 0.0, 0.0))
        self.found[self._name] = (seconds + now[0] - self._begun[0], busy + now[1] - self._begun[1], now[2])
        self._name, self._begun = following, now


def measured(make: Callable[[Stages], object]) -> dict[str, tuple[float, float, float]]:
    stages = Stages()
    make(stages)
    stages.end()
    return stages.found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("project", nargs="?", default=ROOT / "examples" / "greenhouse", type=Path)
    parser.add_argument("--board", default="qemu-mps2-an386")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        os.environ["XDG_CACHE_HOME"] = name
        import edge_tqs

        def make(stages: Stages) -> None:
            edge_tqs.build(args.project, board=args.board, out=Path(name) / "build", progress=stages)

        found = measured(make)
    print("| stage | seconds | CPU seconds | most memory, MB |\n|---|---|---|---|")
    for stage, (seconds, busy, memory) in found.items():
        print(f"| {stage} | {seconds:.1f} | {busy:.1f} | {memory:.0f} |")
    total = [sum(part) for part in zip(*((s, b) for s, b, _ in found.values()), strict=True)]
    print(f"| all | {total[0]:.1f} | {total[1]:.1f} | {max(memory for *_, memory in found.values()):.0f} |")


if __name__ == "__main__":
    main()
