"""The arena of each forecaster beside its liveness bound: all architectures of the zoo, and the models of kernels.py.

    python -m benchmarks.arena      print the table of docs/kernels.md; exit 1 where an arena is over 5 % above it

The models are built and not trained: where tensors lie depends on shapes, and on the kernels that a core has. The bound
is memory.MemoryPlan.arena_bound.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from benchmarks.evidence.architectures import ARCHITECTURES
from benchmarks.kernel_models import MODELS
from edge_tqs.emit_c.emit import memory_plan
from edge_tqs.errors import ModelError
from edge_tqs.graph.graph import Graph
from edge_tqs.quantization.calibration import calibrate
from edge_tqs.quantization.quantize import Activations, quantize
from edge_tqs.read.keras.model import load

CHANNELS = 7
LIMIT = 1.05
CORES = ("portable", "cortex-m0plus", "cortex-m3", "cortex-m4", "cortex-m55")
RECURRENCES: tuple[Literal["windowed", "stateful"], ...] = ("windowed", "stateful")
FORMS: tuple[tuple[Activations, int], ...] = (("int8", 8), ("int8", 4), ("int16", 8), ("int16", 4))


@dataclass(frozen=True)
class Row:
    """Bytes of the arena of a model and its bound, by form (activations, weights' bits) and core."""

    model: str
    form: tuple[Activations, int]
    core: str
    arena: int
    bound: int


def zoo(folder: Path, stepped: Collection[str]) -> Iterator[tuple[str, Graph]]:
    """Each architecture as it runs over its window, and those of ``stepped`` that can one sample at a time too."""
    import keras

    for name, architecture in ARCHITECTURES.items():
        for recurrence in RECURRENCES if name in stepped else RECURRENCES[:1]:
            keras.utils.set_random_seed(1)
            # A streamed TCN looks back 29 samples.
            window = architecture.window if recurrence == "windowed" else max(32, architecture.window)
            path = folder / f"{name}.keras"
            architecture.build(window, CHANNELS, CHANNELS).save(path)
            try:
                yield f"{name}, {recurrence}", load(path, recurrence=recurrence).graph
            except ModelError as refused:
                if recurrence == "windowed":
                    raise
                print(f"{name} has no step: {refused.message.rsplit(': ', 1)[-1]}", file=sys.stderr)


def rows(name: str, graph: Graph) -> Iterator[Row]:
    """The plans of ``graph`` in each form that the C has kernels for."""
    forecast = graph.forecast
    windows = np.random.default_rng(1).normal(size=(4, forecast.window, forecast.channels)).astype(np.float32)
    ranges = calibrate(graph, windows, 4)
    for form in FORMS:
        activations, bits = form
        try:
            integer = quantize(graph, dict.fromkeys(graph.weights(), bits), ranges, activations=activations)
            plans = {core: memory_plan(integer, core) for core in CORES}
        except ModelError as refused:
            if activations == "int8":
                raise
            print(f"{name}: {refused.message}", file=sys.stderr)
            continue
        yield from (Row(name, form, core, plan.arena_size, plan.arena_bound) for core, plan in plans.items())


def measured(stepped: Collection[str] = tuple(ARCHITECTURES)) -> Iterator[Row]:
    """The rows of all models; of the architectures in ``stepped`` one sample at a time too, where they can."""
    from edge_tqs.system.tensorflow import import_tensorflow

    import_tensorflow()
    with tempfile.TemporaryDirectory() as folder:
        for name, graph in zoo(Path(folder), stepped):
            yield from rows(name, graph)
    for name, make in MODELS.items():
        yield from rows(name, make())


def main() -> int:
    found = list(measured())
    print(
        "| model | arena, int8, Cortex-M4 | bound | arena over bound, at most, all forms and cores |\n|---|---|---|---|"
    )
    for name in dict.fromkeys(row.model for row in found):
        of_model = [row for row in found if row.model == name]
        shown = next(row for row in of_model if row.form == ("int8", 8) and row.core == "cortex-m4")
        worst = max(row.arena / max(1, row.bound) for row in of_model)
        print(f"| {name} | {shown.arena:,} | {shown.bound:,} | {worst:.3f} |")
    over = [row for row in found if row.arena > LIMIT * row.bound]
    print(f"{len(found)} plans, {sum(row.arena == row.bound for row in found)} of them at their bound")
    for row in over:
        print(f"{row}: over the limit", file=sys.stderr)
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(main())
