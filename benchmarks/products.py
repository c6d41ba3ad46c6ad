"""Instructions per product of weights of a Keras model on each emulated core, windowed and streamed, int8 and int4.

    PYTHONPATH=$PWD python -m benchmarks.products MODEL.keras [--window W] [--cores m4 ...]

window: of the streamed form, where it must be another than the model's own. Beside each form: its products, and the
bytes of the largest buffer in which the inputs of one output sample of a convolution are gathered. The counts and their
check against the host are those of benchmarks/kernels.py.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.kernel_models import products
from benchmarks.kernels import CORES, LINUX_CORES, RUNS, measure, measure_linux, quantised
from edge_tqs.emit_c.memory import WORD, is_view
from edge_tqs.emit_c.tables import kernel_of
from edge_tqs.graph.graph import Graph
from edge_tqs.read.keras.model import load


def gathered(graph: Graph, core: str) -> int:
    """Bytes of the largest buffer that tqs_taps_s8 fills."""
    return max(WORD * kernel_of(graph, op, core).taps for op in graph.ops if not is_view(graph, op))


def counted(graph: Graph, core: str) -> str:
    runs = 2 if products(graph) > 100_000 else RUNS
    found = measure(graph, CORES[core], runs) if core in CORES else measure_linux(graph, LINUX_CORES[core], runs)
    count = found["instructions"]
    return f"{count:,} ({count / products(graph):.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--window", type=int)
    every = [*CORES, *(name for name, core in LINUX_CORES.items() if not core.kernels)]
    parser.add_argument("--cores", nargs="*", choices=every, default=every)
    args = parser.parse_args()
    print("| form | width | products | gathered | " + " | ".join(args.cores) + " |")
    print("|---" * (len(args.cores) + 4) + "|", flush=True)
    forms = {
        "windowed": load(args.model).graph,
        "streamed": load(args.model, recurrence="stateful", window=args.window).graph,
    }
    for form, graph in forms.items():
        for width in (8, 4):
            integer = quantised(graph, width)
            row = [form, f"int{width}", f"{products(integer):,}", f"{max(gathered(integer, core) for core in CORES)}"]
            print(f"| {' | '.join(row)} | ", end="", flush=True)
            for core in args.cores:
                print(counted(integer, core), end=" | ", flush=True)
            print(flush=True)


if __name__ == "__main__":
    main()
