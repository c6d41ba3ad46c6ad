"""Layers of several inputs: Add, Subtract, Multiply, Concatenate."""

from __future__ import annotations

from edge_tqs.layers.builder import GraphBuilder, KerasLayer
from edge_tqs.shapes import broadcasts


def read_merge(layer: KerasLayer, builder: GraphBuilder) -> None:
    """Add, Multiply (two or more inputs, from left to right) and Subtract (two)."""
    kind = {"Add": "add", "Multiply": "mul", "Subtract": "sub"}[layer.kind]
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
        value = builder.op(kind, name, [value, other], b if broadcasts(a, b) else a)
    builder.value = value


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
