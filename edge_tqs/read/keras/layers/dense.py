"""Dense: one fully_connected, y = activation(x @ kernel + bias); on a sequence a conv_1d of one tap."""

from __future__ import annotations

from edge_tqs.read.keras.layers.activation import activate
from edge_tqs.read.keras.layers.builder import GraphBuilder, KerasLayer


def read_dense(layer: KerasLayer, builder: GraphBuilder) -> None:
    """Kernel (in, units), bias (units,) or none."""
    kernel, bias = layer.weights["kernel"], layer.weights.get("bias")
    builder.value = builder.dense(f"{layer.name}/y", builder.value, kernel, bias)
    activate(layer, builder, layer.config["activation"])
