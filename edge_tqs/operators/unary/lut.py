"""lut: int8 codes through a table (256,) int8, table[code + 128]; what a function becomes in an integer graph.

TensorFlow Lite has no operator that looks up int8 codes: it is CAST to int32, ADD 128 and GATHER from the table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edge_tqs.errors import ModelError
from edge_tqs.graph.graph import Graph, Op
from edge_tqs.graph.signature import Shape, Signature
from edge_tqs.operators.arithmetic import int8 as integer
from edge_tqs.operators.operator import Builtin, Call, Function, Operator, Reader, Table, Writer


def _integer(graph: Graph, op: Op) -> Function:
    return lambda x, table: integer.look_up(table, x)


def _float(*given: Any) -> Any:
    raise ModelError("a lut works on int8 codes: in a float graph it is a function")


def _call(graph: Graph, op: Op) -> Call:
    out, values = graph.tensors[op.outputs[0]], graph.tensors[op.inputs[1]].data
    if graph.type_of(op) != "int8" or values is None or values.shape != (256,):
        raise ModelError(f"{graph.name}: {op.outputs[0]}: a lut needs int8 codes and a constant table of 256")
    table = Table("int8_t", values, "a function of the codes -128 to 127")
    return Call("tqs_lut_s8", "tqs_lut_t", {"table": table, "size": out.size}, operands=1)


def _write(writer: Writer, op: Op, inputs: list[int], outputs: list[int]) -> None:
    x, table = inputs
    name, shape = op.inputs[0], writer.written_shape(op.outputs[0])
    first = not writer.known(f"{name}/index")
    wide, index = (writer.helper(f"{name}/{part}", shape, name, "int32") for part in ("wide", "index"))
    if first:
        types = writer.types
        writer.append("cast", [x], [wide], inDataType=types["int8"], outDataType=types["int32"])
        writer.append("add", [wide, writer.constant(128)], [index])
    writer.append("gather", [table, index], outputs, axis=0, batchDims=0)


def _read(reader: Reader, builtin: str, op: Any) -> Op | None:
    if builtin == "cast":
        return None
    table, index = op.inputs
    added = reader.made_by(index)
    cast = None if added is None else reader.made_by(added.inputs[0])
    if cast is None:
        raise ModelError("a GATHER that does not look up int8 codes is not one that edge-tqs writes")
    return Op("lut", (reader.name(cast.inputs[0]), reader.name(table)), (reader.name(op.outputs[0]),))


def _fit(attrs: Mapping[str, Any], inputs: Sequence[Shape], outputs: Sequence[Shape]) -> bool:
    return inputs[1] == (256,) and outputs == [inputs[0]]


OPERATOR = Operator(
    kind="lut",
    signature=Signature(2, 2, fit=_fit),
    compute=_float,
    traced=_float,
    integer=_integer,
    call=_call,
    builtins={"cast": Builtin("CAST", 1, "CastOptions", 1), "gather": Builtin("GATHER", 2, "GatherOptions", 2)},
    write=_write,
    read=_read,
    in_place=True,
    by_sample=True,
    refused={"int16": dict.fromkeys(("litert", "tflite-runtime", "tflm", "c"), "int16 codes have a curve")},
)
