"""The operators of a TensorFlow Lite file that a Graph can hold: one function a kind, and one table.

Batch 1 is one of the axes of size 1 that a file is full of; what counts is the order of the values.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from edge_tqs.flatbuffer.tables import FileOperator
from edge_tqs.graph.graph import Array
from edge_tqs.graph.shapes import pool_length
from edge_tqs.read.tflite.moves import MOVES, fused_activation
from edge_tqs.read.tflite.views import Import, ImportedGraph, Shape, View, canonical, refuse

#: Types of what is computed about shapes alone.
SHAPE_TYPES = frozenset({"INT32", "INT64", "BOOL"})
SAME = 0
BINARY = {"ADD": "add", "SUB": "sub", "MUL": "mul"}
UNARY = {"LOGISTIC": "logistic", "TANH": "tanh", "ELU": "elu", "RSQRT": "rsqrt"}
POOLING = {"AVERAGE_POOL_2D": "avg_pool_1d", "MAX_POOL_2D": "max_pool_1d"}
FUNCTIONS = {
    **{"GELU": "gelu", "HARD_SWISH": "hard_silu", "EXP": "exponential", "LOG": "log", "SQRT": "sqrt"},
    **{"NEG": "negative", "ABS": "absolute", "SQUARE": "square", "SIN": "sin", "COS": "cos"},
}


def import_operator(op: FileOperator, imported: ImportedGraph) -> None:
    """Add ``op``, whose kind is in TABLE, to the graph. Raises ModelError where the graph cannot hold it."""
    if {imported.file.tensors[index].dtype for index in op.outputs} <= SHAPE_TYPES:
        return  # the shapes themselves are in the file
    TABLE[op.kind](op, imported)


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
    """Of two computed matrices, of which there is one each."""
    if imported.file.tensors[op.inputs[0]].data is not None:
        raise refuse(op, "its left operand is a constant")
    shapes = [imported.shape(index) for index in (*op.inputs, *op.outputs)]
    if op.options.adjX or any(size != 1 for shape in shapes for size in shape[:-2]):
        raise refuse(op, "only the product of one matrix and one matrix is supported: one head at a time")
    a, b, out = ((1, *shape[-2:]) for shape in shapes)
    names = [imported.read(imported.view(op, i), shape) for i, shape in zip(op.inputs, (a, b), strict=True)]
    imported.write(op.outputs[0], "batch_matmul", names, out, transposed=bool(op.options.adjY))


def _dense(op: FileOperator, imported: ImportedGraph, weight: Array, bias: int) -> None:
    """``weight`` (out, in) on the last axis; on a sequence that is a convolution of one tap."""
    view = imported.view(op, op.inputs[0])
    outs, ins = weight.shape
    rows = int(np.prod(view.shape)) // ins
    constants = _constants(op, imported, weight if rows == 1 else weight[:, None], bias)
    if rows == 1:
        _layer(op, imported, "fully_connected", [imported.read(view, (1, ins)), *constants], (1, outs))
    else:
        x = imported.read(view, (1, rows, ins))
        attrs = {"stride": 1, "dilation": 1, "left": 0, "right": 0}
        _layer(op, imported, "conv_1d", [x, *constants], (1, rows, outs), **attrs)


def _conv_2d(op: FileOperator, imported: ImportedGraph) -> None:
    """A convolution along one axis, the other having size 1."""
    weight = imported.data(op, 1, "filter")
    outs, height, width, ins = weight.shape
    if imported.shape(op.inputs[0])[3] != ins:
        raise refuse(op, f"it is grouped, {imported.shape(op.inputs[0])[3]} channels into filters of {ins}")
    _convolve(op, imported, "conv_1d", weight.reshape(outs, height * width, ins), (height, width))


def _depthwise_conv_2d(op: FileOperator, imported: ImportedGraph) -> None:
    """A filter (1, height, width, out), along one axis, the other having size 1."""
    weight = imported.data(op, 1, "filter")
    _, height, width, outs = weight.shape
    _convolve(op, imported, "depthwise_1d", weight.reshape(height * width, outs).T, (height, width))


def _over_time(op: FileOperator, imported: ImportedGraph, size: tuple[int, int]) -> tuple[int, int, int, bool]:
    """(size, stride, samples, whether along the width) of a window ``size`` high and wide that moves along one axis."""
    (height, width), (_, rows, columns, _) = size, imported.shape(op.inputs[0])
    along_width = rows == 1 and height == 1
    if not along_width and not (columns == 1 and width == 1):
        raise refuse(op, f"a filter {height} x {width} on {rows} x {columns} samples does not move over time alone")
    if along_width:
        return width, int(op.options.strideW), columns, True
    return height, int(op.options.strideH), rows, False


def _convolve(op: FileOperator, imported: ImportedGraph, kind: str, weight: Array, size: tuple[int, int]) -> None:
    """A conv_1d or a depthwise_1d with ``weight`` as the graph holds it, rows first."""
    options, outs, ins = op.options, weight.shape[0], imported.shape(op.inputs[0])[3]
    taps, stride, length, along_width = _over_time(op, imported, size)
    dilation = options.dilationWFactor if along_width else options.dilationHFactor
    view, left, right = imported.view(op, op.inputs[0]), 0, 0
    if view.dilation > 1:  # the file sees one of that many rows
        if options.padding == SAME or stride != 1 or dilation != 1 or view.shape[2] != ins:
            raise refuse(op, "between SPACE_TO_BATCH_ND and BATCH_TO_SPACE_ND it must be a plain one")
        dilation, length = view.dilation, view.shape[1]
    if options.padding == SAME:
        reach = (taps - 1) * dilation + 1
        total = max((-(-length // stride) - 1) * stride + reach - length, 0)
        left, right = total // 2, total - total // 2
    if (view.left or view.right or view.dilation > 1) and view.shape == (1, length, ins):
        left, right, x = left + view.left, right + view.right, view.name
    else:
        x = imported.read(view, (1, length, ins))
    count = (imported.tensors[x].shape[1] + left + right - (taps - 1) * dilation - 1) // stride + 1
    _layer(
        op,
        imported,
        kind,
        [x, *_constants(op, imported, weight, op.inputs[2] if len(op.inputs) > 2 else -1)],
        (1, count, outs),
        stride=int(stride),
        dilation=int(dilation),
        left=left,
        right=right,
    )
    imported.views[op.outputs[0]] = replace(imported.views[op.outputs[0]], dilation=view.dilation)


def _pool(op: FileOperator, imported: ImportedGraph) -> None:
    options, channels = op.options, imported.shape(op.inputs[0])[3]
    size, stride, length, _ = _over_time(op, imported, (options.filterHeight, options.filterWidth))
    attrs = {"size": int(size), "stride": stride, "padding": "same" if options.padding == SAME else "valid"}
    x = imported.read(imported.view(op, op.inputs[0]), (1, length, channels))
    made = imported.write(op.outputs[0], POOLING[op.kind], [x], (1, pool_length(length, attrs), channels), **attrs)
    imported.views[op.outputs[0]] = imported.activate(op, made, fused_activation(op))


def _layer(op: FileOperator, imported: ImportedGraph, kind: str, inputs: list[str], shape: Shape, **attrs: Any) -> None:
    """An operator with a weight, and the activation that is fused into it."""
    fused = fused_activation(op)
    held = fused.lower() if fused in ("RELU", "RELU6") else "none"
    made = imported.write(op.outputs[0], kind, inputs, shape, **attrs, activation=held)
    if held == "none":
        imported.views[op.outputs[0]] = imported.activate(op, made, fused)


def _constants(op: FileOperator, imported: ImportedGraph, weight: Array, bias: int) -> list[str]:
    names = [imported.weight(op.inputs[1], weight)]
    if bias >= 0:
        values = imported.data(op, 2, "bias")
        names.append(imported.constant(imported.file.tensors[bias].name, values.reshape(-1)))
    return names


# --- element by element -----------------------------------------------------------------------------------------------


def _binary(op: FileOperator, imported: ImportedGraph) -> None:
    kind, out = BINARY[op.kind], op.outputs[0]
    constants = [imported.file.tensors[index].data for index in op.inputs]
    computed = [place for place in (0, 1) if constants[place] is None]
    if not computed:
        raise refuse(op, "both operands are constants")
    views = {place: imported.view(op, op.inputs[place]) for place in computed}
    if kind == "add" and len(computed) == 1 and _fuse_bias(op, imported, views[computed[0]], computed[0]):
        return
    size = int(np.prod(imported.shape(out)))
    whole = next((place for place in computed if int(np.prod(views[place].shape)) == size), None)
    if whole is None:
        raise refuse(op, f"shapes {imported.shape(op.inputs[0])} and {imported.shape(op.inputs[1])} repeat each other")
    shape = views[whole].shape
    names = ["", ""]
    names[whole] = imported.read(views[whole], shape)
    other = 1 - whole
    names[other] = _operand(op, imported, other, views.get(other), shape)
    made = imported.write(out, kind, names, shape)
    imported.views[out] = imported.activate(op, made, fused_activation(op))


def _operand(op: FileOperator, imported: ImportedGraph, place: int, view: View | None, shape: Shape) -> str:
    """The smaller operand, in the graph's ``shape`` or as one sample (1, 1, C) that is repeated over time."""
    tensor, out = imported.file.tensors[op.inputs[place]], imported.shape(op.outputs[0])
    size, channels = int(np.prod(tensor.shape)), out[-1] if out else 1
    by_channel = size == channels and tensor.shape[-1:] == (channels,) and len(shape) == 3 and shape[2] == channels
    if view is None:
        assert tensor.data is not None
        if by_channel and shape[1] > 1:
            return imported.constant(tensor.name, tensor.data.reshape(1, 1, channels))
        return imported.constant(tensor.name, np.broadcast_to(tensor.data, out).reshape(shape))
    if size == int(np.prod(shape)):
        return imported.read(view, shape)
    if by_channel:
        return imported.read(view, (1, 1, channels))
    if len(shape) == 3 and out[-1:] == (shape[2],) and tensor.shape == (*out[:-1], 1):
        one = imported.read(view, (1, shape[1], 1))
        return imported.side_by_side(one, shape[2])
    raise refuse(op, f"{tensor.shape} is repeated to {out}; only (1, 1, C) over time and (1, W, 1) are supported")


def _fuse_bias(op: FileOperator, imported: ImportedGraph, view: View, computed: int) -> bool:
    """An ADD of one value a channel, right after a layer without a bias, is its bias."""
    tensor = imported.file.tensors[op.inputs[1 - computed]]
    assert tensor.data is not None
    channels = imported.shape(op.inputs[computed])[-1:]
    if tensor.shape[-1:] != channels or tensor.data.size != channels[0] or view.shape[-1:] != channels:
        return False
    if not imported.fuse_bias(view, tensor.name, tensor.data.reshape(-1)):
        return False
    imported.hand_on(view, op.outputs[0])
    imported.views[op.outputs[0]] = imported.activate(op, view, fused_activation(op))
    return True


def _unary(op: FileOperator, imported: ImportedGraph) -> None:
    view = imported.view(op, op.inputs[0])
    imported.write(op.outputs[0], UNARY[op.kind], [imported.read(view, view.shape)], view.shape)


def _leaky_relu(op: FileOperator, imported: ImportedGraph) -> None:
    view = imported.view(op, op.inputs[0])
    name = imported.read(view, view.shape)
    imported.write(op.outputs[0], "leaky_relu", [name], view.shape, alpha=float(op.options.alpha))


def _softmax(op: FileOperator, imported: ImportedGraph) -> None:
    view, shape = imported.view(op, op.inputs[0]), canonical(imported.shape(op.inputs[0]))
    imported.write(op.outputs[0], "softmax", [imported.read(view, shape)], shape, beta=float(op.options.beta))


def _function(op: FileOperator, imported: ImportedGraph) -> None:
    view = imported.view(op, op.inputs[0])
    parameters = (float(op.options.approximate),) if op.kind == "GELU" else ()
    attrs = {"name": FUNCTIONS[op.kind], "parameters": parameters}
    imported.write(op.outputs[0], "function", [imported.read(view, view.shape)], view.shape, **attrs)


def _relu(op: FileOperator, imported: ImportedGraph) -> None:
    view = imported.view(op, op.inputs[0])
    imported.views[op.outputs[0]] = imported.activate(op, View(imported.read(view, view.shape), view.shape), op.kind)


def _mean(op: FileOperator, imported: ImportedGraph) -> None:
    """MEAN over time, and SUM: the mean times how many there are."""
    shape = imported.shape(op.inputs[0])
    axes = {int(axis) % len(shape) for axis in imported.data(op, 1, "axes").reshape(-1)}
    length, channels = canonical(shape)[1:] if len(canonical(shape)) == 3 else (1, shape[-1])
    over_time = all(size == 1 or (axis in axes) == (axis < len(shape) - 1) for axis, size in enumerate(shape))
    if not over_time:
        raise refuse(
            op, f"it goes over axes {sorted(axes)} of {shape}; only the mean and the sum over time are supported"
        )
    x = imported.read(imported.view(op, op.inputs[0]), (1, length, channels))
    if op.kind == "MEAN":
        imported.write(op.outputs[0], "mean", [x], (1, 1, channels))
        return
    name = imported.file.tensors[op.outputs[0]].name
    mean = imported.op("mean", f"{name}/mean", [x], (1, 1, channels))
    count = imported.constant(f"{name}/count", np.full((1, 1, channels), length))
    imported.write(op.outputs[0], "mul", [mean, count], (1, 1, channels))


TABLE: dict[str, Import] = {
    "FULLY_CONNECTED": _fully_connected,
    "BATCH_MATMUL": _batch_matmul,
    "CONV_2D": _conv_2d,
    "DEPTHWISE_CONV_2D": _depthwise_conv_2d,
    **dict.fromkeys(POOLING, _pool),
    **dict.fromkeys(BINARY, _binary),
    **dict.fromkeys(UNARY, _unary),
    **dict.fromkeys(FUNCTIONS, _function),
    "SOFTMAX": _softmax,
    "LEAKY_RELU": _leaky_relu,
    "RELU": _relu,
    "RELU6": _relu,
    "MEAN": _mean,
    "SUM": _mean,
    **MOVES,
}
