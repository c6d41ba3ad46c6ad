"""The tables of docs/kernels.md, from kernels.json.

    python -m benchmarks.kernels_table            write them
    python -m benchmarks.kernels_table --check    exit 1 where the page has others

They lie between the lines ``<!-- NAME: begin -->`` and ``<!-- NAME: end -->``. The figures of other libraries were
measured once, of the same graphs, and are stated here. Where a ratio alone was written down, it is of the kernels of
that day, whose count is kept beside it.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent / "docs/kernels.md"
#: core of kernels.json -> as the page names it
CORES = {
    "m0plus": "M0+",
    "m3": "M3",
    "m4": "M4",
    "m7": "M7",
    "m33": "M33",
    "m55": "M55",
    "a72": "A72",
    "a76": "A76",
    "rv32imc": "RV32",
}

Counts = dict[str, dict[str, dict[str, dict[str, int]]]]


@dataclass(frozen=True)
class Peer:
    """Instructions that another library took for a row of kernels.json.

    figure: its own, or 0; then by ``ratio``, its instructions by ours, of ``then``, what ours took that day. least: the
    ratio is the lower end of a range for several rows, the strictest that may be of this one.
    """

    model: str
    width: str
    core: str
    figure: int = 0
    ratio: float = 0.0
    then: int = 0
    least: bool = False

    @property
    def instructions(self) -> int:
        return self.figure or round(self.ratio * self.then)

    @property
    def source(self) -> str:
        if self.figure:
            return "measured"
        return f"{'at least ' if self.least else ''}{self.ratio:g} of {self.then:,}"


_WIDE = "int8-int16"
PEERS = (
    Peer("fc-672x32", "int8", "m4", 42_306),
    Peer("dw-5x32x24", "int8", "m0plus", ratio=0.8, then=218_548),
    Peer("dw-5x32x24", "int8", "m3", ratio=0.9, then=129_232),
    Peer("dw-5x32x24", "int8", "m4", 66_643),
    Peer("dw-5x32x24", "int8", "m55", 13_359),
    Peer("dw-5x32x24", "int8", "a72", 6_294),
    Peer("dw-5x32x24", "int8", "rv32imc", ratio=0.54, then=127_550),
    Peer("attn-24x32x2", "int8", "m4", ratio=1.85, then=571_020),
    Peer("attn-24x32x2", "int8", "m55", ratio=1.75, then=441_210),
    Peer("attn-24x32x2", "int8", "a72", 280_846),
    *(
        Peer(model, _WIDE, core, ratio=ratio, then=then, least=True)
        for core, ratio, counts in (
            ("m3", 0.77, (56_836, 51_792, 106_604, 59_470, 74_047)),
            ("m4", 0.82, (24_909, 21_878, 106_604, 58_443, 74_242)),
            ("m55", 0.31, (24_055, 21_720, 122_992, 65_613, 73_427)),
        )
        for model, then in zip(
            ("mlp-168-64-64-7", "fc-512x32", "tanh+add-1024", "tanh+mul-1024", "softmax-48x24"), counts, strict=True
        )
    ),
    Peer("mlp-168-64-64-7", _WIDE, "a72", 34_289),
    Peer("avgpool-48x16", "int8", "m4", ratio=1.1, then=10_691),
    Peer("avgpool-48x16", "int8", "m55", ratio=0.66, then=9_973),
    Peer("avgpool-48x16", "int8", "a72", 1_979),
    Peer("maxpool-48x16", "int8", "m3", ratio=0.84, then=11_312),
    Peer("maxpool-48x16", "int8", "m4", ratio=0.83, then=11_314),
    Peer("maxpool-48x16", "int8", "m55", ratio=0.26, then=10_211),
    Peer("maxpool-48x16", "int8", "a72", 1_979),
    Peer("conv-3x16x16", "int8", "a76", 4_057),
    Peer("lstm-7-32", "int8", "a72", 6_557),
    Peer("tanh+add-1024", "int8", "a72", 827),
    Peer("tanh+mul-1024", "int8", "rv32imc", ratio=0.93, then=52_091),
)


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def ours(counts: Counts) -> Iterator[str]:
    """Instructions of each model, width and core."""
    yield _row(["model", "width", *CORES.values()])
    yield "|" + "---|" * (2 + len(CORES))
    for model, cores in counts.items():
        for width in cores["m4"]:
            yield _row([model, width, *(f"{cores[core][width]['instructions']:,}" for core in CORES)])


def beside_peers(counts: Counts) -> Iterator[str]:
    """Ours, the peer's, and how many times ours the peer's is, for each row of `PEERS`."""
    yield _row(["model", "width", "core", "ours", "peer", "peer / ours", "the peer's figure"])
    yield "|---|---|---|---|---|---|---|"
    for peer in PEERS:
        own = counts[peer.model][peer.core][peer.width]["instructions"]
        ratio = f"{peer.instructions / own:.2f}"
        figures = [f"{own:,}", f"{peer.instructions:,}", ratio if peer.instructions >= own else f"**{ratio}**"]
        yield _row([peer.model, peer.width, CORES[peer.core], *figures, peer.source])


def written(page: str, counts: Counts) -> str:
    """``page`` with its tables made anew."""
    for name, table in (("instructions", ours), ("peers", beside_peers)):
        lines = "\n".join(table(counts))
        between = rf"(<!-- {name}: begin -->\n\n).*?(\n\n<!-- {name}: end -->)"
        page, made = re.subn(between, lambda found, lines=lines: found[1] + lines + found[2], page, flags=re.DOTALL)  # type: ignore[misc]
        if made != 1:
            sys.exit(f"{PAGE.name}: {made} places for the table {name}, not one; mark it with <!-- {name}: begin -->")
    return page


def main() -> int:
    parser = argparse.ArgumentParser(description="The tables of docs/kernels.md, from kernels.json.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where the page has other tables")
    args = parser.parse_args()
    page = PAGE.read_text(encoding="utf-8")
    made = written(page, json.loads((HERE / "kernels.json").read_text(encoding="utf-8")))
    if args.check:
        if made != page:
            print("docs/kernels.md has other figures than kernels.json: run python -m benchmarks.kernels_table")
        return int(made != page)
    PAGE.write_text(made, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
