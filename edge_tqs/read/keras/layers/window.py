"""Layers that cut, lengthen or pool the window: Cropping1D, ZeroPadding1D, UpSampling1D, AveragePooling1D,
MaxPooling1D, GlobalAveragePooling1D, GlobalMaxPooling1D."""

from __future__ import annotations

from typing import Any

from edge_tqs.graph.shapes import pool_length
from edge_tqs.read.keras.layers.builder import GraphBuilder, KerasLayer


def read_cropping_1d(layer: KerasLayer, builder: GraphBuilder) -> None:
    """Drop samples at both ends."""
    before, after = layer.config["cropping"]
    shape = builder.shape(builder.value)
    size = shape[1] - before - after
    if size < 1:
        raise layer.refuse(f"it drops {before} and {after} of {shape[1]} samples: none is left")
    if size < shape[1]:
        out = (1, size, shape[2])
        attrs = {"axis": 1, "begin": before, "size": size}
        builder.value = builder.op("slice", f"{layer.name}/y", [builder.value], out, **attrs)


def read_zero_padding_1d(layer: KerasLayer, builder: GraphBuilder) -> None:
    """Add zeros at both ends."""
    before, after = layer.config["padding"]
    if before or after:
        builder.value = builder.padded(f"{layer.name}/y", builder.value, before, after)


def read_global_average_pooling_1d(layer: KerasLayer, builder: GraphBuilder) -> None:
    """The mean over time: (W, C) to (C,), or to (1, C) with keepdims."""
    _check_format(layer)
    channels = builder.shape(builder.value)[2]
    builder.value = builder.op("mean", f"{layer.name}/mean", [builder.value], (1, 1, channels))
    _without_time(layer, builder)


def read_global_max_pooling_1d(layer: KerasLayer, builder: GraphBuilder) -> None:
    """The largest over time: (W, C) to (C,), or to (1, C) with keepdims."""
    _check_format(layer)
    _pool(layer, builder, "max_pool_1d", size=builder.shape(builder.value)[1], stride=1, padding="valid")
    _without_time(layer, builder)


def read_pooling_1d(layer: KerasLayer, builder: GraphBuilder) -> None:
    """AveragePooling1D and MaxPooling1D."""
    _check_format(layer)
    kind = "avg_pool_1d" if layer.kind == "AveragePooling1D" else "max_pool_1d"
    size, stride = _one(layer.config["pool_size"]), _one(layer.config["strides"])
    _pool(layer, builder, kind, size=size, stride=stride, padding=layer.config["padding"])


def read_up_sampling_1d(layer: KerasLayer, builder: GraphBuilder) -> None:
    """Each sample ``size`` times: copies side by side along the channels, then read as samples."""
    size, (_, length, channels) = _one(layer.config["size"]), builder.shape(builder.value)
    if size > 1:
        wide = builder.concat(f"{layer.name}/side", [builder.value] * size, axis=2)
        builder.value = builder.op("reshape", f"{layer.name}/y", [wide], (1, length * size, channels))


def _pool(layer: KerasLayer, builder: GraphBuilder, kind: str, **attrs: Any) -> None:
    _, length, channels = builder.shape(builder.value)
    shape = (1, pool_length(length, attrs), channels)
    if shape[1] < 1:  # of a window shorter than the one that Keras has checked
        raise layer.refuse(f"it pools {attrs['size']} samples, more than the {length} there are")
    builder.value = builder.op(kind, f"{layer.name}/y", [builder.value], shape, **attrs)


def _check_format(layer: KerasLayer) -> None:
    if layer.config["data_format"] != "channels_last":
        raise layer.refuse("data_format=channels_first is not supported", hint="Train it with channels_last.")


def _one(value: Any) -> int:
    """A setting of one axis, which Keras writes as a number or as a tuple of one."""
    return int(value if isinstance(value, int) else value[0])


def _without_time(layer: KerasLayer, builder: GraphBuilder) -> None:
    channels = builder.shape(builder.value)[2]
    if not layer.config["keepdims"]:
        builder.value = builder.op("reshape", f"{layer.name}/flat", [builder.value], (1, channels))
