"""Dense: one fully_connected, y = activation(x @ kernel + bias)."""

from __future__ import annotations

from edge_tqs.layers.activation import activate
from edge_tqs.layers.builder import GraphBuilder, KerasLayer


def read_dense(layer: KerasLayer, builder: GraphBuilder) -> None:
    """Kernel (in, units), bias (units,) or none."""
    shape = builder.shape(builder.value)
    if len(shape) != 2:
        raise layer.refuse(
            f"it works on each of the {shape[1]} samples of the window apart, which is not supported",
            hint="Put a Flatten layer before the first Dense layer.",
        )
    builder.value = builder.fully_connected(
        f"{layer.name}/y", builder.value, layer.weights["kernel"], layer.weights.get("bias")
    )
    activate(layer, builder, layer.config["activation"])
