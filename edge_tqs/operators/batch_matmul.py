"""batch_matmul: a (1, M, K) times b (1, K, N), or (1, N, K) transposed; both are computed.

int8 as tflite-micro's reference_ops::BatchMatMul: (a - a_zero)(b - b_zero) summed in 32 bits, then one rescaling.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from edge_tqs import integer
from edge_tqs.errors import ModelError
from edge_tqs.graph import Graph, Op
from edge_tqs.operators.operator import Array, Builtin, Call, Function, Operator, Reader, Writer

_NO_INT16 = "the generated C has no product of int16 codes"


@dataclass(frozen=True)
class Params:
    """y = clip(rescale(sum_k (a - a_zero_point) * (b - b_zero_point)) + y_zero_point)."""

    multiplier: int
    shift: int
    a_zero_point: int
    b_zero_point: int
    y_zero_point: int


def params(graph: Graph, op: Op) -> Params:
    """Raises ModelError where the int32 accumulator could overflow. micro/kernels/batch_matmul_common.cc."""
    quants = [graph.tensors[name].quant for name in (*op.inputs, op.outputs[0])]
    a, b, out = quants
    if a is None or b is None or out is None:
        raise ModelError(f"{graph.name}: an operand of the product {op.outputs[0]} is not quantised")
    real = float(a.scale[0]) * float(b.scale[0]) / float(out.scale[0])
    multiplier, shift = integer.quantize_multiplier(real)
    peak = graph.tensors[op.inputs[0]].shape[2] * 255 * 255
    if peak << max(shift, 0) >= 1 << 31:
        raise ModelError(
            f"{graph.name}: {op.outputs[0]}: the 32-bit accumulator can overflow (peak {peak}, left shift {shift})",
            hint="The output range of this operator is far too small for its inputs: calibrate on real data (--data).",
        )
    return Params(multiplier, shift, a.zero_point, b.zero_point, out.zero_point)


def _compute(graph: Graph, op: Op) -> Function:
    if op.attrs["transposed"]:
        return lambda a, b: a @ b.swapaxes(-1, -2)
    return lambda a, b: a @ b


def _traced(tf: Any, graph: Graph, op: Op) -> Any:
    return lambda a, b: tf.matmul(a, b, transpose_b=op.attrs["transposed"])


def _integer(graph: Graph, op: Op) -> Function:
    p, product = params(graph, op), _compute(graph, op)

    def multiply(a: Array, b: Array) -> Array:
        # Exact: every partial sum is below 2^53.
        total = product(a.astype(np.float64) - p.a_zero_point, b.astype(np.float64) - p.b_zero_point)
        y = integer.multiply_by_quantized_multiplier(total.astype(np.int64), p.multiplier, p.shift)
        codes: Array = np.clip(y + p.y_zero_point, integer.LOW, integer.HIGH).astype(np.int8)
        return codes

    return multiply


def _call(graph: Graph, op: Op) -> Call:
    if graph.activations != "int8":
        raise ModelError(f"{graph.name}: {op.outputs[0]}: {_NO_INT16}")
    p = params(graph, op)
    _, rows, inner = graph.tensors[op.inputs[0]].shape
    columns = graph.tensors[op.outputs[0]].shape[2]
    return Call(
        "tqs_matmul_s8",
        "tqs_matmul_t",
        {
            "multiplier": p.multiplier,
            "shift": p.shift,
            "a_zero_point": p.a_zero_point,
            "b_zero_point": p.b_zero_point,
            "y_zero_point": p.y_zero_point,
            "rows": rows,
            "inner": inner,
            "columns": columns,
            # from one value that is summed to the next, and from one column to the next
            "inner_step": 1 if op.attrs["transposed"] else columns,
            "column_step": inner if op.attrs["transposed"] else 1,
        },
    )


def _write(writer: Writer, op: Op, inputs: list[int], outputs: list[int]) -> None:
    writer.append("batch_matmul", inputs, outputs, adjX=False, adjY=op.attrs["transposed"])


def _read(reader: Reader, builtin: str, op: Any) -> Op:
    attrs = {"transposed": bool(op.builtinOptions.adjY)}
    names = tuple(reader.name(index) for index in op.inputs)
    return Op("batch_matmul", names, (reader.name(op.outputs[0]),), attrs)


OPERATOR = Operator(
    kind="batch_matmul",
    compute=_compute,
    traced=_traced,
    integer=_integer,
    call=_call,
    builtins={"batch_matmul": Builtin("BATCH_MATMUL", 2, "BatchMatMulOptions")},
    write=_write,
    read=_read,
    by_sample=True,
    refused={"int16": {"c": _NO_INT16}},
)
