"""Convolutions over time. Conv1D is one conv_1d:

y[t] = activation(sum over k of kernel[k]' x[t * stride + k * dilation - left] + bias)

DepthwiseConv1D is one depthwise_1d, SeparableConv1D one and a conv_1d of one tap behind it. Conv1D with groups is a
depthwise_1d where each channel is a group by itself, else it is cut into its groups.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edge_tqs.read.keras.layers.activation import activate
from edge_tqs.read.keras.layers.builder import GraphBuilder, KerasLayer, Weight


def read_conv_1d(layer: KerasLayer, builder: GraphBuilder) -> None:
    """Kernel (K, in, filters), bias (filters,) or none; causal, same or valid padding. A ZeroPadding1D goes into it."""
    x, attrs = _place(layer, builder)
    kernel, bias, groups = layer.weights["kernel"], layer.weights.get("bias"), int(layer.config["groups"])
    if groups == 1:
        builder.value = builder.conv_1d(f"{layer.name}/y", x, kernel, bias, **attrs)
    elif kernel.data.shape[1] == 1:  # (taps, 1, groups * m): the filters of a channel lie side by side
        split = Weight(kernel.path, kernel.data.reshape(kernel.data.shape[0], groups, -1))
        builder.value = builder.depthwise_1d(f"{layer.name}/y", x, split, bias, **attrs)
    else:
        builder.value = _grouped(layer, builder, x, attrs)
    activate(layer, builder, layer.config["activation"])


def read_depthwise_conv_1d(layer: KerasLayer, builder: GraphBuilder) -> None:
    """Kernel (K, in, multiplier), bias (in * multiplier,) or none; same or valid padding."""
    x, attrs = _place(layer, builder)
    kernel, bias = layer.weights["kernel"], layer.weights.get("bias")
    builder.value = builder.depthwise_1d(f"{layer.name}/y", x, kernel, bias, **attrs)
    activate(layer, builder, layer.config["activation"])


def read_separable_conv_1d(layer: KerasLayer, builder: GraphBuilder) -> None:
    """Depthwise kernel (K, in, multiplier), pointwise kernel (1, in * multiplier, filters), bias (filters,) or none."""
    x, attrs = _place(layer, builder)
    depthwise = builder.depthwise_1d(f"{layer.name}/depthwise", x, layer.weights["depthwise_kernel"], None, **attrs)
    pointwise, bias = layer.weights["pointwise_kernel"], layer.weights.get("bias")
    plain = {"stride": 1, "dilation": 1, "left": 0, "right": 0}
    builder.value = builder.conv_1d(f"{layer.name}/y", depthwise, pointwise, bias, **plain)
    activate(layer, builder, layer.config["activation"])


def _grouped(layer: KerasLayer, builder: GraphBuilder, x: str, attrs: dict[str, int]) -> str:
    """A conv_1d for each group of channels, and their outputs side by side."""
    kernel, bias, groups = layer.weights["kernel"], layer.weights.get("bias"), int(layer.config["groups"])
    ins, outs = kernel.data.shape[1], kernel.data.shape[2] // groups
    parts = []
    for number in range(groups):
        name, part, rows = f"{layer.name}/{number}", f"/{number}", slice(number * outs, (number + 1) * outs)
        own = Weight(kernel.path, np.ascontiguousarray(kernel.data[..., rows]), part)
        own_bias = None if bias is None else Weight(bias.path, bias.data[rows], part)
        read = builder.slice(f"{name}/x", x, number * ins, ins)
        parts.append(builder.conv_1d(f"{name}/y", read, own, own_bias, **attrs))
    return builder.concat(f"{layer.name}/y", parts, axis=2)


def _place(layer: KerasLayer, builder: GraphBuilder) -> tuple[str, dict[str, int]]:
    """What a convolution reads, and the attributes that say where: a padding in front of it goes into it."""
    config: Any = layer.config
    if config["data_format"] != "channels_last":
        raise layer.refuse("data_format=channels_first is not supported", hint="Train it with channels_last.")
    x, before, after = builder.unpadded(builder.value)
    stride, dilation, taps = (one(config[name]) for name in ("strides", "dilation_rate", "kernel_size"))
    padded = builder.shape(x)[1] + before + after
    left, right = padding_of(config["padding"], padded, stride, dilation * (taps - 1))
    if padded + left + right <= dilation * (taps - 1):
        raise layer.refuse(
            f"its kernel reaches over {dilation * (taps - 1) + 1} samples, more than the {padded} there are"
        )
    return x, {"stride": stride, "dilation": dilation, "left": before + left, "right": after + right}


def one(value: Any) -> int:
    """A setting of one axis, which Keras writes as a number or as a tuple of one."""
    return int(value if isinstance(value, int) else value[0])


def padding_of(kind: str, length: int, stride: int, reach: int) -> tuple[int, int]:
    """Zeros before and after a sequence; "same" as TensorFlow splits them, the odd one at the end."""
    if kind == "causal":
        return reach, 0
    if kind == "valid":
        return 0, 0
    total = max(0, (-(-length // stride) - 1) * stride + reach + 1 - length)
    return total // 2, total - total // 2
