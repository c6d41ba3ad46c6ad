"""Operators that work value by value: in the order in which their operands lie in the graph, whatever the file's is."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edge_tqs.flatbuffer.tables import FileOperator
from edge_tqs.graph.graph import Array
from edge_tqs.read.tflite.moves import fused_activation
from edge_tqs.read.tflite.placing import read
from edge_tqs.read.tflite.views import Import, ImportedGraph, Shape, View, canonical, refuse

BINARY = {"ADD": "add", "SUB": "sub", "MUL": "mul"}
UNARY = {"LOGISTIC": "logistic", "TANH": "tanh", "ELU": "elu", "RSQRT": "rsqrt"}
FUNCTIONS = {
    **{"GELU": "gelu", "HARD_SWISH": "hard_silu", "EXP": "exponential", "LOG": "log", "SQRT": "sqrt"},
    **{"NEG": "negative", "ABS": "absolute", "SQUARE": "square", "SIN": "sin", "COS": "cos"},
}
#: slope below zero, limit and threshold of those that are a relu
CLIPPED = {"RELU_0_TO_1": (0.0, 1.0, 0.0)}


class Values:
    """Computes views of views, for one operator of the file. Operands are views, or constants as numbers."""

    def __init__(self, op: FileOperator, imported: ImportedGraph, first: int = 0) -> None:
        """first: the operands before it are no numbers."""
        self._op, self._imported = op, imported
        operands = [self.operand(place) for place in range(first, len(op.inputs))]
        self.shape = np.broadcast_shapes(*(x.index.shape if isinstance(x, View) else x.shape for x in operands))
        self._name = imported.file.tensors[op.outputs[0]].name or op.kind

    def operand(self, place: int) -> View | Array:
        """Input ``place``: a view where it is computed, else its values."""
        data = self._imported.file.tensors[self._op.inputs[place]].data
        if data is not None:
            return data
        view = self._imported.view(self._op, self._op.inputs[place])
        known = self._imported.known(view)
        return view if known is None else known

    def one(self, kind: str, x: View, **attrs: object) -> View:
        """An operator of one value."""
        x = self._all(x, x.index.shape)
        (name,) = x.names
        made = self._imported.op(kind, self._name, [name], self._imported.tensors[name].shape, **attrs)
        return View((made,), x.index)

    def function(self, name: str, x: View, parameters: tuple[float, ...] = ()) -> View:
        return self.one("function", x, name=name, parameters=parameters)

    def two(self, kind: str, a: View | Array, b: View | Array) -> View:
        """add, sub or mul of values that are repeated to ``shape``. Raises ModelError where neither is computed."""
        operands, indices = (a, b), list[Array | None]()
        for each in operands:
            indices.append(np.broadcast_to(each.index, self.shape) if isinstance(each, View) else None)
        whole = self._choose(operands)
        kept = operands[whole]
        assert isinstance(kept, View)
        index = indices[whole]
        assert index is not None
        kept = self._all(View(kept.names, index), self.shape)
        other = operands[1 - whole]
        order = np.empty(kept.index.size, np.int64)
        order[kept.index.reshape(-1)] = np.arange(kept.index.size)  # of the graph's values, which of the file's each is
        if isinstance(other, View):
            number = indices[1 - whole]
            assert number is not None
            return self._with_computed(kind, kept, View(other.names, number.reshape(-1)[order]), whole)
        values = np.broadcast_to(other, self.shape).reshape(-1)[order]
        return self._with_constant(kind, kept, values, whole)

    def _choose(self, operands: tuple[View | Array, View | Array]) -> int:
        """Which operand's order is kept: one that is all of a tensor, and not repeated."""
        size = int(np.prod(self.shape))
        computed = [place for place in (0, 1) if isinstance(operands[place], View)]
        if not computed:
            raise refuse(self._op, "both operands are constants")
        views = {place: view for place in computed if isinstance(view := operands[place], View)}
        full = [place for place in computed if views[place].index.size == size]
        alls = [place for place in full if self._imported.is_all(views[place])]
        return (alls or full or computed)[0]

    def _all(self, view: View, shape: Shape) -> View:
        """``view`` where it is all of a tensor; else its values put into one."""
        if self._imported.is_all(view):
            return view
        return self._imported.whole(read(self._imported, view, canonical(shape)), shape)

    def _with_constant(self, kind: str, kept: View, values: Array, whole: int) -> View:
        (name,) = kept.names
        shape = self._imported.tensors[name].shape
        planes = values.reshape(shape)
        if len(shape) == 3 and shape[1] > 1 and (planes == planes[:, :1]).all():
            planes = planes[:, :1]  # one sample, repeated over time
        place = self._op.inputs[1 - whole] if len(self._op.inputs) > 1 else -1
        called = self._imported.file.tensors[place].name if place >= 0 else ""
        return self._pair(kind, kept, self._imported.constant(called or f"{self._name}/constant", planes), whole)

    def _with_computed(self, kind: str, kept: View, other: View, whole: int) -> View:
        (name,) = kept.names
        shape = self._imported.tensors[name].shape
        planes = other.index.reshape(shape)
        if len(shape) == 3 and shape[1] > 1:
            if (planes == planes[:, :1]).all():
                return self._pair(kind, kept, self._read(other, planes[:, :1]), whole)
            if shape[2] > 1 and (planes == planes[..., :1]).all():
                return self._pair(*self._turned(kind, kept, other, planes[..., 0]), whole)
        return self._pair(kind, kept, self._read(other, planes), whole)

    def _turned(self, kind: str, kept: View, other: View, index: Array) -> tuple[str, View, str]:
        """A value for each sample, repeated over its channels: channels are turned into samples, and it into one."""
        (name,) = kept.names
        _, rows, columns = self._imported.tensors[name].shape
        plane = np.arange(rows * columns).reshape(rows, columns)
        turned = read(self._imported, View((name,), plane.T), (1, columns, rows))
        places = (kept.index % columns) * rows + kept.index // columns
        return kind, View((turned,), places), self._read(other, index.reshape(1, 1, rows))

    def _read(self, view: View, index: Array) -> str:
        return read(self._imported, View(view.names, index), index.shape)

    def _pair(self, kind: str, kept: View, other: str, whole: int) -> View:
        (name,) = kept.names
        names = [name, other] if whole == 0 else [other, name]
        made = self._imported.op(kind, self._name, names, self._imported.tensors[name].shape)
        return View((made,), kept.index)


def written(op: FileOperator, imported: ImportedGraph, view: View) -> None:
    """Let ``view`` be what ``op`` gives, after the activation that is fused into it."""
    imported.hand_on(view, op.outputs[0])
    imported.views[op.outputs[0]] = imported.activate(op, view, fused_activation(op))


def _binary(op: FileOperator, imported: ImportedGraph) -> None:
    values = Values(op, imported)
    a, b = values.operand(0), values.operand(1)
    if op.kind == "ADD" and _fuse_bias(op, imported, a, b):
        return
    written(op, imported, values.two(BINARY[op.kind], a, b))


def _fuse_bias(op: FileOperator, imported: ImportedGraph, a: View | Array, b: View | Array) -> bool:
    """An ADD of one value a channel, right after a layer without a bias, is its bias."""
    view, place = (a, 1) if isinstance(a, View) else (b, 0)
    tensor = imported.file.tensors[op.inputs[place]]
    made = imported.made_by(view) if isinstance(view, View) else None
    if made is None or tensor.data is None or not isinstance(view, View):
        return False
    channels, shape = imported.tensors[view.names[0]].shape[-1], np.broadcast_shapes(tensor.shape, view.index.shape)
    if tensor.data.size != channels or view.index.size != int(np.prod(shape)):
        return False
    added = np.broadcast_to(tensor.data, shape).reshape(-1)
    of_channel = view.index.reshape(-1) % channels
    bias = np.zeros(channels, np.float32)
    bias[of_channel] = added
    if not np.array_equal(bias[of_channel], added) or not imported.fuse_bias(view, tensor.name, bias):
        return False
    view = view.reshaped(shape)
    imported.hand_on(view, op.outputs[0])
    imported.views[op.outputs[0]] = imported.activate(op, view, fused_activation(op))
    return True


def _computed(op: FileOperator, imported: ImportedGraph, place: int = 0) -> View:
    view = Values(op, imported).operand(place)
    if not isinstance(view, View):
        raise refuse(op, "what it reads is a constant")
    return view


def _one(make: Callable[[Values, View], View]) -> Import:
    """The import of an operator of one value."""

    def import_(op: FileOperator, imported: ImportedGraph) -> None:
        written(op, imported, make(Values(op, imported), _computed(op, imported)))

    return import_


def _leaky_relu(op: FileOperator, imported: ImportedGraph) -> None:
    alpha = float(op.options.alpha)
    written(op, imported, Values(op, imported).one("leaky_relu", _computed(op, imported), alpha=alpha))


def _gelu(op: FileOperator, imported: ImportedGraph) -> None:
    parameters = (float(op.options.approximate),)
    written(op, imported, Values(op, imported).function("gelu", _computed(op, imported), parameters))


def _relu(op: FileOperator, imported: ImportedGraph) -> None:
    _activated(op, imported, _computed(op, imported), op.kind)


def _activated(op: FileOperator, imported: ImportedGraph, view: View, activation: str) -> None:
    if not imported.is_all(view):
        view = imported.whole(read(imported, view, canonical(view.index.shape)), view.index.shape)
    imported.views[op.outputs[0]] = imported.activate(op, view, activation)


def _div(op: FileOperator, imported: ImportedGraph) -> None:
    """a / b: a / sqrt(v) by RSQRT, which int16 codes have more room for; else by the reciprocal of b."""
    values = Values(op, imported)
    a, b = values.operand(0), values.operand(1)
    if not isinstance(b, View):
        written(op, imported, values.two("mul", a, 1.0 / b))
        return
    made = imported.made_by(b)
    if made is not None and made.kind == "function" and made.attrs["name"] == "sqrt":
        inverse = values.one("rsqrt", View(made.inputs, b.index))
    else:
        inverse = values.function("reciprocal", b)
    if isinstance(a, View) or not np.all(a == 1.0):
        inverse = values.two("mul", a, inverse)
    written(op, imported, inverse)


def _squared_difference(op: FileOperator, imported: ImportedGraph) -> None:
    values = Values(op, imported)
    difference = values.two("sub", values.operand(0), values.operand(1))
    written(op, imported, values.two("mul", difference, difference))


def _extreme(op: FileOperator, imported: ImportedGraph) -> None:
    """MAXIMUM and MINIMUM: a + relu(b - a), and a - relu(a - b), which is a however far b is beyond it."""
    values = Values(op, imported)
    a, b = values.operand(0), values.operand(1)
    if not isinstance(a, View):
        a, b = b, a
    most = op.kind == "MAXIMUM"
    if most and isinstance(a, View) and not isinstance(b, View) and not np.any(b) and a.index.shape == values.shape:
        _activated(op, imported, a, "RELU")
        return
    if not isinstance(a, View):
        raise refuse(op, "both operands are constants")
    over = values.one("leaky_relu", values.two("sub", *((b, a) if most else (a, b))), alpha=0.0)
    written(op, imported, values.two("add" if most else "sub", a, over))


def _clipped(op: FileOperator, imported: ImportedGraph) -> None:
    written(op, imported, Values(op, imported).function("relu", _computed(op, imported), CLIPPED[op.kind]))


def _named(name: str) -> Import:
    return _one(lambda values, x: values.function(name, x))


def _kind(kind: str) -> Import:
    return _one(lambda values, x: values.one(kind, x))


ELEMENTWISE: dict[str, Import] = {
    **dict.fromkeys(BINARY, _binary),
    **{kind: _kind(name) for kind, name in UNARY.items()},
    **{kind: _named(name) for kind, name in FUNCTIONS.items()},
    **dict.fromkeys(CLIPPED, _clipped),
    **dict.fromkeys(("MAXIMUM", "MINIMUM"), _extreme),
    "GELU": _gelu,
    "LEAKY_RELU": _leaky_relu,
    "RELU": _relu,
    "RELU6": _relu,
    "DIV": _div,
    "SQUARED_DIFFERENCE": _squared_difference,
}
