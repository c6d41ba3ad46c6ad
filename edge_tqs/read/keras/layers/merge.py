"""Layers of several inputs: Add, Subtract, Multiply, Average, Maximum, Minimum, Concatenate."""

from __future__ import annotations

import numpy as np

from edge_tqs.graph.shapes import broadcasts
from edge_tqs.read.keras.layers.builder import GraphBuilder, KerasLayer


def read_merge(layer: KerasLayer, builder: GraphBuilder) -> None:
    """Add, Multiply, Average, Maximum, Minimum (two or more inputs, from left to right) and Subtract (two)."""
    kind = {"Multiply": "mul", "Subtract": "sub"}.get(layer.kind, "add")
    _check_ranks(layer)
    value, *others = builder.inputs
    for number, other in enumerate(others):
        a, b = builder.shape(value), builder.shape(other)
        if a != b and not broadcasts(a, b) and not broadcasts(b, a):
            raise layer.refuse(
                f"its inputs are {a[1:]} and {b[1:]}, which is not supported",
                hint="Both must have one shape, or one must be a single sample (1, C) that meets a sequence (W, C).",
            )
        name = f"{layer.name}/y" if number == len(others) - 1 else f"{layer.name}/y{number}"
        shape = b if broadcasts(a, b) else a
        if layer.kind in ("Maximum", "Minimum"):
            value = _extreme(builder, name, value, other, shape, largest=layer.kind == "Maximum")
        else:
            value = builder.op(kind, name, [value, other], shape)
    if layer.kind == "Average":
        shape = builder.shape(value)
        share = builder.constant(
            f"{layer.name}/share", np.full((*[1] * (len(shape) - 1), shape[-1]), 1 / len(builder.inputs))
        )
        value = builder.op("mul", f"{layer.name}/mean", [value, share])
    builder.value = value


def _extreme(builder: GraphBuilder, name: str, a: str, b: str, shape: tuple[int, ...], *, largest: bool) -> str:
    """The larger or the smaller of two values: max(a, b) = a + relu(b - a), min(a, b) = a - relu(a - b)."""
    between = builder.op("sub", f"{name}/between", [b, a] if largest else [a, b], shape)
    positive = builder.op("leaky_relu", f"{name}/positive", [between], alpha=0.0)
    return builder.op("add" if largest else "sub", name, [a, positive], shape)


def read_concatenate(layer: KerasLayer, builder: GraphBuilder) -> None:
    """Concatenate along the channels, or along time."""
    _check_ranks(layer)
    axis = int(layer.config["axis"])
    axis += layer.ranks[0] if axis < 0 else 0
    axis -= layer.ranks[0] - len(builder.shape(builder.value))  # one step of a recurrent model has no time axis
    builder.value = builder.concat(f"{layer.name}/y", builder.inputs, axis)


def _check_ranks(layer: KerasLayer) -> None:
    if len(set(layer.ranks)) > 1:
        raise layer.refuse(
            "it joins a sequence and a single sample, which is not supported",
            hint="Flatten the sequence first, or keep the time axis of the single sample (keepdims=True).",
        )
