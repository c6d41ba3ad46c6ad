"""Layers that only change the shape, or nothing at all once the model is trained."""

from __future__ import annotations

import math

from edge_tqs.read.keras.layers.builder import GraphBuilder, KerasLayer


def read_nothing(layer: KerasLayer, builder: GraphBuilder) -> None:
    """InputLayer, and the layers that act in training only: dropout and noise."""


def read_flatten(layer: KerasLayer, builder: GraphBuilder) -> None:
    """Flatten: the window (1, W, F) becomes (1, W * F), oldest sample first; a flat value stays as it is."""
    shape = builder.shape(builder.value)
    if 3 in map(len, layer.shapes):
        builder.value = builder.viewed(builder.value, (1, math.prod(shape)))
    elif len(shape) == 3:
        builder.value = builder.op("reshape", f"{layer.name}/flat", [builder.value], (1, shape[1] * shape[2]))


def read_reshape(layer: KerasLayer, builder: GraphBuilder) -> None:
    """Reshape to a flat value (N,), a sequence (W, C) or an image (H, W, C); one target size may be -1."""
    before, target = builder.shape(builder.value), [int(size) for size in layer.config["target_shape"]]
    if len(target) not in (1, 2, 3):
        raise layer.refuse(
            f"target shape {tuple(target)} is not supported, only (N,), (W, C) and (H, W, C) are",
            hint="Reshape to a sequence of samples: the C and the flatbuffer hold nothing of a higher rank.",
        )
    if -1 in target:
        target[target.index(-1)] = math.prod(before) // -math.prod(target)
    if 3 in (len(target), *map(len, layer.shapes)):
        rows, channels = target[:-1], target[-1]
        builder.value = builder.viewed(builder.value, (1, math.prod(rows), channels) if rows else (1, channels))
    elif before != (1, *target):
        builder.value = builder.op("reshape", f"{layer.name}/reshaped", [builder.value], (1, *target))


def read_permute(layer: KerasLayer, builder: GraphBuilder) -> None:
    """Permute((2, 1)): samples and channels exchanged. Permute((1, 2)) and Permute((1,)) do nothing."""
    order = tuple(layer.config["dims"])
    if order == (2, 1):
        _, rows, columns = builder.shape(builder.value)
        builder.value = builder.op("transpose", f"{layer.name}/y", [builder.value], (1, columns, rows))
