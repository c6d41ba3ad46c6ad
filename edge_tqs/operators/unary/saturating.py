"""logistic and tanh: of int8 codes a table of 256; of int16 ones the interpolated table of the sigmoid.

tflite-micro, micro/kernels/logistic_common.cc and tanh.cc, kernels/internal/reference/integer_ops/{logistic,tanh}.h.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from edge_tqs.errors import ModelError
from edge_tqs.graph.graph import Array, Graph, Op, Quant
from edge_tqs.graph.signature import Signature
from edge_tqs.operators import codes
from edge_tqs.operators.arithmetic import fixed_point
from edge_tqs.operators.arithmetic import int8 as integer
from edge_tqs.operators.arithmetic import int16 as integer16
from edge_tqs.operators.arithmetic.sigmoid_table import SIGMOID_TABLE
from edge_tqs.operators.operator import Builtin, Call, Function, Operator, read_plain, write_plain

#: by activation type, the only output quantisation that the kernels know
_OUTPUTS = {
    "logistic": {"int8": (1 / 256, -128), "int16": (1 / 32768, 0)},
    "tanh": {"int8": (1 / 128, 0), "int16": (1 / 32768, 0)},
}
#: |input| beyond which the output is the last code: ln(511), and 255 / 24, the table's end; of tanh, half of these
_ENDS = {"logistic": {"int8": 6.25, "int16": 10.67}, "tanh": {"int8": 3.125, "int16": 5.34}}
#: int16: fraction bits of a table step, once the input is in units of 1 / 12288
_FRACTION_BITS = {"logistic": 9, "tanh": 8}
#: int16: largest multiplier at which input * multiplier stays within int32
_MOST_MULTIPLIER = 65535


@dataclass(frozen=True)
class Params16:
    """d = (x * multiplier + round) >> shift, in steps of 1 / 12288, then the interpolated table."""

    multiplier: int
    shift: int


def _compute(graph: Graph, op: Op) -> Function:
    if op.kind == "tanh":
        return np.tanh
    half = np.float32(0.5)
    return lambda x: np.tanh(x * half) * half + half  # of any size of x: this neither overflows nor warns


def _traced(tf: Any, graph: Graph, op: Op) -> Any:
    return tf.tanh if op.kind == "tanh" else tf.sigmoid


def _source(graph: Graph, op: Op) -> Quant:
    """The quantisation of x. Raises ModelError unless y has the one that the kernels know."""
    source, out = codes.quants(graph, op)
    known = _OUTPUTS[op.kind][graph.type_of(op)]
    if (float(out.scale[0]), out.zero_point) != known:
        raise ModelError(f"{graph.name}: {op.outputs[0]}: {op.kind} must have scale, zero point {known}")
    return source


def params16(graph: Graph, op: Op) -> Params16:
    """Raises ModelError for an input scale whose product would leave int32 in the kernel."""
    scale = float(_source(graph, op).scale[0])
    exponent = math.log2(scale)
    left = 12 + round(exponent)  # 3 integer bits: at scale 2^-12 one code is 3 / 12288
    if abs(exponent - round(exponent)) < 1e-3 and left in ((0, 1) if op.kind == "tanh" else (0,)):
        return Params16(3 << left, 0)
    multiplier, shift = scale * 4096 * 3, 0
    while multiplier <= 32767 / 2 and shift <= 30:
        multiplier, shift = multiplier * 2, shift + 1
    if multiplier > _MOST_MULTIPLIER:
        raise ModelError(
            f"{graph.name}: {op.kind} to {op.outputs[0]}: its input reaches {scale * integer16.HIGH:.3g}, too far for "
            "int16",
            hint="Values this large say that the model diverges: use int8 activations, or look at the model.",
        )
    return Params16(int(multiplier), shift)


def _integer_8(graph: Graph, op: Op) -> Function:
    """To 4 integer bits, then gemmlowp."""
    source = _source(graph, op)
    multiplier, shift = integer.quantize_multiplier(float(source.scale[0]) * (1 << 27))
    radius = math.floor(15 * (1 << 27) / 2.0**shift)  # CalculateInputRadius: beyond it the input would not fit

    def saturate(codes_of_x: Array) -> Array:
        x = codes_of_x.astype(np.int64) - source.zero_point
        raw = integer.multiply_by_quantized_multiplier(np.clip(x, 1 - radius, radius - 1), multiplier, shift)
        if op.kind == "tanh":
            y = fixed_point.divide_by_power(fixed_point.tanh(raw), 24)
        else:
            y = fixed_point.divide_by_power(fixed_point.logistic(raw), 23) - 128
        return codes.clipped(np.where(x >= radius, integer.HIGH, np.where(x <= -radius, integer.LOW, y)), "int8")

    return codes.by_code(graph, op, saturate)


def _integer(graph: Graph, op: Op) -> Function:
    if graph.type_of(op) != "int16":
        return _integer_8(graph, op)
    p, bits = params16(graph, op), _FRACTION_BITS[op.kind]

    def saturate(x: Array) -> Array:
        d = (x.astype(np.int64) * p.multiplier + ((1 << p.shift) >> 1)) >> p.shift
        magnitude = np.abs(d)
        entry = magnitude >> bits
        low = np.minimum(entry, 254)
        between = (SIGMOID_TABLE[low] << bits) + (magnitude & ((1 << bits) - 1)) * (
            SIGMOID_TABLE[low + 1] - SIGMOID_TABLE[low]
        )
        if op.kind == "tanh":  # 2 sigmoid(2 x) - 1
            between = np.where(entry >= 255, 0xFFFF << 8, between)
            y = np.where(d >= 0, between - (1 << 23) + (1 << 7), -between + (1 << 23) + (1 << 7) - 1) >> 8
        else:
            between = np.where(entry >= 255, 0x7FFF << 10, between)
            y = np.where(d >= 0, between + (1 << 9), (1 << 25) - between + (1 << 9) - 1) >> 10
        return y.astype(np.int16)

    return saturate


def _call(graph: Graph, op: Op) -> Call:
    if graph.type_of(op) != "int16":
        return codes.lookup_call(graph, op, _integer(graph, op))
    p = params16(graph, op)
    fields = {"multiplier": p.multiplier, "shift": p.shift, "tanh": int(op.kind == "tanh")}
    size = graph.tensors[op.outputs[0]].size
    return Call("tqs_sigmoid_s16", "tqs_sigmoid_s16_t", {**fields, "size": size})


def _operator(kind: str) -> Operator:
    return Operator(
        kind=kind,
        signature=Signature(),
        compute=_compute,
        traced=_traced,
        integer=_integer,
        call=_call,
        builtins={kind: Builtin(kind.upper(), 2, None, 3)},
        write=write_plain,
        read=read_plain,
        in_place=True,
        any_rank=True,
        by_sample=True,
        fixed_output=_OUTPUTS[kind],
        saturation=_ENDS[kind],
    )


LOGISTIC = _operator("logistic")
TANH = _operator("tanh")
