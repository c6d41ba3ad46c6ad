"""What is fed back where y has another scale than x: each code of y has a code of x that is nearest to its value."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edge_tqs.graph.graph import Array, Graph


def rescaling(graph: Graph) -> Callable[[Array], Array] | None:
    """Codes of y to those of x; None where codes are fed back as they are."""
    table = rescale_table(graph)
    return None if table is None else lambda codes: table[codes.astype(np.int16) + 128]


def rescale_table(graph: Graph) -> Array | None:
    """(256,) int8: the code of x for each code of y, that of -128 first. None where what is fed back stays as it is.

    round((code - zero point of y) * scale of y / scale of x) + zero point of x, halves away from zero, in float64: so
    it is the same wherever arithmetic is IEEE 754's. docs/format.md states it.
    """
    if graph.forecast.driven or graph.activations != "int8":  # int16 codes are fine enough for both
        return None
    x, y = graph.quant(graph.input), graph.quant(graph.output)
    if x.zero_point == y.zero_point and np.array_equal(x.scale, y.scale):
        return None
    values = (np.arange(-128, 128) - y.zero_point) * np.float64(y.scale[0]) / np.float64(x.scale[0])
    codes = np.copysign(np.floor(np.abs(values) + 0.5), values) + x.zero_point
    made: Array = np.clip(codes, -128, 127).astype(np.int8)
    return made
