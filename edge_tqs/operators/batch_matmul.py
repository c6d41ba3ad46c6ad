"""batch_matmul: a (1, M, K) times b (1, K, N), or (1, N, K) transposed; both are computed.

As tflite-micro's reference_ops::BatchMatMul: (a - a_zero)(b - b_zero) summed in 32 bits, then one rescaling; of int16
codes in 64 bits, whose rescaling cuts the multiplier to 15 bits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from edge_tqs.errors import ModelError
from edge_tqs.graph.graph import Array, Graph, Op
from edge_tqs.graph.signature import Shape, Signature
from edge_tqs.operators import codes
from edge_tqs.operators.arithmetic import int8 as integer
from edge_tqs.operators.arithmetic import int16 as integer16
from edge_tqs.operators.operator import Builtin, Call, Function, Operator, Reader, Writer


@dataclass(frozen=True)
class Params:
    """y = clip(rescale(sum_k (a - a_zero_point) * (b - b_zero_point)) + y_zero_point).

    Of int16 codes all zero points are 0, and (multiplier, shift) those of integer16.FullyConnectedParams: these also
    where int8 codes are read and int16 ones written, which only C does (graph.conversions).
    """

    multiplier: int
    shift: int
    a_zero_point: int
    b_zero_point: int
    y_zero_point: int


def params(graph: Graph, op: Op) -> Params:
    """Raises ModelError where the accumulator could overflow. micro/kernels/batch_matmul_common.cc."""
    quants = [graph.tensors[name].quant for name in (*op.inputs, op.outputs[0])]
    a, b, out = quants
    if a is None or b is None or out is None:
        raise ModelError(f"{graph.name}: an operand of the product {op.outputs[0]} is not quantised")
    real = float(a.scale[0]) * float(b.scale[0]) / float(out.scale[0])
    multiplier, shift = integer.quantize_multiplier(real)
    inner, out_type = graph.tensors[op.inputs[0]].shape[2], graph.tensors[op.outputs[0]].dtype
    if graph.type_of(op) == "int16":
        fits, bits = inner << 30 < integer16.ACCUMULATOR_LIMIT and shift <= integer16.MOST_SHIFT, 48
    elif out_type == "int16":
        fits, bits = inner * 255 * 255 < 1 << 31 and shift <= integer16.MOST_SHIFT, 32
    else:
        fits, bits = (inner * 255 * 255) << max(shift, 0) < 1 << 31, 32
    if not fits:
        raise ModelError(
            f"{graph.name}: {op.outputs[0]}: the {bits}-bit accumulator can overflow ({inner} products, left shift "
            f"{shift})",
            hint="The output range of this operator is far too small for its inputs: calibrate on real data (--data).",
        )
    if graph.tensors[op.outputs[0]].dtype == "int16":
        return Params(integer16.reduced(multiplier), 15 - shift, a.zero_point, b.zero_point, 0)
    return Params(multiplier, shift, a.zero_point, b.zero_point, out.zero_point)


def _compute(graph: Graph, op: Op) -> Function:
    if op.attrs["transposed"]:
        return lambda a, b: a @ b.swapaxes(-1, -2)
    return lambda a, b: a @ b


def _traced(tf: Any, graph: Graph, op: Op) -> Any:
    return lambda a, b: tf.matmul(a, b, transpose_b=op.attrs["transposed"])


def _integer(graph: Graph, op: Op) -> Function:
    p, product = params(graph, op), _compute(graph, op)
    if graph.type_of(op) == "int16":
        whole = integer16.FullyConnectedParams(
            np.array([p.multiplier]), np.array([p.shift]), integer16.LOW, integer16.HIGH
        )
        return lambda a, b: integer16.rescale_accumulators(
            whole, product(a.astype(np.float64), b.astype(np.float64)).astype(np.int64)
        )

    def multiply(a: Array, b: Array) -> Array:
        # Exact: every partial sum is below 2^53.
        total = product(a.astype(np.float64) - p.a_zero_point, b.astype(np.float64) - p.b_zero_point)
        y = integer.multiply_by_quantized_multiplier(total.astype(np.int64), p.multiplier, p.shift)
        return codes.clipped(y + p.y_zero_point, "int8")

    return multiply


def _call(graph: Graph, op: Op) -> Call:
    p = params(graph, op)
    _, rows, inner = graph.tensors[op.inputs[0]].shape
    columns = graph.tensors[op.outputs[0]].shape[2]
    types = graph.type_of(op), graph.tensors[op.outputs[0]].dtype
    return Call(
        "tqs_matmul_s16" if types[0] == "int16" else "tqs_matmul_s8_s16" if types[1] == "int16" else "tqs_matmul_s8",
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


def _fast(graph: Graph, op: Op, call: Call, kernel: str) -> Call | None:
    p, inner, columns = params(graph, op), graph.tensors[op.inputs[0]].shape[2], graph.tensors[op.outputs[0]].shape[2]
    if graph.type_of(op) == "int16":
        # Shifts and products with sums as tqs_matmul_s16.h wants them; Helium steps over eight rows in 16 bits.
        fewest, packed = {"dsp": (2, 2), "mve": (8, 2), "neon": (8, 4)}[kernel.rpartition("_")[2]]
        left = max(0, 33 - p.shift)
        if left > 16 or (inner << 30) * (p.multiplier << left) >= 1 << 62 or columns < 2 or 8 * columns > 0xFFFF:
            return None
        fields = {**call.fields, "multiplier": p.multiplier << left, "shift": p.shift + left}
        return replace(call, kernel=kernel, fields=fields, scratch=2 * packed * fewest * -(-inner // fewest))
    dsp = kernel.endswith("_dsp")
    (shifts, fewest), most = (range(-22, 0), 4) if dsp else (codes.SHIFTS, 1), 1 << 30
    if graph.tensors[op.outputs[0]].dtype == "int16":
        shifts, most = range(15, 47), 1 << 29
    # tqs_pack_column of Helium steps over eight rows in 16 bits.
    if p.shift not in shifts or inner < fewest or inner * 255 * 255 >= most or 8 * columns > 0xFFFF:
        return None
    scratch = 32 * -(-inner // 4) if dsp else 16 + 64 * -(-inner // 16)
    if kernel == "tqs_matmul_s8_s16_dsp":
        scratch //= 2
        if columns < 2:
            return None
    return replace(call, kernel=kernel, scratch=scratch)


def _write(writer: Writer, op: Op, inputs: list[int], outputs: list[int]) -> None:
    writer.append("batch_matmul", inputs, outputs, adjX=False, adjY=op.attrs["transposed"])


def _read(reader: Reader, builtin: str, op: Any) -> Op:
    attrs = {"transposed": bool(op.builtinOptions.adjY)}
    names = tuple(reader.name(index) for index in op.inputs)
    return Op("batch_matmul", names, (reader.name(op.outputs[0]),), attrs)


def _fit(attrs: Mapping[str, Any], inputs: Sequence[Shape], outputs: Sequence[Shape]) -> bool:
    a, b = inputs
    if len(a) != 3 or len(b) != 3 or a[0] != 1 or b[0] != 1:
        return False
    inner, columns = (b[2], b[1]) if attrs["transposed"] else (b[1], b[2])
    return a[2] == inner and outputs == [(1, a[1], columns)]


OPERATOR = Operator(
    kind="batch_matmul",
    signature=Signature(2, 2, frozenset({"transposed"}), _fit),
    compute=_compute,
    traced=_traced,
    integer=_integer,
    call=_call,
    fast=_fast,
    builtins={"batch_matmul": Builtin("BATCH_MATMUL", 2, "BatchMatMulOptions", 3)},
    write=_write,
    read=_read,
    by_sample=True,
)
