"""transpose: x (1, A, B) to (1, B, A), codes as they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edge_tqs.graph.graph import Array, Graph, Op
from edge_tqs.graph.signature import Shape, Signature
from edge_tqs.operators.operator import Builtin, Call, Function, Operator, Reader, Writer


def _swap(x: Array) -> Array:
    swapped: Array = x.swapaxes(1, 2)
    return swapped


def _function(graph: Graph, op: Op) -> Function:
    return _swap


def _traced(tf: Any, graph: Graph, op: Op) -> Any:
    return tf.linalg.matrix_transpose


def _call(graph: Graph, op: Op) -> Call:
    _, rows, columns = graph.tensors[op.inputs[0]].shape
    name = "tqs_transpose_s16" if graph.type_of(op) == "int16" else "tqs_transpose_s8"
    return Call(name, "tqs_transpose_t", {"rows": rows, "columns": columns})


def _write(writer: Writer, op: Op, inputs: list[int], outputs: list[int]) -> None:
    writer.append("transpose", [*inputs, writer.constant(0, 1, 3, 2)], outputs)  # of images: the height stays in front


def _read(reader: Reader, builtin: str, op: Any) -> Op:
    return Op("transpose", (reader.name(op.inputs[0]),), (reader.name(op.outputs[0]),))


def _fit(attrs: Mapping[str, Any], inputs: Sequence[Shape], outputs: Sequence[Shape]) -> bool:
    x = inputs[0]
    return len(x) == 3 and outputs == [(x[0], x[2], x[1])]


OPERATOR = Operator(
    kind="transpose",
    signature=Signature(fit=_fit),
    compute=_function,
    traced=_traced,
    integer=_function,
    call=_call,
    builtins={"transpose": Builtin("TRANSPOSE", 2, "TransposeOptions", 4)},
    write=_write,
    read=_read,
    keeps=True,
    moves=True,
)
