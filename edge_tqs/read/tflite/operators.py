"""The operators of a TensorFlow Lite file that a Graph can hold: those with weights, and one table of all.

Batch 1 is one of the axes of size 1 that a file is full of. A batch that counts, as of channels that are forecast one
by one, is more samples of a dense layer, and of a convolution the samples of others between its own.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edge_tqs.errors import ModelError
from edge_tqs.flatbuffer.tables import FileOperator
from edge_tqs.graph.graph import Array
from edge_tqs.graph.shapes import pool_length
from edge_tqs.read.tflite.elementwise import ELEMENTWISE
from edge_tqs.read.tflite.moves import MOVES, fused_activation
from edge_tqs.read.tflite.placing import padded, price, read
from edge_tqs.read.tflite.selecting import SELECTING
from edge_tqs.read.tflite.views import Import, ImportedGraph, Shape, View, canonical, refuse

#: Types of what is computed about shapes alone.
SHAPE_TYPES = frozenset({"INT32", "INT64", "BOOL"})
SAME = 0
#: How many times as much moves in the order of the file may cost.
MUCH = 4.0
POOLING = {"AVERAGE_POOL_2D": "avg_pool_1d", "MAX_POOL_2D": "max_pool_1d"}


def import_operator(op: FileOperator, imported: ImportedGraph) -> None:
    """Add ``op``, whose kind is in TABLE, to the graph. Raises ModelError where the graph cannot hold it."""
    if {imported.file.tensors[index].dtype for index in op.outputs} <= SHAPE_TYPES:
        return  # the shapes themselves are in the file
    try:
        TABLE[op.kind](op, imported)
    except ModelError as error:
        where = f"its operator {op.kind}"
        raise error if error.message.startswith(where) else refuse(op, error.message) from error


# --- layers -----------------------------------------------------------------------------------------------------------


def _fully_connected(op: FileOperator, imported: ImportedGraph) -> None:
    if op.options.weightsFormat:
        raise refuse(op, "its weights are shuffled")
    _dense(op, imported, imported.data(op, 1, "weight"), op.inputs[2] if len(op.inputs) > 2 else -1)


def _batch_matmul(op: FileOperator, imported: ImportedGraph) -> None:
    if imported.file.tensors[op.inputs[1]].data is None:
        _product(op, imported)
        return
    matrix = imported.data(op, 1, "right operand")
    if op.options.adjX or any(size != 1 for size in matrix.shape[:-2]):
        raise refuse(op, "only a window times one constant matrix is supported")
    matrix = matrix.reshape(matrix.shape[-2:])
    _dense(op, imported, matrix if op.options.adjY else matrix.T, -1)


def _product(op: FileOperator, imported: ImportedGraph) -> None:
    """Of two computed matrices; of several of them, as of heads, one after the other."""
    if imported.file.tensors[op.inputs[0]].data is not None:
        raise refuse(op, "its left operand is a constant")
    views = [imported.view(op, index) for index in op.inputs]
    turns = (op.options.adjX, op.options.adjY)
    each = [view.index.swapaxes(-1, -2) if turn else view.index for view, turn in zip(views, turns, strict=True)]
    batch = np.broadcast_shapes(*(index.shape[:-2] for index in each))
    rows, columns = each[0].shape[-2], each[1].shape[-1]
    out = (*batch, rows, columns)
    matrices = [np.broadcast_to(index, (*batch, *index.shape[-2:])).reshape(-1, *index.shape[-2:]) for index in each]
    transposed = _lies_turned(imported, View(views[1].names, matrices[1][0]))
    made = []
    for number, (a, b) in enumerate(zip(*matrices, strict=True)):
        right = b.T if transposed else b
        names = [
            read(imported, View(view.names, index), (1, *index.shape))
            for view, index in zip(views, (a, right), strict=True)
        ]
        if len(matrices[0]) == 1:
            imported.write(op.outputs[0], "batch_matmul", names, (1, rows, columns), out, transposed=transposed)
            return
        name = f"{imported.file.tensors[op.outputs[0]].name or 'product'}/{number}"
        made.append(imported.op("batch_matmul", name, names, (1, rows, columns), transposed=transposed))
    imported.views[op.outputs[0]] = View(tuple(made), np.arange(int(np.prod(out))).reshape(out))


def _lies_turned(imported: ImportedGraph, view: View) -> bool:
    """Whether a matrix lies column by column: its columns, not its rows, are side by side."""
    steps = [int(np.abs(np.diff(view.index, axis=axis)).max(initial=0)) for axis in (0, 1)]
    return view.index.shape[0] > 1 and steps[0] == 1 and steps[1] != 1


def _dense(op: FileOperator, imported: ImportedGraph, weight: Array, bias: int) -> None:
    """``weight`` (out, in) on the last axis; on a sequence that is a convolution of one tap."""
    view = imported.view(op, op.inputs[0])
    outs, ins = weight.shape
    rows = view.index.size // ins
    constants = _constants(op, imported, weight if rows == 1 else weight[:, None], bias)
    seen = (*view.index.shape[:-1], outs) if getattr(op.options, "keepNumDims", True) else (rows, outs)
    if rows == 1:
        _layer(op, imported, "fully_connected", [read(imported, view, (1, ins)), *constants], (1, outs), seen)
        return
    x, order = _in_any_order(imported, view, ins)
    attrs = {"stride": 1, "dilation": 1, "left": 0, "right": 0}
    _layer(op, imported, "conv_1d", [x, *constants], (1, rows, outs), (rows, outs), **attrs)
    _back_in_order(op, imported, order, seen)


def _in_any_order(imported: ImportedGraph, view: View, columns: int) -> tuple[str, Array]:
    """(name, order): the rows of ``view`` for what takes each by itself, and which row of it each of them is.

    They are as in the view, unless the order in which they lie is much cheaper: PyTorch's attention has the rows of
    a batch between each other.
    """
    rows = view.index.reshape(-1, columns)
    shape, order = (1, *rows.shape), np.arange(len(rows))
    lying = np.argsort(rows[:, 0], kind="stable")
    if not np.array_equal(lying, order):
        sorted_rows = View(view.names, rows[lying])
        if price(imported, view.reshaped(shape), shape) > MUCH * price(imported, sorted_rows, shape):
            return read(imported, sorted_rows, shape), lying
    return read(imported, view.reshaped(shape), shape), order


def _back_in_order(op: FileOperator, imported: ImportedGraph, order: Array, seen: Shape) -> None:
    """What ``op`` gives, whose rows came in ``order``, as the file sees it."""
    made = imported.views[op.outputs[0]]
    imported.views[op.outputs[0]] = View(made.names, made.index[np.argsort(order)].reshape(seen))


def _conv_2d(op: FileOperator, imported: ImportedGraph) -> None:
    """A convolution along one axis, the other having size 1."""
    weight = imported.data(op, 1, "filter")
    outs, height, width, ins = weight.shape
    channels = imported.view(op, op.inputs[0]).index.shape[3]
    if channels != ins:
        raise refuse(op, f"it is grouped, {channels} channels into filters of {ins}")
    _convolve(op, imported, "conv_1d", weight.reshape(outs, height * width, ins), (height, width))


def _depthwise_conv_2d(op: FileOperator, imported: ImportedGraph) -> None:
    """A filter (1, height, width, out), along one axis, the other having size 1."""
    weight = imported.data(op, 1, "filter")
    _, height, width, outs = weight.shape
    weight = weight.reshape(height * width, outs).T
    if imported.view(op, op.inputs[0]).index.shape[3] == 1 and outs > 1:  # of one channel it is a convolution
        _convolve(op, imported, "conv_1d", weight[..., None], (height, width))
    else:
        _convolve(op, imported, "depthwise_1d", weight, (height, width))


def _over_time(op: FileOperator, imported: ImportedGraph, size: tuple[int, int]) -> tuple[int, int, int, bool]:
    """(size, stride, samples, whether along the width) of a window ``size`` high and wide that moves along one axis."""
    (height, width), (_, rows, columns, _) = size, imported.view(op, op.inputs[0]).index.shape
    along_width = rows == 1 and height == 1
    if not along_width and not (columns == 1 and width == 1):
        raise refuse(op, f"a filter {height} x {width} on {rows} x {columns} samples does not move over time alone")
    if along_width:
        return width, int(op.options.strideW), columns, True
    return height, int(op.options.strideH), rows, False


def _convolve(op: FileOperator, imported: ImportedGraph, kind: str, weight: Array, size: tuple[int, int]) -> None:
    """A conv_1d or a depthwise_1d with ``weight`` as the graph holds it, rows first.

    Of a batch of several sequences, as SPACE_TO_BATCH_ND makes for a dilation, the samples are taken in turn.
    """
    view = imported.view(op, op.inputs[0])
    options, outs, shape = op.options, weight.shape[0], view.index.shape
    taps, stride, length, along_width = _over_time(op, imported, size)
    dilation = int(options.dilationWFactor if along_width else options.dilationHFactor)
    batch, ins, left, right = shape[0], shape[3], 0, 0
    if options.padding == SAME:
        reach = (taps - 1) * dilation + 1
        total = max((-(-length // stride) - 1) * stride + reach - length, 0)
        left, right = total // 2, total - total // 2
    if batch > 1 and stride > 1:
        raise refuse(op, f"of a batch of {batch} it computes one sample of {stride} only")
    in_turn = view.index.reshape(batch, length, ins).swapaxes(0, 1).reshape(1, length * batch, ins)
    x, before, after = padded(imported, View(view.names, in_turn))
    left, right, dilation = left * batch + before, right * batch + after, dilation * batch
    count = (imported.tensors[x].shape[1] + left + right - (taps - 1) * dilation - 1) // stride + 1
    each = count // batch
    _layer(
        op,
        imported,
        kind,
        [x, *_constants(op, imported, weight, op.inputs[2] if len(op.inputs) > 2 else -1)],
        (1, count, outs),
        (each, 1, batch, outs) if along_width else (1, each, batch, outs),
        stride=int(stride),
        dilation=dilation,
        left=left,
        right=right,
    )
    made = imported.views[op.outputs[0]]
    imported.views[op.outputs[0]] = View(made.names, made.index.swapaxes(0, 2) if along_width else _rows_first(made))


def _rows_first(view: View) -> Array:
    """(1, samples, batch, channels) as (batch, samples, 1, channels)."""
    return view.index.transpose(2, 1, 0, 3)


def _pool(op: FileOperator, imported: ImportedGraph) -> None:
    """Over time; of a batch, each row's channels beside those of the others."""
    options, view = op.options, imported.view(op, op.inputs[0])
    batch, _, _, channels = view.index.shape
    size, stride, length, along_width = _over_time(op, imported, (options.filterHeight, options.filterWidth))
    attrs = {"size": int(size), "stride": stride, "padding": "same" if options.padding == SAME else "valid"}
    beside = view.index.reshape(batch, length, channels).swapaxes(0, 1).reshape(1, length, batch * channels)
    x = read(imported, View(view.names, beside), beside.shape)
    count = pool_length(length, attrs)
    seen = (count, 1, batch, channels) if along_width else (1, count, batch, channels)
    made = imported.write(op.outputs[0], POOLING[op.kind], [x], (1, count, batch * channels), seen, **attrs)
    apart = made.index.swapaxes(0, 2) if along_width else _rows_first(made)
    imported.views[op.outputs[0]] = imported.activate(op, View(made.names, apart), fused_activation(op))


def _layer(
    op: FileOperator, imported: ImportedGraph, kind: str, inputs: list[str], shape: Shape, seen: Shape, /, **attrs: Any
) -> None:
    """An operator with a weight, and the activation that is fused into it."""
    fused = fused_activation(op)
    held = fused.lower() if fused in ("RELU", "RELU6") else "none"
    made = imported.write(op.outputs[0], kind, inputs, shape, seen, **attrs, activation=held)
    if held == "none":
        imported.views[op.outputs[0]] = imported.activate(op, made, fused)


def _constants(op: FileOperator, imported: ImportedGraph, weight: Array, bias: int) -> list[str]:
    names = [imported.weight(op.inputs[1], weight)]
    if bias >= 0:
        values = imported.data(op, 2, "bias")
        names.append(imported.constant(imported.file.tensors[bias].name, values.reshape(-1)))
    return names


# --- along an axis ----------------------------------------------------------------------------------------------------


def _softmax(op: FileOperator, imported: ImportedGraph) -> None:
    view, beta = imported.view(op, op.inputs[0]), float(op.options.beta)
    shape = canonical(view.index.shape)
    if len(shape) == 2:
        imported.write(op.outputs[0], "softmax", [read(imported, view, shape)], shape, view.index.shape, beta=beta)
        return
    x, order = _in_any_order(imported, view, shape[2])
    imported.write(op.outputs[0], "softmax", [x], shape, shape[1:], beta=beta)
    _back_in_order(op, imported, order, view.index.shape)


def _reduced(op: FileOperator, imported: ImportedGraph) -> tuple[str, int, Shape, Shape]:
    """(name, how many are made one, the shape of the result in the graph, in the file).

    What is reduced lies along the samples, what is kept along the channels.
    """
    view = imported.view(op, op.inputs[0])
    rank = view.index.ndim
    axes = sorted({int(axis) % rank for axis in imported.data(op, 1, "axes").reshape(-1)})
    kept = [axis for axis in range(rank) if axis not in axes]
    count = int(np.prod([view.index.shape[axis] for axis in axes]))
    index = view.index.transpose([*axes, *kept]).reshape(1, count, -1)
    left = [1 if axis in axes else view.index.shape[axis] for axis in range(rank)]
    seen = tuple(left) if op.options.keepDims else tuple(left[axis] for axis in kept)
    return read(imported, View(view.names, index), index.shape), count, (1, 1, index.shape[2]), seen


def _mean(op: FileOperator, imported: ImportedGraph) -> None:
    """MEAN, and SUM: the mean times how many there are."""
    x, count, shape, seen = _reduced(op, imported)
    if op.kind == "MEAN":
        imported.write(op.outputs[0], "mean", [x], shape, seen)
        return
    name = imported.file.tensors[op.outputs[0]].name
    mean = imported.op("mean", f"{name}/mean", [x], shape)
    of_all = imported.constant(f"{name}/count", np.full(shape, count))
    imported.write(op.outputs[0], "mul", [mean, of_all], shape, seen)


def _reduce_max(op: FileOperator, imported: ImportedGraph) -> None:
    """REDUCE_MAX, and REDUCE_MIN: the negative of the greatest of the negatives."""
    x, count, shape, seen = _reduced(op, imported)
    attrs = {"size": count, "stride": count, "padding": "valid"}
    if op.kind == "REDUCE_MAX":
        imported.write(op.outputs[0], "max_pool_1d", [x], shape, seen, **attrs)
        return
    name, negative = imported.file.tensors[op.outputs[0]].name, {"name": "negative", "parameters": ()}
    x = imported.op("function", f"{name}/negative", [x], imported.tensors[x].shape, **negative)
    x = imported.op("max_pool_1d", f"{name}/most", [x], shape, **attrs)
    imported.write(op.outputs[0], "function", [x], shape, seen, **negative)


TABLE: dict[str, Import] = {
    "FULLY_CONNECTED": _fully_connected,
    "BATCH_MATMUL": _batch_matmul,
    "CONV_2D": _conv_2d,
    "DEPTHWISE_CONV_2D": _depthwise_conv_2d,
    **dict.fromkeys(POOLING, _pool),
    "SOFTMAX": _softmax,
    "MEAN": _mean,
    "SUM": _mean,
    **dict.fromkeys(("REDUCE_MAX", "REDUCE_MIN"), _reduce_max),
    **ELEMENTWISE,
    **SELECTING,
    **MOVES,
}
