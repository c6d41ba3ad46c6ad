"""Lengths over time, which readers, passes and operators work out alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edge_tqs.graph.signature import Shape


def conv_length(length: int, taps: int, attrs: Mapping[str, Any]) -> int:
    """Samples that a convolution with ``taps`` taps gives for ``length`` samples; below 1 where there are too few."""
    reach = attrs["dilation"] * (taps - 1)
    return int((length + attrs["left"] + attrs["right"] - reach - 1) // attrs["stride"] + 1)


def pool_length(length: int, attrs: Mapping[str, Any]) -> int:
    """Samples that a pooling gives for ``length`` samples; below 1 where there are too few."""
    size = 1 if attrs["padding"] == "same" else attrs["size"]
    return int((length - size) // attrs["stride"] + 1)


def pool_left(length: int, attrs: Mapping[str, Any]) -> int:
    """Places before the window that the first output sample of a pooling covers, as TensorFlow splits "same"."""
    if attrs["padding"] == "valid":
        return 0
    return int(max(0, (pool_length(length, attrs) - 1) * attrs["stride"] + attrs["size"] - length) // 2)


def broadcasts(one: Shape, other: Shape) -> bool:
    """Whether ``one`` (1, 1, C) is repeated over time to meet ``other`` (1, W, C)."""
    return len(one) == len(other) == 3 and one[:2] == (1, 1) and one[2] == other[2]
