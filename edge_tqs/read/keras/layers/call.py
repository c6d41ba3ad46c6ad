"""How a layer or an operation is called in a functional model: its arguments as the model's config holds them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from edge_tqs.graph.graph import Array
from edge_tqs.read.keras.layers.builder import GraphBuilder, KerasLayer


def arguments(layer: KerasLayer, builder: GraphBuilder) -> tuple[list[Any], dict[str, Any]]:
    """Positional and keyword arguments: tensors as their names in the graph, constants as arrays, slices as slices.

    A layer of a Sequential model is called with the value before it.
    """
    if not layer.call:
        return [builder.value], {}
    names = iter(builder.inputs)
    args = [_read(layer, value, names) for value in layer.call["args"]]
    return args, {name: _read(layer, value, names) for name, value in layer.call["kwargs"].items()}


def _read(layer: KerasLayer, value: Any, names: Iterator[str]) -> Any:
    if isinstance(value, list | tuple):
        return [_read(layer, item, names) for item in value]
    if not isinstance(value, dict):
        return value
    kind, config = value.get("class_name"), value.get("config", {})
    if kind == "__keras_tensor__":
        return next(names)
    if kind == "__slice__":
        return slice(*(config[bound] for bound in ("start", "stop", "step")))
    if kind == "__ellipsis__":
        return Ellipsis
    if kind in ("__tensor__", "__numpy__"):
        data: Array = np.asarray(config["value"], np.float32)
        return data
    raise layer.refuse(f"its argument {kind} is not supported", hint="Use tensors, numbers and slices.")
