"""What int16 activations win among int8 ones, and what they cost: the Transformer of benchmarks/attention.py.

    python -m benchmarks.mixed_activations        about four minutes on two cores

For each of the limits that `build` goes to, and for int8 and int16 all through: squared error of the integer graph from
float over held-out windows that nothing was chosen on; RAM, and instructions counted on the emulated Cortex-M4.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

import edge_tqs
from benchmarks.attention import HORIZON, TRAIN, series, trained, transformer
from edge_tqs.building.selection import widening
from edge_tqs.building.selection.room import ram_of
from edge_tqs.emit_c.emit import memory_plan
from edge_tqs.graph.graph import Array
from edge_tqs.passes.interpret import float_rollout
from edge_tqs.quantization.simulate import decode, encode, integer_rollout
from edge_tqs.text_table import table

BOARD = "qemu-mps2-an386"
STEPS = (16, 24, HORIZON)


def held_out(project: Path) -> Array:
    """The windows (N, W, F) that nothing is chosen on."""
    model = edge_tqs.open_model(project, horizon=HORIZON, activations="int8")
    return edge_tqs.quantize(model, bits=8).windows.evaluation


def measured(project: Path, activations: str, seeds: Array) -> tuple[list[float], float, float]:
    """(squared error from float over each of STEPS, bytes of RAM, instructions a step) of a build for BOARD."""
    model = edge_tqs.open_model(project, horizon=HORIZON, activations=activations)  # type: ignore[arg-type]
    build = edge_tqs.build(model, bits=8, board=BOARD, out=project / activations)
    graph, floats = build.graph, float_rollout(build.float_graph, seeds, HORIZON).outputs
    said = decode(graph, integer_rollout(graph, encode(graph, seeds), HORIZON).outputs)
    errors = [float(np.square(said - floats)[:, :steps].mean()) for steps in STEPS]
    counted = edge_tqs.validate(build, rollouts=1).latency.instructions
    assert counted is not None
    return errors, float(ram_of(graph, memory_plan(graph, build.board.core))), float(counted)


def _closed(mine: float, most: float, least: float) -> str:
    """Of the squared error between int8 and int16 what is taken away; in brackets, of its root."""
    roots = [float(np.sqrt(value)) for value in (mine, most, least)]
    shares = [(b - a) / (b - c) for a, b, c in ((mine, most, least), roots)]
    return f"{shares[0]:.0%} ({shares[1]:.0%})"


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.savetxt(folder / "series.csv", data := series(), "%.5f", ",", header="near,far", comments="")
        trained(transformer, data, folder / "model.keras")
        (folder / "edge-tqs.toml").write_text(
            f'[model]\npath = "model.keras"\n[data]\ncsv = "series.csv"\ntest_rows = {len(data) - TRAIN}\n'
            '[scaling]\nmethod = "standard"\n',
            encoding="utf-8",
        )
        seeds = held_out(folder)
        int8, int16 = (measured(folder, types, seeds) for types in ("int8", "int16"))
        rows = []
        for limit in widening.LIMITS:
            widening.LIMITS = (limit,)
            found, ram, count = measured(folder, "mixed", seeds)
            of = zip(found, int8[0], int16[0], strict=True)
            shares = [_closed(*each) for each in of]
            limits = ", ".join(f"{part:g}" for part in limit)
            rows.append([limits, *shares, f"{ram / int8[1]:.2f}", f"{count / int8[2]:.2f}"])
        rows.append(["any", *["100% (100%)"] * len(STEPS), f"{int16[1] / int8[1]:.2f}", f"{int16[2] / int8[2]:.2f}"])
    print(table(["RAM, instructions at most", *(f"{steps} steps" for steps in STEPS), "RAM", "instructions"], rows))
    print(f"{int8[2]:,.0f} instructions with int8 activations")


if __name__ == "__main__":
    main()
