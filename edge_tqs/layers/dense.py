"""Dense: one fully_connected, y = activation(x @ kernel + bias); on a sequence a conv_1d of one tap."""

from __future__ import annotations

from dataclasses import replace

from edge_tqs.layers.activation import activate
from edge_tqs.layers.builder import GraphBuilder, KerasLayer


def read_dense(layer: KerasLayer, builder: GraphBuilder) -> None:
    """Kernel (in, units), bias (units,) or none."""
    out, x, kernel, bias = f"{layer.name}/y", builder.value, layer.weights["kernel"], layer.weights.get("bias")
    if len(builder.shape(x)) == 2:
        builder.value = builder.fully_connected(out, x, kernel, bias)
    else:
        one_tap = replace(kernel, data=kernel.data[None])
        builder.value = builder.conv_1d(out, x, one_tap, bias, stride=1, dilation=1, left=0, right=0)
    activate(layer, builder, layer.config["activation"])
