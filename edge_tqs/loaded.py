"""What reading a model file gives, whatever its format."""

from __future__ import annotations

from dataclasses import dataclass

from edge_tqs.graph import Graph


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A model that was read.

    graph: float32, checked. float_vs_keras_max_abs: largest difference of a one-step forecast from Keras, or from
    LiteRT for a TensorFlow Lite file, in the model's units. source_hash: SHA-256 of the file, hex. parameters: how
    many trained values. layers: one line each, for printing. notes: sentences for the reader of a build.
    """

    graph: Graph
    float_vs_keras_max_abs: float
    source_hash: str
    parameters: int
    layers: tuple[str, ...]
    notes: tuple[str, ...] = ()
