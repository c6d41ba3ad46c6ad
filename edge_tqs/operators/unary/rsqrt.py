"""rsqrt: 1 / sqrt(x) of positive values, for int8 a function of one code; of int16 codes it becomes a curve.

tflite-micro, elementwise.cc RsqrtEvalQuantized and kernels/internal/reference's GetInvSqrtQuantizedMultiplierExp: five
steps of Newton and Raphson in fixed point. A code that stands for 0 gives the largest one.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np

from edge_tqs.errors import ModelError
from edge_tqs.graph.graph import Array, Graph, Op
from edge_tqs.graph.signature import Signature
from edge_tqs.operators.arithmetic import fixed_point
from edge_tqs.operators.arithmetic import int8 as integer
from edge_tqs.operators.operator import Builtin, Call, Function, Operator, Table, read_plain, write_plain

_SHIFT = 20
_NO_INT16 = "tflite-micro has no RSQRT of int16 codes: they have a curve"


def _compute(graph: Graph, op: Op) -> Function:
    return lambda x: np.float32(1) / np.sqrt(x)


def _traced(tf: Any, graph: Graph, op: Op) -> Any:
    return tf.math.rsqrt


@cache
def _inverse_root(value: int) -> tuple[int, int]:
    """1 / sqrt(value) as (multiplier, shift), of an integer above 0."""
    if value <= 1:
        return (1 << 31) - 1, 0
    shift = 11
    while value >= 1 << 29:
        value, shift = value // 4, shift + 1
    pairs = (31 - value.bit_length()) // 2 - 1  # leading zeros but the sign's, in pairs
    shift -= pairs
    raw = np.asarray((value << 2 * pairs) >> 1, np.int64)
    half, x = fixed_point.divide_by_power(raw, 1), np.asarray(1 << 28, np.int64)
    for _ in range(5):
        cube = _saturate(fixed_point.multiply_high(fixed_point.multiply_high(x, x), x) << 6)
        step = fixed_point.multiply_high(x, (1 << 28) + (1 << 27)) - fixed_point.multiply_high(half, cube)
        x = _saturate(step << 3)
    root = int(fixed_point.multiply_high(x, 1518500250))  # sqrt(2) / 2
    if shift < 0:
        root, shift = root << -shift, 0
    return root, -shift


def _saturate(x: Any) -> Any:
    return np.clip(x, -(1 << 31), (1 << 31) - 1)


def _table(graph: Graph, op: Op) -> Array:
    """(256,) outputs, index = input code + 128. A negative input, which the runtime refuses, gives the largest code."""
    source, out = (graph.tensors[name].quant for name in (op.inputs[0], op.outputs[0]))
    if source is None or out is None or graph.type_of(op) != "int8":
        raise ModelError(f"{graph.name}: rsqrt to {op.outputs[0]}: it takes int8 codes")
    if source.zero_point != integer.LOW:
        raise ModelError(
            f"{graph.name}: rsqrt to {op.outputs[0]} reads values that may be negative",
            hint="This is a defect of edge-tqs: what is under a root must be calibrated as positive.",
        )
    multiplier, shift = integer.quantize_multiplier(1.0 / (math.sqrt(float(source.scale[0])) * float(out.scale[0])))
    codes = [integer.HIGH]
    for value in range(1, 256):
        root, root_shift = _inverse_root(value)
        wide = integer.multiply_by_quantized_multiplier(np.asarray(1, np.int64), root, root_shift + _SHIFT)
        if int(wide) << max(shift - _SHIFT, 0) >= 1 << 31:
            raise ModelError(f"{graph.name}: rsqrt to {op.outputs[0]}: its output range is far too small")
        y = int(integer.multiply_by_quantized_multiplier(wide, multiplier, shift - _SHIFT)) + out.zero_point
        codes.append(min(max(y, integer.LOW), integer.HIGH))
    return np.array(codes, np.int8)


def _integer(graph: Graph, op: Op) -> Function:
    table = _table(graph, op)
    return lambda x: integer.look_up(table, x)


def _call(graph: Graph, op: Op) -> Call:
    table = Table("int8_t", _table(graph, op), "1 / sqrt of the codes -128 to 127")
    return Call("tqs_lut_s8", "tqs_lut_t", {"table": table, "size": graph.tensors[op.inputs[0]].size})


OPERATOR = Operator(
    kind="rsqrt",
    signature=Signature(),
    compute=_compute,
    traced=_traced,
    integer=_integer,
    call=_call,
    builtins={"rsqrt": Builtin("RSQRT", 2)},
    write=write_plain,
    read=read_plain,
    in_place=True,
    by_sample=True,
    as_function={"int16": {"name": "rsqrt", "parameters": ()}},
    refused={"int16": dict.fromkeys(("litert", "tflite-runtime", "tflm", "c"), _NO_INT16)},
)
