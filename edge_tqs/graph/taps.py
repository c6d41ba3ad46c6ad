"""What the taps of a convolution over time read."""

from __future__ import annotations

from typing import Any

import numpy as np

from edge_tqs.graph.graph import Array, Op
from edge_tqs.graph.shapes import conv_length


def taps(x: Array, weight_shape: tuple[int, ...], op: Op, padding: Any) -> Array:
    """What each output sample of a conv_1d reads: x (N, W, I) to (N, W', K * I), ``padding`` where it looks beyond."""
    attrs, count, channels = op.attrs, weight_shape[1], weight_shape[2]
    length = conv_length(x.shape[1], count, attrs)
    padded = np.pad(x, ((0, 0), (attrs["left"], attrs["right"]), (0, 0)), constant_values=padding)
    first = np.arange(length)[:, None] * attrs["stride"]
    read: Array = padded[:, first + np.arange(count) * attrs["dilation"]]
    return read.reshape(x.shape[0], length, count * channels)
