"""Layers that cut, lengthen or average the window: Cropping1D, ZeroPadding1D, GlobalAveragePooling1D."""

from __future__ import annotations

from edge_tqs.layers.builder import GraphBuilder, KerasLayer


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
    if layer.config["data_format"] != "channels_last":
        raise layer.refuse("data_format=channels_first is not supported", hint="Train it with channels_last.")
    channels = builder.shape(builder.value)[2]
    builder.value = builder.op("mean", f"{layer.name}/mean", [builder.value], (1, 1, channels))
    if not layer.config["keepdims"]:
        builder.value = builder.op("reshape", f"{layer.name}/flat", [builder.value], (1, channels))
