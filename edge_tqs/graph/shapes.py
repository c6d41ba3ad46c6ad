"""Which shapes each kind of operator takes and gives; batch 1 is part of every shape."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Shape = tuple[int, ...]
#: (attributes, shapes of the inputs, shapes of the outputs) -> whether they go together
Rule = Callable[[Mapping[str, Any], Sequence[Shape], Sequence[Shape]], bool]


def conv_length(length: int, taps: int, attrs: Mapping[str, Any]) -> int:
    """Samples that a conv_1d with ``taps`` taps gives for ``length`` samples; below 1 where there are too few."""
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


def fit(kind: str, attrs: Mapping[str, Any], inputs: Sequence[Shape], outputs: Sequence[Shape]) -> bool:
    """Whether an operator ``kind`` makes ``outputs`` of ``inputs``. A kind without a rule keeps its input's shape."""
    rule = _RULES.get(kind, _same)
    return all(min(shape, default=1) >= 1 for shape in (*inputs, *outputs)) and rule(attrs, inputs, outputs)


def broadcasts(one: Shape, other: Shape) -> bool:
    """Whether ``one`` (1, 1, C) is repeated over time to meet ``other`` (1, W, C)."""
    return len(one) == len(other) == 3 and one[:2] == (1, 1) and one[2] == other[2]


def _same(attrs: Mapping[str, Any], inputs: Sequence[Shape], outputs: Sequence[Shape]) -> bool:
    return outputs == [inputs[0]]


def _fully_connected(attrs: Mapping[str, Any], inputs: Sequence[Shape], outputs: Sequence[Shape]) -> bool:
    weight = inputs[1]
    good = len(weight) == 2 and inputs[0] == (1, weight[1]) and outputs == [(1, weight[0])]
    return good and (len(inputs) == 2 or inputs[2] == (weight[0],))


def _conv_1d(attrs: Mapping[str, Any], inputs: Sequence[Shape], outputs: Sequence[Shape]) -> bool:
    x, weight = inputs[:2]
    if len(x) != 3 or len(weight) != 3 or attrs["stride"] < 1 or attrs["dilation"] < 1:
        return False
    rows, taps, channels = weight
    good = x[0] == 1 and x[2] == channels and min(attrs["left"], attrs["right"]) >= 0
    good = good and outputs == [(1, conv_length(x[1], taps, attrs), rows)]
    return good and (len(inputs) == 2 or inputs[2] == (rows,))


def _depthwise_1d(attrs: Mapping[str, Any], inputs: Sequence[Shape], outputs: Sequence[Shape]) -> bool:
    x, weight = inputs[:2]
    if len(x) != 3 or len(weight) != 2 or attrs["stride"] < 1 or attrs["dilation"] < 1:
        return False
    rows, taps = weight
    good = x[0] == 1 and rows % x[2] == 0 and min(attrs["left"], attrs["right"]) >= 0
    good = good and outputs == [(1, conv_length(x[1], taps, attrs), rows)]
    return good and (len(inputs) == 2 or inputs[2] == (rows,))


def _pool_1d(attrs: Mapping[str, Any], inputs: Sequence[Shape], outputs: Sequence[Shape]) -> bool:
    x = inputs[0]
    if len(x) != 3 or min(attrs["size"], attrs["stride"]) < 1 or attrs["padding"] not in ("valid", "same"):
        return False
    return outputs == [(x[0], pool_length(x[1], attrs), x[2])]


def _binary(attrs: Mapping[str, Any], inputs: Sequence[Shape], outputs: Sequence[Shape]) -> bool:
    a, b = inputs
    return (outputs == [a] and (a == b or broadcasts(b, a))) or (outputs == [b] and broadcasts(a, b))


def _split(attrs: Mapping[str, Any], inputs: Sequence[Shape], outputs: Sequence[Shape]) -> bool:
    parts, x = attrs["parts"], inputs[0]
    if parts < 1 or x[-1] % parts != 0 or x not in ((1, x[-1]), (1, 1, x[-1])):
        return False
    return list(outputs) == [(*x[:-1], x[-1] // parts)] * parts


def _slice(attrs: Mapping[str, Any], inputs: Sequence[Shape], outputs: Sequence[Shape]) -> bool:
    x, axis, begin, size = inputs[0], attrs["axis"], attrs["begin"], attrs["size"]
    if not 1 <= axis < len(x) or begin < 0 or begin + size > x[axis]:
        return False
    return outputs == [(*x[:axis], size, *x[axis + 1 :])]


def _concat(attrs: Mapping[str, Any], inputs: Sequence[Shape], outputs: Sequence[Shape]) -> bool:
    axis, first = attrs["axis"], inputs[0]
    if not 1 <= axis < len(first) or any(len(shape) != len(first) for shape in inputs):
        return False
    if any((*shape[:axis], *shape[axis + 1 :]) != (*first[:axis], *first[axis + 1 :]) for shape in inputs):
        return False
    return outputs == [(*first[:axis], sum(shape[axis] for shape in inputs), *first[axis + 1 :])]


def _mean(attrs: Mapping[str, Any], inputs: Sequence[Shape], outputs: Sequence[Shape]) -> bool:
    return len(inputs[0]) == 3 and outputs == [(1, 1, inputs[0][2])]


def _reshape(attrs: Mapping[str, Any], inputs: Sequence[Shape], outputs: Sequence[Shape]) -> bool:
    return len(outputs) == 1 and math.prod(inputs[0]) == math.prod(outputs[0])


def _transpose(attrs: Mapping[str, Any], inputs: Sequence[Shape], outputs: Sequence[Shape]) -> bool:
    x = inputs[0]
    return len(x) == 3 and outputs == [(x[0], x[2], x[1])]


def _lut(attrs: Mapping[str, Any], inputs: Sequence[Shape], outputs: Sequence[Shape]) -> bool:
    return inputs[1] == (256,) and outputs == [inputs[0]]


def _curve(attrs: Mapping[str, Any], inputs: Sequence[Shape], outputs: Sequence[Shape]) -> bool:
    if attrs["bits"] not in range(4, 9):
        return False
    cells = (1 << (15 - attrs["bits"])) * (1 if attrs["positive"] else 2) + 1
    return list(inputs[1:]) == [(cells,)] * 3 and outputs == [inputs[0]]


def _batch_matmul(attrs: Mapping[str, Any], inputs: Sequence[Shape], outputs: Sequence[Shape]) -> bool:
    a, b = inputs
    if len(a) != 3 or len(b) != 3 or a[0] != 1 or b[0] != 1:
        return False
    inner, columns = (b[2], b[1]) if attrs["transposed"] else (b[1], b[2])
    return a[2] == inner and outputs == [(1, a[1], columns)]


_RULES: dict[str, Rule] = {
    "fully_connected": _fully_connected,
    "conv_1d": _conv_1d,
    "depthwise_1d": _depthwise_1d,
    "avg_pool_1d": _pool_1d,
    "max_pool_1d": _pool_1d,
    "add": _binary,
    "sub": _binary,
    "mul": _binary,
    "split": _split,
    "slice": _slice,
    "concat": _concat,
    "mean": _mean,
    "reshape": _reshape,
    "transpose": _transpose,
    "lut": _lut,
    "curve": _curve,
    "batch_matmul": _batch_matmul,
}
