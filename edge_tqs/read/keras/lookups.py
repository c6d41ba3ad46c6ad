"""The tables of a live Keras model whose rows are looked up by channels of its window."""

from __future__ import annotations

from typing import Any

import numpy as np

from edge_tqs.errors import ModelError
from edge_tqs.graph.graph import Array
from edge_tqs.read.keras.ends import Ends
from edge_tqs.read.keras.layers.embedding import CHANNEL_HINT

Whole = tuple[tuple[int, int], ...]


def looked_up(model: Any, ends: Ends, window: int) -> tuple[set[str], Whole]:
    """Paths of the tables of Embedding layers, and (channel, N) of each channel that looks up one of N rows.

    It is tried out: what such a layer is called with must be the values of a channel as they are, at each sample or the
    newest. Raises ModelError for a layer that is called with anything else, or that lies within another layer or model,
    where it cannot be tried out.
    """
    needed, channels = ends.operations(), sum(ends.channels)
    layers = [layer for layer in model.layers if type(layer).__name__ == "Embedding" and id(layer) in (needed or ())]
    own = {id(layer) for layer in model.layers}
    for layer in model._flatten_layers(include_self=False, recursive=True):
        if type(layer).__name__ == "Embedding" and id(layer) not in own:
            raise ModelError(
                f"layer {layer.name} (Embedding): it lies within another layer or model, and which channel it looks "
                "rows up by cannot be tried out there",
                hint="Put it into the model itself. A model that can be built has it read wherever it lies.",
            )
    rng = np.random.default_rng(0)
    given = rng.integers(0, 1 << 20, (2, window, channels)).astype(np.float32)
    tables, found = set[str](), dict[int, int]()
    for layer in layers:
        for tensor in [tensor for node in layer._inbound_nodes for tensor in node.input_tensors]:
            numbers = np.asarray(type(model)(model.input, tensor)(ends.given(given), training=False))
            for channel in _channels(numbers, given, layer.name):
                found[channel] = min(layer.input_dim, found.get(channel, layer.input_dim))
        tables.add(str(layer.embeddings.path))
    for entry in ends.entries:
        if entry.whole and not set(range(entry.begin, entry.begin + entry.channels)) <= found.keys():
            raise ModelError(
                f"its input {entry.name} takes {entry.dtype}, and no Embedding of the model looks rows up by all of it",
                hint="Take measured values as float32.",
            )
    return tables, tuple(sorted(found.items()))


def _channels(numbers: Array, given: Array, name: str) -> list[int]:
    """The channels of ``given`` (N, W, F) that ``numbers`` (N, ...) are of."""
    flat = numbers.reshape(len(given), -1)
    channels = [channel for channel in range(given.shape[2]) if np.isin(flat, given[:, :, channel]).any()]
    if not channels or not np.isin(flat, given[:, :, channels]).all():
        raise ModelError(
            f"layer {name} (Embedding): it looks rows up by what other layers made, not by a channel", hint=CHANNEL_HINT
        )
    return channels
