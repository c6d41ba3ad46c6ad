"""What `build` makes of a model of the zoo, activations included: file, and divergence on the judging windows."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import edge_tqs
from benchmarks.evidence.judge import MOST
from benchmarks.evidence.project import written
from benchmarks.evidence.zoo import HORIZON, Trained
from edge_tqs.graph.graph import Array, Graph
from edge_tqs.quantization.simulate import decode, encode, integer_rollout

#: Of activations, in the order of the table.
ACTIVATIONS = ("int8", "mixed", "int16")
#: Whose core the costs of mixed activations are counted on.
BOARD = "qemu-mps2-an386"
#: Of the score, which plans of one width do not need.
DRAWS = 4


def measure(trained: Trained, windows: Array, nominal: Array, truth: Array) -> dict[str, Any]:
    """By type of activations, all weights int8: {bytes, divergence RMSE from ``nominal``, mse over float's}.

    windows, nominal, truth: of the judge. What cannot be made gives {error: what the tool says}. The data of the
    project are the whole series, of which the tool takes the training part.
    """
    found: dict[str, Any] = {}
    of_float = float(np.square(nominal - truth).mean())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        written(trained, folder)
        for activations in ACTIVATIONS:
            try:
                model = edge_tqs.open_model(folder, activations=activations)  # type: ignore[arg-type]
                scored = edge_tqs.score(model, draws=DRAWS, cache=False)
                made = edge_tqs.quantize(edge_tqs.plan(scored, bits=8, board=BOARD))
            except edge_tqs.TqsError as error:
                found[activations] = {"error": error.message}
                continue
            outputs = rolled_out(made.integer, windows)
            difference = np.clip(np.nan_to_num(outputs - nominal, nan=MOST), -MOST, MOST)
            found[activations] = {
                "bytes": len(made.flatbuffer),
                "divergence": float(np.sqrt(np.square(difference).mean())),
                "mse": float(np.square(outputs - truth).mean()) / of_float,
            }
    return found


def rolled_out(integer: Graph, windows: Array) -> Array:
    """(N, T, outputs) in the model's units, float64; windows in them too."""
    forecast = integer.forecast
    seeds = windows if forecast.scaling is None else forecast.scaling.scaled(windows)
    outputs: Array = decode(integer, integer_rollout(integer, encode(integer, seeds), HORIZON).outputs)
    units = forecast.scaling_of_outputs()
    made: Array = outputs.astype(np.float64) * units.std + units.mean
    return made
