"""slice, concat, split and reshape: values are moved, or stay where they are and are read as pieces of the input."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from edge_tqs.errors import ModelError
from edge_tqs.graph.graph import MOST_JOINED, Array, Graph, Op
from edge_tqs.graph.signature import Shape, Signature
from edge_tqs.operators.operator import Builtin, Call, Copies, Function, Operator, Reader, Writer, read_plain

_IMAGE_RANK = 4


def _no_call(graph: Graph, op: Op) -> Call:
    raise ModelError(f"{graph.name}: {op.kind} to {op.outputs[0]} moves codes, which needs no kernel")


def _copies(graph: Graph, op: Op) -> Copies:
    axis, out = op.attrs["axis"], graph.tensors[op.outputs[0]].shape
    begin, whole = op.attrs.get("begin", 0) * math.prod(out[axis + 1 :]), math.prod(out[axis:])
    steps = [math.prod(graph.tensors[name].shape[axis:]) for name in op.inputs]
    return Copies(math.prod(out[:axis]), tuple((begin, step, min(step, whole)) for step in steps))


def _written_axis(writer: Writer, op: Op) -> int:
    """``axis`` in the shapes as they are written."""
    name = op.outputs[0]
    return int(op.attrs["axis"]) + len(writer.written_shape(name)) - len(writer.graph.tensors[name].shape)


def _is_image(reader: Reader, index: int) -> int:
    """1 where a tensor has a height more than the graph's, so that its axes count one more; else 0."""
    return int(len(reader.shape(index)) == _IMAGE_RANK)


# --- slice ----------------------------------------------------------------------------------------------------------


def _slice(graph: Graph, op: Op) -> Function:
    begin = op.attrs["begin"]
    where = (*([slice(None)] * op.attrs["axis"]), slice(begin, begin + op.attrs["size"]))
    return lambda x: x[where]


def _slice_traced(tf: Any, graph: Graph, op: Op) -> Any:
    # Axes count from the end: there may be more leading dimensions than the graph's batch.
    behind = len(graph.tensors[op.inputs[0]].shape) - op.attrs["axis"] - 1
    begin = op.attrs["begin"]
    return lambda x: x[(..., slice(begin, begin + op.attrs["size"]), *[slice(None)] * behind)]


def _slice_view(graph: Graph, op: Op) -> int | None:
    """In place, unless it leaves gaps."""
    shape, axis = graph.tensors[op.inputs[0]].shape, op.attrs["axis"]
    return op.attrs["begin"] * math.prod(shape[axis + 1 :]) if math.prod(shape[:axis]) == 1 else None


def _slice_write(writer: Writer, op: Op, inputs: list[int], outputs: list[int]) -> None:
    size = writer.written_shape(op.outputs[0])
    begin = [0] * len(size)
    begin[_written_axis(writer, op)] = op.attrs["begin"]
    writer.append("slice", [*inputs, writer.constant(*begin), writer.constant(*size)], outputs)


def _slice_read(reader: Reader, builtin: str, op: Any) -> Op:
    begin, size = (reader.operand(index) for index in op.inputs[1:3])
    axis = _cut_axis(reader.shape(op.inputs[0]), size)
    written = axis + _is_image(reader, op.outputs[0])
    attrs = {"axis": axis, "begin": int(begin[written]), "size": int(size[written])}
    return Op("slice", (reader.name(op.inputs[0]),), (reader.name(op.outputs[0]),), attrs)


def _cut_axis(shape: tuple[int, ...], size: Array) -> int:
    """The axis in which ``size`` is less than ``shape``; the last where a slice keeps everything."""
    before, after = (
        values[:1] + values[2:] if len(values) == _IMAGE_RANK else values for values in (shape, tuple(size))
    )
    return next((axis for axis in range(len(before)) if before[axis] != after[axis]), len(before) - 1)


def _slice_fit(attrs: Mapping[str, Any], inputs: Sequence[Shape], outputs: Sequence[Shape]) -> bool:
    x, axis, begin, size = inputs[0], attrs["axis"], attrs["begin"], attrs["size"]
    if not 1 <= axis < len(x) or begin < 0 or begin + size > x[axis]:
        return False
    return outputs == [(*x[:axis], size, *x[axis + 1 :])]


SLICE = Operator(
    kind="slice",
    signature=Signature(1, 1, frozenset({"axis", "begin", "size"}), _slice_fit),
    compute=_slice,
    traced=_slice_traced,
    integer=_slice,
    call=_copies,
    builtins={"slice": Builtin("SLICE", 2, "SliceOptions", 4)},
    write=_slice_write,
    read=_slice_read,
    view=_slice_view,
    keeps=True,
    moves=True,
)


# --- concat ---------------------------------------------------------------------------------------------------------


def _concat(graph: Graph, op: Op) -> Function:
    """A constant among the inputs, of batch 1, is repeated for the whole batch."""
    axis = op.attrs["axis"]
    computed = next(i for i, name in enumerate(op.inputs) if graph.tensors[name].data is None)

    def join(*parts: Array) -> Array:
        count = parts[computed].shape[0]
        return np.concatenate(
            [part if part.shape[0] == count else np.repeat(part, count, 0) for part in parts], axis=axis
        )

    return join


def _concat_traced(tf: Any, graph: Graph, op: Op) -> Any:
    axis = op.attrs["axis"] - len(graph.tensors[op.inputs[0]].shape)

    def join(*parts: Any) -> Any:
        batch = max((tuple(part.shape[:axis]) for part in parts), key=math.prod)
        return tf.concat([tf.broadcast_to(part, (*batch, *part.shape[axis:])) for part in parts], axis)

    return join


def _concat_write(writer: Writer, op: Op, inputs: list[int], outputs: list[int]) -> None:
    writer.append("concat", inputs, outputs, axis=_written_axis(writer, op), fusedActivationFunction=0)


def _concat_read(reader: Reader, builtin: str, op: Any) -> Op:
    attrs = {"axis": int(op.builtinOptions.axis) - _is_image(reader, op.outputs[0])}
    return Op("concat", tuple(reader.name(index) for index in op.inputs), (reader.name(op.outputs[0]),), attrs)


def _concat_fit(attrs: Mapping[str, Any], inputs: Sequence[Shape], outputs: Sequence[Shape]) -> bool:
    axis, first = attrs["axis"], inputs[0]
    if not 1 <= axis < len(first) or any(len(shape) != len(first) for shape in inputs):
        return False
    if any((*shape[:axis], *shape[axis + 1 :]) != (*first[:axis], *first[axis + 1 :]) for shape in inputs):
        return False
    return outputs == [(*first[:axis], sum(shape[axis] for shape in inputs), *first[axis + 1 :])]


CONCAT = Operator(
    kind="concat",
    signature=Signature(2, MOST_JOINED, frozenset({"axis"}), _concat_fit),
    compute=_concat,
    traced=_concat_traced,
    integer=_concat,
    call=_copies,
    builtins={"concat": Builtin("CONCATENATION", 2, "ConcatenationOptions", 3)},
    write=_concat_write,
    read=_concat_read,
    keeps=True,
    moves=True,
)


# --- split ----------------------------------------------------------------------------------------------------------


def _split(graph: Graph, op: Op) -> Function:
    if len(op.outputs) == 1:
        return lambda x: x
    width = graph.tensors[op.outputs[0]].shape[-1]
    return lambda x: tuple(x[..., i * width : (i + 1) * width] for i in range(len(op.outputs)))


def _split_traced(tf: Any, graph: Graph, op: Op) -> Any:
    return lambda x: tuple(tf.split(x, op.attrs["parts"], axis=-1))


def _split_write(writer: Writer, op: Op, inputs: list[int], outputs: list[int]) -> None:
    axis = len(writer.written_shape(op.outputs[0])) - 1
    writer.append("split", [writer.constant(axis, scalar=True), *inputs], outputs, numSplits=op.attrs["parts"])


def _split_read(reader: Reader, builtin: str, op: Any) -> Op:
    outputs = tuple(reader.name(index) for index in op.outputs)
    return Op("split", (reader.name(op.inputs[1]),), outputs, {"parts": int(op.builtinOptions.numSplits)})


def _split_fit(attrs: Mapping[str, Any], inputs: Sequence[Shape], outputs: Sequence[Shape]) -> bool:
    parts, x = attrs["parts"], inputs[0]
    if parts < 1 or x[-1] % parts != 0 or x not in ((1, x[-1]), (1, 1, x[-1])):
        return False
    return list(outputs) == [(*x[:-1], x[-1] // parts)] * parts


SPLIT = Operator(
    kind="split",
    signature=Signature(1, 1, frozenset({"parts"}), _split_fit),
    compute=_split,
    traced=_split_traced,
    integer=_split,
    call=_no_call,
    builtins={"split": Builtin("SPLIT", 2, "SplitOptions", 4)},
    write=_split_write,
    read=_split_read,
    view=lambda graph, op: 0,
    keeps=True,
    moves=True,
)


# --- reshape --------------------------------------------------------------------------------------------------------


def _reshape(graph: Graph, op: Op) -> Function:
    shape = graph.tensors[op.outputs[0]].shape[1:]
    return lambda x: x.reshape(x.shape[0], *shape)


def _reshape_traced(tf: Any, graph: Graph, op: Op) -> Any:
    before, after = graph.tensors[op.inputs[0]].shape, graph.tensors[op.outputs[0]].shape
    return lambda x: tf.reshape(x, (*x.shape[: x.shape.rank - len(before) + 1], *after[1:]))


def _reshape_write(writer: Writer, op: Op, inputs: list[int], outputs: list[int]) -> None:
    writer.append("reshape", inputs, outputs, newShape=list(writer.written_shape(op.outputs[0])))


def _reshape_fit(attrs: Mapping[str, Any], inputs: Sequence[Shape], outputs: Sequence[Shape]) -> bool:
    return len(outputs) == 1 and math.prod(inputs[0]) == math.prod(outputs[0])


RESHAPE = Operator(
    kind="reshape",
    signature=Signature(fit=_reshape_fit),
    compute=_reshape,
    traced=_reshape_traced,
    integer=_reshape,
    call=_no_call,
    builtins={"reshape": Builtin("RESHAPE", 1, "ReshapeOptions", 1)},
    write=_reshape_write,
    read=read_plain,
    view=lambda graph, op: 0,
    keeps=True,
    moves=True,
)
