"""A float Graph as it grows from a TensorFlow Lite file.

A file reshapes, transposes and cuts at every turn: a sequence to an image and back around each convolution, a window
into patches, channels into heads. Here all of that makes nothing but a view: for each value of the file's tensor, where
it lies among the values of the graph's. Only where an operator needs its input side by side does the graph get what
puts it there (placing.py). A zero that a PAD adds lies nowhere, and waits for the convolution that reads it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from edge_tqs.errors import ModelError
from edge_tqs.flatbuffer.tables import FileGraph, FileOperator
from edge_tqs.graph.graph import Array, Op, Tensor

Shape = tuple[int, ...]

#: Of a view: a zero, which lies in no tensor.
ZERO = -1
#: Operators that give all values of their first input in another shape or order.
REORDERING = frozenset({"RESHAPE", "SQUEEZE", "EXPAND_DIMS", "TRANSPOSE"})


@dataclass(frozen=True, eq=False)
class View:
    """Values of the graph's tensors ``names``: those of the first in row-major order, then those of the second, ...

    index: for each value, in the file's shape, its number among them; ZERO for a zero.
    """

    names: tuple[str, ...]
    index: Array

    def reshaped(self, shape: Sequence[int]) -> View:
        return View(self.names, self.index.reshape(shape))


class ImportedGraph:
    """Tensors and operators so far. Tensors of the file are known by their index, those of the graph by name."""

    def __init__(self, file: FileGraph, sources: Mapping[int, str], window: Shape = ()) -> None:
        """window: (1, W, F), the shape of the graph's input; () for that of the file's."""
        self.file, self.sources = file, sources
        self.tensors: dict[str, Tensor] = {}
        self.ops: list[Op] = []
        self.views: dict[int, View] = {}
        self.cached: dict[Any, str] = {}  # what was placed already
        self._made: dict[str, int] = {}  # by name: the operator that writes it
        self._readers = self._count_readers()
        self._roots: dict[str, int] = {}  # by name: the file's tensor that it was made for
        given = file.inputs[0]
        self.input = self._add(file.tensors[given].name or "x", window or file.tensors[given].shape)
        self.views[given] = self.whole(self.input, file.tensors[given].shape)

    def shape(self, index: int) -> Shape:
        return self.file.tensors[index].shape

    def data(self, op: FileOperator, place: int, what: str) -> Array:
        """The constant operand ``place``. Raises ModelError where it is computed; ``what`` says what it is."""
        index = op.inputs[place] if place < len(op.inputs) else -1
        data = self.file.tensors[index].data if index >= 0 else None
        if data is None:
            raise refuse(op, f"its {what} is not a constant")
        return data

    # --- views ------------------------------------------------------------------------------------------------------

    def whole(self, name: str, shape: Sequence[int]) -> View:
        """All values of the graph's tensor ``name``, seen as ``shape``."""
        return View((name,), np.arange(self.tensors[name].size).reshape(shape))

    def view(self, op: FileOperator, index: int) -> View:
        """Of the file's tensor ``index``, which may be a constant of numbers."""
        if index in self.views:
            return self.views[index]
        tensor = self.file.tensors[index]
        if tensor.data is None or tensor.dtype != "FLOAT32":
            raise refuse(op, f"it reads {tensor.name}, which is not supported")
        return self.whole(self.constant(tensor.name, tensor.data.reshape(canonical(tensor.shape))), tensor.shape)

    def known(self, view: View) -> Array | None:
        """The values of ``view`` where all are constants or zeros; None where any is computed."""
        parts = [self.tensors[name].data for name in view.names]
        if any(part is None for part in parts):
            return None
        values: Array = np.concatenate([*(part.reshape(-1) for part in parts if part is not None), [np.float32(0)]])
        return values[view.index]

    def is_all(self, view: View) -> bool:
        """Whether ``view`` is all values of one tensor, each once, in some order."""
        if len(view.names) != 1 or view.index.size != self.tensors[view.names[0]].size:
            return False
        flat = view.index.reshape(-1)
        return bool(flat.min() >= 0 and (np.bincount(flat, minlength=flat.size) == 1).all())

    def joined(self, views: Sequence[View], join: Callable[[list[Array]], Array]) -> View:
        """Several views as one: ``join`` of their indices."""
        names, places, indices = list[str](), dict[str, int](), []
        total = 0
        for view in views:
            for name in view.names:
                if name not in places:
                    names.append(name)
                    places[name] = total
                    total += self.tensors[name].size
            shifts = [places[name] for name in view.names]
            ends = np.cumsum([self.tensors[name].size for name in view.names])
            starts = np.concatenate([[0], ends[:-1]])
            piece = np.searchsorted(ends, view.index, side="right").clip(0, len(shifts) - 1)
            moved = view.index + (np.array(shifts) - starts)[piece]
            indices.append(np.where(view.index == ZERO, ZERO, moved))
        return View(tuple(names), join(indices))

    # --- writing ----------------------------------------------------------------------------------------------------

    def constant(self, name: str, data: Array) -> str:
        """A constant tensor that is no weight, once for equal values."""
        data = np.ascontiguousarray(data, np.float32)
        key = ("constant", data.shape, data.tobytes())
        if key not in self.cached:
            self.cached[key] = self._add(name or "constant", data.shape, data)
        return self.cached[key]

    def weight(self, index: int, data: Array) -> str:
        """The file's weight ``index``, laid out as the graph reads it: ``data``."""
        source = self.sources[self.file.tensors[index].buffer]
        key = ("weight", source, data.shape)
        if key not in self.cached:
            name = self._add(source, data.shape, np.ascontiguousarray(data, np.float32))
            self.tensors[name] = replace(self.tensors[name], source=source)
            self.cached[key] = name
        return self.cached[key]

    def op(self, kind: str, name: str, inputs: Sequence[str], shape: Shape, /, **attrs: Any) -> str:
        """Add an operator; the name of what it writes."""
        out = self._add(name, shape)
        self._made[out] = len(self.ops)
        self.ops.append(Op(kind, tuple(inputs), (out,), attrs))
        return out

    def write(
        self, index: int, kind: str, inputs: Sequence[str], shape: Shape, seen: Sequence[int], /, **attrs: Any
    ) -> View:
        """Add the operator that computes the file's tensor ``index``: all of it in row-major order, of shape ``seen``.

        What the file says of its shape may be wrong where the batch was open.
        """
        name = self.op(kind, self.file.tensors[index].name or kind, inputs, shape, **attrs)
        view = self.whole(name, seen)
        self.hand_on(view, index)
        return view

    def made_by(self, view: View) -> Op | None:
        """The operator that computes all of ``view`` and nothing else; None where it is more or less than that."""
        made = self._made.get(view.names[0]) if self.is_all(view) else None
        return None if made is None else self.ops[made]

    def fuse_bias(self, view: View, name: str, bias: Array) -> bool:
        """Add ``bias`` (O) to that of the layer that made ``view``; False where that is not possible."""
        made = self._layer(view)
        if made is None:
            return False
        op = self.ops[made]
        before = self.tensors[op.inputs[2]].data if len(op.inputs) == 3 else None
        if before is not None:  # mostly zeros, which a converter adds where an operator needs a bias
            bias = bias + before
        self.ops[made] = replace(op, inputs=(*op.inputs[:2], self.constant(name, bias)))
        return True

    def _layer(self, view: View) -> int | None:
        """The operator with a weight that made ``view``, if nothing else reads it and it has no activation yet.

        Not of a padded view: what comes next also applies to the zeros.
        """
        made = self._made.get(view.names[0]) if self.is_all(view) else None
        if made is None or self._readers[self._roots.get(view.names[0], -1)] != 1:
            return None
        op = self.ops[made]
        return made if op.signature.is_weighted and op.attrs["activation"] == "none" else None

    def hand_on(self, view: View, index: int) -> None:
        """From here on ``view`` is the file's tensor ``index``, whose readers count."""
        self._roots[view.names[0]] = index
        self.views[index] = view

    def activate(self, op: FileOperator, view: View, fused: str) -> View:
        """``view``, all of a tensor, after the activation that ``op`` has fused in."""
        if fused == "NONE":
            return view
        layer = self._layer(view)
        if layer is not None and fused in ("RELU", "RELU6"):
            made = self.ops[layer]
            self.ops[layer] = replace(made, attrs={**made.attrs, "activation": fused.lower()})
            return view
        if fused == "RELU":
            (x,) = view.names
            return View((self.op("leaky_relu", f"{x}/relu", [x], self.tensors[x].shape, alpha=0.0),), view.index)
        raise refuse(op, f"activation {fused}, fused into it, is not supported here")

    def needed_operators(self, output: str) -> tuple[Op, ...]:
        """The operators that ``output`` depends on."""
        needed, kept = {output}, list[Op]()
        for op in reversed(self.ops):
            if needed & set(op.outputs):
                kept.append(op)
                needed |= set(op.inputs)
        return tuple(reversed(kept))

    def _add(self, name: str, shape: Shape, data: Array | None = None) -> str:
        unique, number = name, 1
        while unique in self.tensors:
            number += 1
            unique = f"{name}#{number}"
        self.tensors[unique] = Tensor(unique, shape, "float32", data)
        return unique

    def _count_readers(self) -> Counter[int]:
        """By tensor of the file: how many operators read it, itself or in another shape or order."""
        roots: dict[int, int] = {}
        readers: Counter[int] = Counter()
        for op in self.file.operators:
            if op.kind in REORDERING:
                roots[op.outputs[0]] = roots.get(op.inputs[0], op.inputs[0])
            else:
                readers.update(roots.get(index, index) for index in op.inputs if index >= 0)
        readers.update(roots.get(index, index) for index in self.file.outputs)
        return readers


def refuse(op: FileOperator, why: str) -> ModelError:
    """The error that a graph cannot hold this operator as it is."""
    return ModelError(f"its operator {op.kind}: {why}")


def canonical(shape: Shape) -> Shape:
    """The shape that the graph gives to a tensor of the file: (1, N), or (1, W, C) where more than one axis counts."""
    outer = math.prod(shape[:-1])
    last = shape[-1] if shape else 1
    return (1, last) if outer == 1 else (1, outer, last)


#: Adds an operator of the file to a graph. Raises ModelError where the graph cannot hold it.
Import = Callable[[FileOperator, ImportedGraph], None]
