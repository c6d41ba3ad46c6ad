"""Embedding of a channel that holds whole numbers: which of them it is, as values of 0 and 1, times the table.

No runtime has a lookup whose rows have a scale each and 4 bits. A pulse about each of the N numbers gives exactly 1 for
the one that it is and 0 for all others, and a dense layer of such a row is a row of the table.
"""

from __future__ import annotations

import numpy as np

from edge_tqs.read.keras.layers.activation import apply_function
from edge_tqs.read.keras.layers.builder import GraphBuilder, KerasLayer

CHANNEL_HINT = (
    "Apply it to a channel of the window, ops.cast(x[:, :, 3], 'int32'), or to an input of whole numbers. What it is "
    "made of can be worked out before: give the number itself as a column."
)


#: Rows of a table: as many values are made of each number that is looked up.
MOST_ROWS = 1024


def check_embedding(layer: KerasLayer) -> None:
    """Raise ModelError for an Embedding whose zeros are a mask, and for a table of too many rows."""
    rows = int(layer.config["input_dim"])
    if rows > MOST_ROWS:
        raise layer.refuse(
            f"it has {rows} rows, and a value of 0 or 1 is computed for each: {MOST_ROWS} are the most",
            hint="Look the number up in two tables, of number // 32 and of number % 32.",
        )
    if layer.config.get("mask_zero"):
        raise layer.refuse(
            "with mask_zero it skips samples whose number is 0, and 0 is an hour, a day or a sensor as any",
            hint="Build it with mask_zero=False: a window has no padding.",
        )


def read_embedding(layer: KerasLayer, builder: GraphBuilder) -> None:
    """Embedding (N, d) of whole numbers (W,), (S,) or (W, S): a row of d for each of them."""
    table, x = layer.weights["embeddings"], builder.value
    channels = builder.channels_of(x)
    if channels is None:
        raise layer.refuse("it looks rows up by what other layers made, not by a channel", hint=CHANNEL_HINT)
    count = table.data.shape[0]
    for channel in channels:
        builder.whole[channel] = min(count, builder.whole.get(channel, count))
    shape = builder.shape(x)
    times = int(np.prod(shape))
    name = layer.name
    column: tuple[int, ...] = (1, times, 1) if builder.recurrence == "none" or times > 1 else (1, 1)
    numbers = np.arange(count).reshape(*[1] * (len(column) - 1), -1)
    if shape != column:
        x = builder.op("reshape", f"{name}/column", [x], column)
    wide = builder.concat(f"{name}/wide", [x] * count, axis=len(column) - 1)
    apart = builder.op("add", f"{name}/apart", [wide, builder.constant(f"{name}/numbers", -numbers)])
    which = apply_function(builder, "pulse", f"{name}/which", apart)
    builder.value = builder.dense(f"{name}/y", which, table, None)
