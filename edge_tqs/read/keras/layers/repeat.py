"""RepeatVector: a flat value once for each sample of a sequence, as a decoder reads it."""

from __future__ import annotations

from edge_tqs.read.keras.layers.builder import GraphBuilder, KerasLayer


def read_repeat_vector(layer: KerasLayer, builder: GraphBuilder) -> None:
    """(C,) to (n, C)."""
    channels = builder.shape(builder.value)[-1]
    sample = builder.op("reshape", f"{layer.name}/sample", [builder.value], (1, 1, channels))
    builder.value = builder.concat(f"{layer.name}/y", [sample] * int(layer.config["n"]), axis=1)
