"""Layers that only change the shape, or nothing at all once the model is trained."""

from __future__ import annotations

from edge_tqs.layers.builder import GraphBuilder, KerasLayer


def read_nothing(layer: KerasLayer, builder: GraphBuilder) -> None:
    """InputLayer, and the layers that act in training only: dropout and noise."""


def read_flatten(layer: KerasLayer, builder: GraphBuilder) -> None:
    """Flatten: the window (1, W, F) becomes (1, W * F), oldest sample first; a flat value stays as it is."""
    shape = builder.shape(builder.value)
    if len(shape) == 3:
        builder.value = builder.op("reshape", f"{layer.name}/flat", [builder.value], (1, shape[1] * shape[2]))


def read_reshape(layer: KerasLayer, builder: GraphBuilder) -> None:
    """Reshape, where it does what Flatten does."""
    target = tuple(layer.config["target_shape"])
    if len(target) != 1:
        raise layer.refuse(
            f"target shape {target} is not supported, only flattening is",
            hint="A forecaster predicts one sample, (F,): several steps ahead come from feeding it its own output.",
        )
    read_flatten(layer, builder)
