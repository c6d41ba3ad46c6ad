"""The layers inside Bidirectional, TimeDistributed and RNN(cell), read off the config alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from edge_tqs.read.keras.layers.builder import KerasLayer

#: A cell's class -> the layer that RNN(cell) is.
CELLS = {"LSTMCell": "LSTM", "GRUCell": "GRU", "SimpleRNNCell": "SimpleRNN"}
BOTH_WAYS = ("LSTM", "GRU", "SimpleRNN")


def parts_of(layer: KerasLayer) -> tuple[KerasLayer, ...]:
    """The layers inside, without weights, named "<layer>/<inner>"; none for a layer that is no wrapper.

    Raises ModelError for an inner layer or cell that cannot be read in this place.
    """
    if layer.kind == "TimeDistributed":
        return (_part(layer, layer.config["layer"]),)
    if layer.kind == "Bidirectional":
        items = [layer.config["layer"], layer.config.get("backward_layer")]
        if items[1] is None:  # Keras makes it of the first one, run the other way
            inner = items[0]["config"]
            items[1] = items[0] | {"config": inner | {"go_backwards": not inner["go_backwards"], "name": "backward"}}
        parts = [_part(layer, item) for item in items]
        for part, item in zip(parts, items, strict=True):
            if part.kind not in BOTH_WAYS or item.get("registered_name") is not None:
                raise layer.refuse(f"{part.kind} inside it is not supported", hint=f"Use {', '.join(BOTH_WAYS)}.")
        # Keras turns the second one's outputs around, whichever way that one runs.
        return parts[0], replace(parts[1], config={**parts[1].config, "flip_outputs": True})
    return _cells(layer) if layer.kind == "RNN" else ()


def _part(layer: KerasLayer, item: Mapping[str, Any]) -> KerasLayer:
    config = dict(item["config"])
    return KerasLayer(f"{layer.name}/{config.get('name', '?')}", str(item["class_name"]), config, {}, ranks=layer.ranks)


def _cells(layer: KerasLayer) -> tuple[KerasLayer, ...]:
    """Each cell as a layer: the first runs as the RNN does, the others over its outputs, in the order they come."""
    cell = layer.config["cell"]
    items = cell["config"]["cells"] if cell["class_name"] == "StackedRNNCells" else [cell]
    parts = []
    for number, item in enumerate(items):
        kind = str(item["class_name"])
        if kind not in CELLS or item.get("registered_name") is not None:
            raise layer.refuse(f"a cell of class {kind} is not supported", hint=f"Use {', '.join(CELLS)}.")
        last = number == len(items) - 1
        options = {key: value for key, value in layer.config.items() if key != "cell"}
        options["go_backwards"] = layer.config["go_backwards"] and number == 0
        options["return_sequences"] = layer.config["return_sequences"] or not last
        part = _part(layer, item)
        parts.append(replace(part, kind=CELLS[kind], config={**options, **part.config}))
    return tuple(parts)
