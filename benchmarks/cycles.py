"""Cycles of one evaluation of the models of benchmarks/kernels.py, modelled as docs/latency.md says; no wait states.

python -m benchmarks.cycles --cores m3 --models mlp-168-64-64-7    instructions and cycles, by width
"""

from __future__ import annotations

import argparse
import re
import subprocess
import tempfile
from pathlib import Path

from benchmarks.kernel_models import MODELS
from benchmarks.kernels import CORES, FEW_RUNS, build, forms
from edge_tqs.boards.timing.counting import machine_of, run
from edge_tqs.boards.timing.modelled import MODELS as CORE_MODELS
from edge_tqs.graph.graph import Graph

MODELLED = {name: core for name, core in CORES.items() if core.name in CORE_MODELS}


def counted(graph: Graph, name: str) -> tuple[float, float]:
    """(instructions, cycles) of one evaluation on a core of `MODELLED`."""
    core = MODELLED[name]
    with tempfile.TemporaryDirectory() as folder:
        elf = build(graph, core, Path(folder), FEW_RUNS)
        listed = subprocess.run(["arm-none-eabi-nm", str(elf)], capture_output=True, text=True, check=True).stdout
        at = {symbol: int(address, 16) & ~1 for address, symbol in re.findall(r"^(\w+) [tT] (\w+)$", listed, re.M)}
        # From the first evaluation on, until the ticks of all are told.
        (segment,) = run(elf, machine_of(core.name), at["tqs_graph_run"], at["tell"])
    return segment.instructions / FEW_RUNS, CORE_MODELS[core.name].cycles(segment) / FEW_RUNS


def main() -> None:
    parser = argparse.ArgumentParser(description="Modelled cycles of the kernels, without wait states.")
    parser.add_argument("--models", nargs="*", choices=MODELS, default=list(MODELS))
    parser.add_argument("--cores", nargs="*", choices=MODELLED, default=list(MODELLED))
    args = parser.parse_args()
    for model in args.models:
        for width, graph in forms(model).items():
            for core in args.cores:
                instructions, cycles = counted(graph, core)
                print(f"{model:16} {core:7} {width:11} {instructions:12,.0f} instructions {cycles:12,.0f} cycles")


if __name__ == "__main__":
    main()
