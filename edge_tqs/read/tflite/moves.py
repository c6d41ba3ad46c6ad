"""Operators that move values without computing any: they cut, join, pad and reshape.

What lies before an axis and what lies after it can be read as one axis each, so every cut and every joint is one along
the first or the second axis of a (1, N), (1, W, C) or (1, A, N * C).
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from edge_tqs.flatbuffer.tables import FileOperator
from edge_tqs.graph.graph import MOST_JOINED
from edge_tqs.read.tflite.views import Import, ImportedGraph, Shape, View, blocks, refuse

ACTIVATIONS = ("NONE", "RELU", "RELU_N1_TO_1", "RELU6", "TANH", "SIGN_BIT")


def fused_activation(op: FileOperator) -> str:
    """The activation that ``op`` has fused in, as the schema names it."""
    return ACTIVATIONS[getattr(op.options, "fusedActivationFunction", None) or 0]


def _reshape(op: FileOperator, imported: ImportedGraph) -> None:
    """RESHAPE, SQUEEZE and EXPAND_DIMS: the same values in the same order."""
    imported.views[op.outputs[0]] = imported.view(op, op.inputs[0])


def _transpose(op: FileOperator, imported: ImportedGraph) -> None:
    order = [int(axis) for axis in imported.data(op, 1, "order of axes")]
    moved = [axis for axis in order if imported.shape(op.inputs[0])[axis] != 1]
    if moved == sorted(moved):
        _reshape(op, imported)
        return
    rows = moved.index(min(moved))  # axes in front of the first: they become the outer ones
    if moved[rows:] + moved[:rows] != sorted(moved):
        raise refuse(op, "it reorders values in another way than by exchanging rows and columns")
    sizes = imported.shape(op.inputs[0])
    inner, outer = (math.prod(sizes[axis] for axis in axes) for axes in (moved[:rows], moved[rows:]))
    x = imported.read(imported.view(op, op.inputs[0]), (1, outer, inner))
    imported.write(op.outputs[0], "transpose", [x], (1, inner, outer))


def _pad(op: FileOperator, imported: ImportedGraph) -> None:
    paddings, shape = imported.data(op, 1, "padding"), imported.shape(op.inputs[0])
    view, axes = imported.view(op, op.inputs[0]), [axis for axis, pair in enumerate(paddings) if pair.any()]
    if not axes:
        imported.views[op.outputs[0]] = view
        return
    before, size, after = blocks(shape, axes[0])
    if len(axes) > 1 or before != 1:
        raise refuse(op, "it pads other axes than time")
    left, right = (int(count) for count in paddings[axes[0]])
    name = imported.read(view, (1, size, after))
    imported.views[op.outputs[0]] = View(name, (1, size + left + right, after), left, right)


def _space_to_batch(op: FileOperator, imported: ImportedGraph) -> None:
    """How converters write a dilation: every d-th sample into a row of the batch. The convolution undoes it."""
    block, paddings = imported.data(op, 1, "block"), imported.data(op, 2, "padding")
    view, (before, size, after) = imported.view(op, op.inputs[0]), blocks(imported.shape(op.inputs[0]), block.size)
    if block[:-1].max(initial=1) > 1 or paddings[:-1].any() or before != 1:
        raise refuse(op, "it cuts up other axes than time")
    left, right = (int(count) for count in paddings[-1])
    if view.shape != (1, size, after):
        view = View(imported.read(view, (1, size, after)), (1, size, after))
    shape = (1, size + left + right, after)
    imported.views[op.outputs[0]] = View(view.name, shape, view.left + left, view.right + right, int(block[-1]))


def _batch_to_space(op: FileOperator, imported: ImportedGraph) -> None:
    block, crops = imported.data(op, 1, "block"), imported.data(op, 2, "crops")
    view = imported.view(op, op.inputs[0])
    if int(block[-1]) != view.dilation or crops[:-1].any() or view.left or view.right:
        raise refuse(op, "it undoes no SPACE_TO_BATCH_ND around one convolution")
    begin, end = (int(count) for count in crops[-1])
    whole, size = replace(view, dilation=1), view.shape[1] - begin - end
    name = imported.file.tensors[op.outputs[0]].name or "crop"
    imported.views[op.outputs[0]] = _cut(imported, whole, view.shape, 1, begin, size, name)


def _cut(imported: ImportedGraph, view: View, shape: Shape, axis: int, begin: int, size: int, name: str) -> View:
    """``size`` of the values along ``axis`` of what the file sees as ``shape``."""
    before, length, after = blocks(shape, axis)
    if size == length:
        return view
    if before == 1:
        whole, part, along = ((1, length), (1, size), 1) if after == 1 else ((1, length, after), (1, size, after), 1)
    else:
        whole, part, along = (1, before, length * after), (1, before, size * after), 2
        begin, size = begin * after, size * after
    return View(
        imported.op("slice", name, [imported.read(view, whole)], part, axis=along, begin=begin, size=size), part
    )


def _cut_all(op: FileOperator, imported: ImportedGraph, begins: list[int], sizes: list[int]) -> None:
    shape, view = imported.shape(op.inputs[0]), imported.view(op, op.inputs[0])
    name = imported.file.tensors[op.outputs[0]].name or "slice"
    for axis, (begin, size) in enumerate(zip(begins, sizes, strict=True)):
        view = _cut(imported, view, shape, axis, begin, size, name)
        shape = (*shape[:axis], size, *shape[axis + 1 :])
    imported.views[op.outputs[0]] = view


def _slice(op: FileOperator, imported: ImportedGraph) -> None:
    begins, sizes = ([int(v) for v in imported.data(op, place, "begin or size")] for place in (1, 2))
    shape = imported.shape(op.inputs[0])
    sizes = [shape[axis] - begins[axis] if size < 0 else size for axis, size in enumerate(sizes)]
    _cut_all(op, imported, begins, sizes)


def _strided_slice(op: FileOperator, imported: ImportedGraph) -> None:
    options, shape = op.options, imported.shape(op.inputs[0])
    given = [[int(v) for v in imported.data(op, place, "begin, end or stride")] for place in (1, 2, 3)]
    if options.ellipsisMask or options.newAxisMask or getattr(options, "offset", False):
        raise refuse(op, "it adds axes")
    begins, sizes = [0] * len(shape), list(shape)
    for axis, (begin, end, stride) in enumerate(zip(*given, strict=True)):
        if options.shrinkAxisMask >> axis & 1:
            begins[axis], sizes[axis] = begin % shape[axis], 1
            continue
        first = None if options.beginMask >> axis & 1 else begin
        last = None if options.endMask >> axis & 1 else end
        taken = range(*slice(first, last, stride).indices(shape[axis]))
        if len(taken) < 1 or (taken.step != 1 and len(taken) > 1):
            raise refuse(op, f"its stride is {stride}")
        begins[axis], sizes[axis] = taken[0], len(taken)
    _cut_all(op, imported, begins, sizes)


def _split(op: FileOperator, imported: ImportedGraph) -> None:
    axis, index = int(imported.data(op, 0, "axis").reshape(-1)[0]), op.inputs[1]
    shape, count = imported.shape(index), len(op.outputs)
    axis %= len(shape)
    view, (before, length, after) = imported.view(op, index), blocks(shape, axis)
    if before == 1:  # the parts lie one after another
        imported.split(op.outputs, imported.read(view, (1, length * after)), length * after // count)
        return
    for number, out in enumerate(op.outputs):
        size = length // count
        imported.views[out] = _cut(imported, view, shape, axis, number * size, size, imported.file.tensors[out].name)


def _split_v(op: FileOperator, imported: ImportedGraph) -> None:
    axis, sizes = int(imported.data(op, 2, "axis").reshape(-1)[0]), [int(v) for v in imported.data(op, 1, "sizes")]
    shape, view, begin = imported.shape(op.inputs[0]), imported.view(op, op.inputs[0]), 0
    axis %= len(shape)
    sizes = [shape[axis] - sum(s for s in sizes if s > 0) if size < 0 else size for size in sizes]
    for out, size in zip(op.outputs, sizes, strict=True):
        imported.views[out] = _cut(imported, view, shape, axis, begin, size, imported.file.tensors[out].name)
        begin += size


def _unpack(op: FileOperator, imported: ImportedGraph) -> None:
    shape, view = imported.shape(op.inputs[0]), imported.view(op, op.inputs[0])
    axis = int(op.options.axis) % len(shape)
    parts = imported.packed.get(view.name, ())
    if blocks(shape, axis)[0] == 1 and len(parts) == shape[axis]:
        imported.views |= dict(zip(op.outputs, parts, strict=True))
        return
    for number, out in enumerate(op.outputs):
        imported.views[out] = _cut(imported, view, shape, axis, number, 1, imported.file.tensors[out].name)


def _pack(op: FileOperator, imported: ImportedGraph) -> None:
    shape = imported.shape(op.outputs[0])
    axis = int(op.options.axis) % len(shape)
    _join(op, imported, axis, [1] * len(op.inputs))
    if blocks(shape, axis)[0] == 1:
        name = imported.views[op.outputs[0]].name
        imported.packed[name] = tuple(imported.view(op, index) for index in op.inputs)


def _concatenation(op: FileOperator, imported: ImportedGraph) -> None:
    axis = int(op.options.axis) % len(imported.shape(op.outputs[0]))
    _join(op, imported, axis, [imported.shape(index)[axis] for index in op.inputs])
    imported.views[op.outputs[0]] = imported.activate(op, imported.views[op.outputs[0]], fused_activation(op))


def _join(op: FileOperator, imported: ImportedGraph, axis: int, sizes: list[int]) -> None:
    before, length, after = blocks(imported.shape(op.outputs[0]), axis)

    def shaped(size: int) -> Shape:
        if before == 1:
            return (1, size) if after == 1 else (1, size, after)
        return (1, before, size * after)

    names = []
    for index, size in zip(op.inputs, sizes, strict=True):
        data = imported.file.tensors[index].data
        if data is not None:
            names.append(imported.constant(imported.file.tensors[index].name, data.reshape(shaped(size))))
        else:
            names.append(imported.read(imported.view(op, index), shaped(size)))
    if all(imported.tensors[name].data is not None for name in names):
        raise refuse(op, "all that it joins is constant")
    if len(names) == 1:
        imported.views[op.outputs[0]] = imported.view(op, op.inputs[0])
        return
    along = 1 if before == 1 else 2
    while len(names) > MOST_JOINED:
        groups = [names[begin : begin + MOST_JOINED] for begin in range(0, len(names), MOST_JOINED)]
        names = [_grouped(imported, group, along) for group in groups]
    imported.write(op.outputs[0], "concat", names, shaped(length), axis=along)


def _grouped(imported: ImportedGraph, names: list[str], axis: int) -> str:
    """Some of what is joined, as one tensor."""
    tensors = [imported.tensors[name] for name in names]
    if len(names) == 1:
        return names[0]
    constants = [tensor.data for tensor in tensors if tensor.data is not None]
    if len(constants) == len(names):
        return imported.constant(f"{names[0]}/joined", np.concatenate(constants, axis))
    first = tensors[0].shape
    shape = (*first[:axis], sum(tensor.shape[axis] for tensor in tensors), *first[axis + 1 :])
    return imported.op("concat", f"{names[0]}/joined", names, shape, axis=axis)


MOVES: dict[str, Import] = {
    "RESHAPE": _reshape,
    "SQUEEZE": _reshape,
    "EXPAND_DIMS": _reshape,
    "TRANSPOSE": _transpose,
    "PAD": _pad,
    "SPACE_TO_BATCH_ND": _space_to_batch,
    "BATCH_TO_SPACE_ND": _batch_to_space,
    "SLICE": _slice,
    "STRIDED_SLICE": _strided_slice,
    "SPLIT": _split,
    "SPLIT_V": _split_v,
    "UNPACK": _unpack,
    "PACK": _pack,
    "CONCATENATION": _concatenation,
}
