"""A float Graph as it grows from a TensorFlow Lite file.

A file reshapes at every turn: a sequence to an image and back around each convolution. Here a RESHAPE makes nothing but
another view of a tensor; the graph gets a "reshape" where an operator needs another shape than the tensor has. A PAD
likewise waits for the convolution that reads it.
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
from edge_tqs.graph.graph import MOST_JOINED, Array, Op, Tensor

Shape = tuple[int, ...]

#: Operators that give the values of their first input in another shape.
RESHAPING = frozenset({"RESHAPE", "SQUEEZE", "EXPAND_DIMS"})


@dataclass(frozen=True)
class View:
    """Values of the graph's tensor ``name``; with left or right, that many zero samples more than it has.

    shape: of the whole, (1, N) or (1, W, C); the values are in row-major order, so any shape of that size may be read.
    dilation: above 1, the file holds every d-th sample in a row of a batch of its own, for the convolution to read.
    """

    name: str
    shape: Shape
    left: int = 0
    right: int = 0
    dilation: int = 1


class ImportedGraph:
    """Tensors and operators so far. Tensors of the file are known by their index, those of the graph by name."""

    def __init__(self, file: FileGraph, sources: Mapping[int, str], window: Shape = ()) -> None:
        """window: (1, W, F), the shape of the graph's input; () for that of the file's."""
        self.file, self.sources = file, sources
        self.tensors: dict[str, Tensor] = {}
        self.ops: list[Op] = []
        self.views: dict[int, View] = {}
        #: by the name of what PACK made: its parts, which UNPACK gives again
        self.packed: dict[str, tuple[View, ...]] = {}
        self._made: dict[str, int] = {}  # by name: the operator that writes it
        self._cached: dict[Any, str] = {}
        self._readers = self._count_readers()
        self._roots: dict[str, int] = {}  # by name: the file's tensor that it was made for
        given = file.inputs[0]
        shape = window or file.tensors[given].shape
        self.input = self._add(file.tensors[given].name or "x", shape)
        self.views[given] = View(self.input, shape)

    def shape(self, index: int) -> Shape:
        return self.file.tensors[index].shape

    def data(self, op: FileOperator, place: int, what: str) -> Array:
        """The constant operand ``place``. Raises ModelError where it is computed; ``what`` says what it is."""
        index = op.inputs[place] if place < len(op.inputs) else -1
        data = self.file.tensors[index].data if index >= 0 else None
        if data is None:
            raise refuse(op, f"its {what} is not a constant")
        return data

    # --- reading ----------------------------------------------------------------------------------------------------

    def view(self, op: FileOperator, index: int) -> View:
        if index not in self.views:
            raise refuse(op, f"it reads {self.file.tensors[index].name}, which is a constant or is not supported")
        return self.views[index]

    def read(self, view: View, shape: Shape) -> str:
        """The name of a tensor of just that ``shape``, its size being that of ``view``. Raises ModelError."""
        if view.dilation > 1:
            raise ModelError("its operator SPACE_TO_BATCH_ND is supported right before a convolution only")
        if view.left or view.right:
            view = self._padded(view)
        if view.shape == shape:
            return view.name
        key = ("reshape", view.name, shape)
        if key not in self._cached:
            self._cached[key] = self.op("reshape", f"{view.name}/reshape", [view.name], shape)
        return self._cached[key]

    def constant(self, name: str, data: Array) -> str:
        """A constant tensor that is no weight, once for equal values."""
        data = np.ascontiguousarray(data, np.float32)
        key = ("constant", data.shape, data.tobytes())
        if key not in self._cached:
            self._cached[key] = self._add(name or "constant", data.shape, data)
        return self._cached[key]

    def weight(self, index: int, data: Array) -> str:
        """The file's weight ``index``, laid out as the graph reads it: ``data``."""
        source = self.sources[self.file.tensors[index].buffer]
        key = ("weight", source, data.shape)
        if key not in self._cached:
            name = self._add(source, data.shape, np.ascontiguousarray(data, np.float32))
            self.tensors[name] = replace(self.tensors[name], source=source)
            self._cached[key] = name
        return self._cached[key]

    def _padded(self, view: View) -> View:
        whole = (1, view.shape[1] - view.left - view.right, view.shape[2])
        parts = [
            self.constant("zeros", np.zeros((1, size, whole[2]), np.float32)) if size else ""
            for size in (view.left, view.right)
        ]
        key = ("padded", view)
        if key not in self._cached:
            names = [name for name in (parts[0], view.name, parts[1]) if name]
            self._cached[key] = self.op("concat", f"{view.name}/padded", names, view.shape, axis=1)
        return View(self._cached[key], view.shape)

    # --- writing ----------------------------------------------------------------------------------------------------

    def op(self, kind: str, name: str, inputs: Sequence[str], shape: Shape, /, **attrs: Any) -> str:
        """Add an operator; the name of what it writes."""
        out = self._add(name, shape)
        self._made[out] = len(self.ops)
        self.ops.append(Op(kind, tuple(inputs), (out,), attrs))
        return out

    def write(self, index: int, kind: str, inputs: Sequence[str], shape: Shape, /, **attrs: Any) -> View:
        """Add the operator that computes the file's tensor ``index``."""
        name = self.op(kind, self.file.tensors[index].name or kind, inputs, shape, **attrs)
        self._roots[name] = index
        self.views[index] = View(name, shape)
        return self.views[index]

    def side_by_side(self, x: str, count: int) -> str:
        """``x`` (1, W, 1) as (1, W, count), joined in steps where there are many."""
        rows = self.tensors[x].shape[1]
        parts = [x] * count
        while len(parts) > 1:
            chunks = [parts[at : at + MOST_JOINED] for at in range(0, len(parts), MOST_JOINED)]
            widths = [sum(self.tensors[part].shape[2] for part in chunk) for chunk in chunks]
            parts = [
                self.op("concat", f"{x}/repeated", chunk, (1, rows, width), axis=2) if len(chunk) > 1 else chunk[0]
                for chunk, width in zip(chunks, widths, strict=True)
            ]
        return parts[0]

    def split(self, indices: Sequence[int], x: str, width: int) -> None:
        names = [self._add(self.file.tensors[index].name or "split", (1, width)) for index in indices]
        self.ops.append(Op("split", (x,), tuple(names), {"parts": len(names)}))
        self.views |= {index: View(name, (1, width)) for index, name in zip(indices, names, strict=True)}

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
        made = self._made.get(view.name)
        if made is None or view.left or view.right or self._readers[self._roots.get(view.name, -1)] != 1:
            return None
        op = self.ops[made]
        return made if op.signature.is_weighted and op.attrs["activation"] == "none" else None

    def hand_on(self, view: View, index: int) -> None:
        """From here on ``view`` is the file's tensor ``index``, whose readers count."""
        self._roots[view.name] = index
        self.views[index] = view

    def activate(self, op: FileOperator, view: View, fused: str) -> View:
        """``view`` after the activation that ``op`` has fused in."""
        if fused == "NONE":
            return view
        layer = self._layer(view)
        if layer is not None and fused in ("RELU", "RELU6"):
            made = self.ops[layer]
            self.ops[layer] = replace(made, attrs={**made.attrs, "activation": fused.lower()})
            return view
        if fused == "RELU":
            return replace(view, name=self.op("leaky_relu", f"{view.name}/relu", [view.name], view.shape, alpha=0.0))
        raise refuse(op, f"activation {fused}, fused into it, is not supported here")

    def needed_operators(self, output: str) -> tuple[Op, ...]:
        """The operators that ``output`` depends on: parts that are packed and unpacked again leave others behind."""
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
        """By tensor of the file: how many operators read it, itself or in another shape."""
        roots: dict[int, int] = {}
        readers: Counter[int] = Counter()
        for op in self.file.operators:
            if op.kind in RESHAPING:
                roots[op.outputs[0]] = roots.get(op.inputs[0], op.inputs[0])
            else:
                readers.update(roots.get(index, index) for index in op.inputs if index >= 0)
        readers.update(roots.get(index, index) for index in self.file.outputs)
        return readers


def refuse(op: FileOperator, why: str) -> ModelError:
    """The error that a graph cannot hold this operator as it is."""
    return ModelError(f"its operator {op.kind}: {why}")


def blocks(shape: Shape, axis: int) -> tuple[int, int, int]:
    """(before, size, after): values before, along and after an axis."""
    return math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :])


def canonical(shape: Shape) -> Shape:
    """The shape that the graph gives to a tensor of the file: (1, N), or (1, W, C) where more than one axis counts."""
    outer = math.prod(shape[:-1])
    last = shape[-1] if shape else 1
    return (1, last) if outer == 1 else (1, outer, last)


#: Adds an operator of the file to a graph. Raises ModelError where the graph cannot hold it.
Import = Callable[[FileOperator, ImportedGraph], None]
