"""Layers of images (H, W, C), as which people give windows to Conv2D. A graph holds an image as the sequence (1, H * W,
C), row after row, so that nothing of two dimensions is left of it:

- a kernel (K, 1) is one conv_1d whose taps are W samples apart;
- a kernel (1, K) goes over all rows, one behind the other, and what it makes across their ends is cut off;
- a kernel (K, W) without padding is a conv_1d over rows (1, H, W * C): Conv1D of K samples of W channels;
- a kernel (K, L) reads L images side by side along the channels, each moved by one column: conv_1d again.

Strides that no conv_1d has are a max_pool_1d of one sample, which picks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from edge_tqs.graph.shapes import pool_left, pool_length
from edge_tqs.read.keras.layers.activation import activate
from edge_tqs.read.keras.layers.builder import GraphBuilder, KerasLayer, Weight
from edge_tqs.read.keras.layers.conv import padding_of

#: Adds a convolution along time: (name, x (1, T, C), kernel of Keras for it, attributes) -> its output (1, T', O)
Convolution = Callable[..., str]
Pair = tuple[int, int]


def as_sequence(builder: GraphBuilder, x: str, shape: tuple[int | None, ...]) -> str:
    """An image of ``shape`` (H, W, C), in whatever form the graph has its values, as (1, H * W, C)."""
    height, width, channels = _sizes(shape)
    return builder.viewed(x, (1, height * width, channels))


def read_conv_2d(layer: KerasLayer, builder: GraphBuilder) -> None:
    """Kernel (KH, KW, C, filters), bias (filters,) or none; same or valid padding."""
    if layer.config["groups"] != 1:
        raise layer.refuse("its groups are not supported", hint="Use groups=1, or DepthwiseConv2D.")
    bias = layer.weights.get("bias")

    def convolve(out: str, x: str, kernel: Weight, **attrs: int) -> str:
        builder.value = builder.conv_1d(out, x, kernel, bias, **attrs)
        activate(layer, builder, layer.config["activation"])
        return builder.value

    _convolve(layer, builder, layer.weights["kernel"], convolve)


def read_depthwise_conv_2d(layer: KerasLayer, builder: GraphBuilder) -> None:
    """Kernel (KH, KW, C, multiplier) of which one side is 1, bias (C * multiplier,) or none; same or valid padding."""
    bias, kernel = layer.weights.get("bias"), layer.weights["kernel"]

    def convolve(out: str, x: str, kernel: Weight, **attrs: int) -> str:
        builder.value = builder.depthwise_1d(out, x, kernel, bias, **attrs)
        activate(layer, builder, layer.config["activation"])
        return builder.value

    _convolve(layer, builder, kernel, convolve)


def read_pooling_2d(layer: KerasLayer, builder: GraphBuilder) -> None:
    """AveragePooling2D and MaxPooling2D: one axis after the other."""
    _check_format(layer)
    kind = "avg_pool_1d" if layer.kind == "AveragePooling2D" else "max_pool_1d"
    height, width, channels = _sizes(layer.shapes[0])
    (high, wide), (down, along) = _pair(layer.config["pool_size"]), _pair(layer.config["strides"])
    padding = layer.config["padding"]
    x = builder.value
    if height > 1 and (high, down) != (1, 1):
        attrs = {"size": high, "stride": down, "padding": padding}
        rows = pool_length(height, attrs)
        x = builder.viewed(x, (1, height, width * channels))
        x = builder.op(kind, f"{layer.name}/rows", [x], (1, rows, width * channels), attrs=attrs)
        height = rows
    if width > 1 and (wide, along) != (1, 1):
        attrs = {"size": wide, "stride": along, "padding": padding}
        columns = pool_length(width, attrs)
        if height == 1:
            x = builder.op(
                kind,
                f"{layer.name}/columns",
                [builder.viewed(x, (1, width, channels))],
                (1, columns, channels),
                attrs=attrs,
            )
        else:
            x = _pooled_columns(layer, builder, kind, x, (height, width, channels), attrs)
        width = columns
    builder.value = builder.viewed(x, (1, height * width, channels))


def _pooled_columns(
    layer: KerasLayer, builder: GraphBuilder, kind: str, x: str, shape: tuple[int, int, int], attrs: Mapping[str, Any]
) -> str:
    """Each row's columns by themselves: all at once where pools lie side by side, else one pool after another."""
    (height, width, channels), name = shape, layer.name
    size, stride, left, count = attrs["size"], attrs["stride"], pool_left(width, attrs), pool_length(width, attrs)
    if size == stride and not left and count * size <= width:
        pools = [(0, count * size, size)]
    else:
        ends = [(max(n * stride - left, 0), min(n * stride - left + size, width)) for n in range(count)]
        pools = [(begin, end - begin, end - begin) for begin, end in ends]
    made = []
    for number, (begin, taken, over) in enumerate(pools):
        part = _columns(builder, f"{name}/{number}/x", x, shape, begin, taken)
        part = builder.viewed(part, (1, height * taken, channels))
        each = {"size": over, "stride": over, "padding": "valid"}
        part = builder.op(kind, f"{name}/{number}", [part], (1, height * taken // over, channels), attrs=each)
        made.append(builder.viewed(part, (1, height, taken // over * channels)))
    return builder.concat(f"{name}/columns", made, axis=2)


def _convolve(layer: KerasLayer, builder: GraphBuilder, kernel: Weight, convolve: Convolution) -> None:
    _check_format(layer)
    shape = _sizes(layer.shapes[0])
    strides, dilations = _pair(layer.config["strides"]), _pair(layer.config["dilation_rate"])
    reaches = tuple(dilation * (taps - 1) for dilation, taps in zip(dilations, kernel.data.shape, strict=False))
    pads = []
    for axis in (0, 1):
        pads.append(padding_of(layer.config["padding"], shape[axis], strides[axis], reaches[axis]))
        if shape[axis] == 1 and pads[axis][0] % dilations[axis] == 0 and kernel.data.shape[axis] > 1:
            tap = pads[axis][0] // dilations[axis]  # the only one that meets more than zeros
            kernel = Weight(kernel.path, np.take(kernel.data, [tap], axis), kernel.part)
            pads[axis] = (0, 0)
    high, wide = kernel.data.shape[:2]
    name, out = layer.name, f"{layer.name}/y"
    x = builder.value
    height, width, channels = shape
    (top, bottom), (before, after) = pads
    down, along = strides
    if wide == 1:
        pass  # W samples apart
    elif wide == width and not before and not after and layer.kind == "Conv2D" and dilations[1] == 1:
        kernel = Weight(kernel.path, kernel.data.reshape(high, 1, width * channels, -1), kernel.part)
        width, channels, along = 1, width * channels, 1
    elif high == 1:
        _over_rows(layer, builder, kernel, convolve, shape, (before, after))
        return
    elif layer.kind == "Conv2D":
        reach = dilations[1] * (wide - 1)
        x, padded = _padded(builder, f"{name}/padded", x, shape, before, after)
        moved = padded - reach
        parts = [
            builder.viewed(
                _columns(builder, f"{name}/{tap}", x, (height, padded, channels), tap * dilations[1], moved),
                (1, height * moved, channels),
            )
            for tap in range(wide)
        ]
        x, width, channels = builder.concat(f"{name}/taps", parts, axis=2), moved, wide * channels
        kernel = Weight(kernel.path, kernel.data.reshape(high, 1, channels, -1), kernel.part)
    else:
        raise layer.refuse(
            f"its kernel is {high} x {wide}, on an image of {shape[0]} x {shape[1]}: it moves along two axes",
            hint="Use a DepthwiseConv2D of (K, 1) and one of (1, K), or a Conv2D, which may move along both.",
        )
    direct = width == 1 or high == 1 == down
    x = builder.viewed(x, (1, height * width, channels))
    attrs = {"dilation": dilations[0] * width, "left": top * width, "right": bottom * width}
    x = convolve(out, x, _flat(kernel), stride=down if direct else 1, **attrs)
    made = builder.shape(x)[2]
    rows = builder.shape(x)[1] // width
    builder.value = _picked(builder, name, x, (rows, width, made), (1 if direct else down, along))


def _over_rows(
    layer: KerasLayer,
    builder: GraphBuilder,
    kernel: Weight,
    convolve: Convolution,
    shape: tuple[int, int, int],
    pad: Pair,
) -> None:
    """A kernel (1, K): along the only row, or along all rows one behind the other."""
    name, out, (height, width, channels) = layer.name, f"{layer.name}/y", shape
    (down, along), dilation = _pair(layer.config["strides"]), _pair(layer.config["dilation_rate"])[1]
    reach = dilation * (kernel.data.shape[1] - 1)
    kernel = Weight(kernel.path, kernel.data[0], kernel.part)
    if height == 1:
        x = builder.viewed(builder.value, (1, width, channels))
        attrs = {"stride": along, "dilation": dilation, "left": pad[0], "right": pad[1]}
        builder.value = convolve(out, x, kernel, **attrs)
        return
    count = (width + sum(pad) - reach - 1) // along + 1
    more = -(width + sum(pad)) % along
    x, padded = _padded(builder, f"{name}/padded", builder.value, shape, pad[0], pad[1] + more)
    x = builder.viewed(x, (1, height * padded, channels))
    x = convolve(out, x, kernel, stride=along, dilation=dilation, left=0, right=reach)
    made, every = builder.shape(x)[2], padded // along
    x = _columns(builder, f"{name}/rows", x, (height, every, made), 0, count)
    builder.value = _picked(builder, name, x, (height, count, made), (down, 1))


def _flat(kernel: Weight) -> Weight:
    """A kernel (K, 1, ...) as one of a convolution over time."""
    return Weight(kernel.path, kernel.data[:, 0], kernel.part)


def _padded(
    builder: GraphBuilder, out: str, x: str, shape: tuple[int, int, int], before: int, after: int
) -> tuple[str, int]:
    """(``x`` with columns of zeros beside it, its width)."""
    height, width, channels = shape
    if before or after:
        parts = [builder.viewed(x, (1, height, width * channels))]
        if before:
            parts.insert(0, builder.zeros(f"{out}/before", (1, height, before * channels)))
        if after:
            parts.append(builder.zeros(f"{out}/after", (1, height, after * channels)))
        x = builder.concat(out, parts, axis=2)
    return x, before + width + after


def _columns(builder: GraphBuilder, out: str, x: str, shape: tuple[int, int, int], begin: int, count: int) -> str:
    """``count`` columns of an image from ``begin`` on."""
    height, width, channels = shape
    if count == width:
        return x
    x = builder.viewed(x, (1, height, width * channels))
    return builder.slice(out, x, begin * channels, count * channels)


def _picked(builder: GraphBuilder, name: str, x: str, shape: tuple[int, int, int], steps: Pair) -> str:
    """Every so many rows and columns of an image, as (1, H' * W', C)."""
    height, width, channels = shape
    down, along = steps
    if down > 1 and height > 1:
        attrs = {"size": 1, "stride": down, "padding": "valid"}
        rows = pool_length(height, attrs)
        x = builder.viewed(x, (1, height, width * channels))
        x = builder.op("max_pool_1d", f"{name}/picked_rows", [x], (1, rows, width * channels), attrs=attrs)
        height = rows
    if along > 1 and width > 1:
        attrs = {"size": 1, "stride": along, "padding": "valid"}
        columns = pool_length(width, attrs)
        x, width = _padded(builder, f"{name}/whole", x, (height, width, channels), 0, columns * along - width)
        x = builder.viewed(x, (1, height * width, channels))
        x = builder.op("max_pool_1d", f"{name}/picked_columns", [x], (1, height * columns, channels), attrs=attrs)
        width = columns
    return builder.viewed(x, (1, height * width, channels))


def _sizes(shape: tuple[int | None, ...]) -> tuple[int, int, int]:
    height, width, channels = (int(size or 0) for size in shape)
    return height, width, channels


def _pair(value: int | list[int] | tuple[int, ...]) -> Pair:
    """A setting of both axes, which Keras writes as a number or as two."""
    return (value, value) if isinstance(value, int) else (int(value[0]), int(value[1]))


def _check_format(layer: KerasLayer) -> None:
    if layer.config["data_format"] != "channels_last":
        raise layer.refuse("data_format=channels_first is not supported", hint="Train it with channels_last.")
