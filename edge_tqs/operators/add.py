"""add and sub: sums and differences of one shape, or with one (1, 1, C) repeated over the time of the other.

tflite-micro, micro/kernels/add_common.cc and sub_common.cc, integer_ops/add.h AddFunc and sub.h SubFunc. The C takes
one multiplication an operand where that gives the same for all pairs of int8 codes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from edge_tqs.errors import ModelError
from edge_tqs.graph.graph import Array, Graph, Op
from edge_tqs.graph.signature import Signature
from edge_tqs.operators import codes
from edge_tqs.operators.arithmetic import int8 as integer
from edge_tqs.operators.arithmetic.int8 import multiply_by_quantized_multiplier, quantize_multiplier
from edge_tqs.operators.operator import Builtin, Call, Function, Operator, Writer, read_plain

#: bits that codes are shifted up by before they are rescaled
LEFT_SHIFT = {"int8": 20, "int16": 15}
SUM_SHIFT = 22
SUM_LIMIT = (1 << 31) - (1 << SUM_SHIFT)  # a kernel may round half of a result up, or take as much off


@dataclass(frozen=True)
class Params:
    """Addition or subtraction, with (multiplier, shift) of each operand and of the output.

    y = clip(rescale_out(rescale_1((a - zero_point_1) << LEFT_SHIFT) +- rescale_2((b - zero_point_2) << LEFT_SHIFT))
    + output_zero_point).
    """

    subtract: bool
    multiplier_1: int
    shift_1: int
    zero_point_1: int
    multiplier_2: int
    shift_2: int
    zero_point_2: int
    output_multiplier: int
    output_shift: int
    output_zero_point: int


def params(graph: Graph, op: Op) -> Params:
    """Raises ModelError for an output scale that the kernel does not take."""
    a, b, out = codes.quants(graph, op)
    scale_1, scale_2, scale_out = float(a.scale[0]), float(b.scale[0]), float(out.scale[0])
    twice_max = 2 * max(scale_1, scale_2)
    left = 1 << LEFT_SHIFT[graph.type_of(op)]
    ratios = (scale_1 / twice_max, scale_2 / twice_max, twice_max / (left * scale_out))
    pairs = [quantize_multiplier(ratio) for ratio in ratios]
    if pairs[2][1] > 0:  # the kernel knows no left shift here and aborts
        raise ModelError(f"{graph.name}: {op.kind} to {op.outputs[0]}: the output scale is too small for its inputs")
    return Params(op.kind == "sub", *pairs[0], a.zero_point, *pairs[1], b.zero_point, *pairs[2], out.zero_point)


def add(p: Params, a: Array, b: Array) -> Array:
    """a + b, or a - b where p.subtract, of int8 or int16 codes; shapes that broadcast."""
    left = LEFT_SHIFT[a.dtype.name]
    first = multiply_by_quantized_multiplier((a.astype(np.int64) - p.zero_point_1) << left, p.multiplier_1, p.shift_1)
    second = multiply_by_quantized_multiplier((b.astype(np.int64) - p.zero_point_2) << left, p.multiplier_2, p.shift_2)
    total = first - second if p.subtract else first + second
    y = multiply_by_quantized_multiplier(total, p.output_multiplier, p.output_shift)
    return codes.clipped(y + p.output_zero_point, a.dtype.name)


@dataclass(frozen=True)
class SumFactors:
    """y = clip((a * a_factor + b * b_factor + offset) >> SUM_SHIFT)."""

    a_factor: int
    b_factor: int
    offset: int


@lru_cache(maxsize=256)
def sum_factors(p: Params) -> SumFactors | None:
    """Factors with which one multiplication an operand gives ``add`` for all 65536 pairs of codes; None if none do.

    For given factors the offsets that are right for a pair are an interval, so those that are right for all pairs are
    one too. Factors near the real ratios of the scales are tried, nearest first.
    """
    codes = np.arange(integer.LOW, integer.HIGH + 1)
    a, b = (side.reshape(-1) for side in np.meshgrid(codes, codes, indexing="ij"))
    wanted = add(p, a.astype(np.int8), b.astype(np.int8)).astype(np.int64)
    output = p.output_multiplier * 2.0 ** (p.output_shift - 31)
    ratios = [
        multiplier * 2.0 ** (shift - 31) * (1 << LEFT_SHIFT["int8"]) * output
        for multiplier, shift in ((p.multiplier_1, p.shift_1), (p.multiplier_2, p.shift_2))
    ]
    centre_a, centre_b = (round(ratio * (1 << SUM_SHIFT)) for ratio in ratios)
    sign = -1 if p.subtract else 1
    near = sorted(((i, j) for i in range(-3, 4) for j in range(-3, 4)), key=lambda ij: (abs(ij[0]) + abs(ij[1]), ij))
    below = np.where(wanted == integer.LOW, -(1 << 62), wanted << SUM_SHIFT)
    above = np.where(wanted == integer.HIGH, 1 << 62, (wanted + 1 << SUM_SHIFT) - 1)
    for i, j in near:
        a_factor, b_factor = centre_a + i, sign * (centre_b + j)
        products = a * a_factor + b * b_factor
        least, most = int((below - products).max()), int((above - products).min())
        if least > most:
            continue
        offset = (least + most) // 2
        partial = np.abs(b * b_factor + offset).max()
        if max(int(np.abs(products + offset).max()), int(partial), abs(offset)) < SUM_LIMIT:
            return SumFactors(a_factor, b_factor, offset)
    return None


def _compute(graph: Graph, op: Op) -> Function:
    return np.subtract if op.kind == "sub" else np.add


def _traced(tf: Any, graph: Graph, op: Op) -> Any:
    return tf.subtract if op.kind == "sub" else tf.add


def _integer(graph: Graph, op: Op) -> Function:
    p = params(graph, op)
    return codes.by_pair(graph, op, lambda a, b: add(p, a, b))


def _call(graph: Graph, op: Op) -> Call:
    factors = None if graph.type_of(op) == "int16" else sum_factors(params(graph, op))
    if factors is None:
        return in_two_steps(graph, op)
    turns, size = codes.turns(graph, op)
    fields = {"a_factor": factors.a_factor, "b_factor": factors.b_factor, "offset": factors.offset, "size": size}
    return Call("tqs_sum_s8", "tqs_sum_t", fields, turns=turns)


def in_two_steps(graph: Graph, op: Op) -> Call:
    """The C that takes any parameters."""
    p, (turns, size) = params(graph, op), codes.turns(graph, op)
    fields = {
        "a_multiplier": p.multiplier_1,
        "b_multiplier": p.multiplier_2,
        "y_multiplier": p.output_multiplier,
        "a_shift": p.shift_1,
        "b_shift": p.shift_2,
        "y_shift": p.output_shift,
        **codes.zero_points(
            graph, op, a_zero_point=p.zero_point_1, b_zero_point=p.zero_point_2, y_zero_point=p.output_zero_point
        ),
        "subtract": int(p.subtract),
        "size": size,
    }
    if graph.type_of(op) == "int16":
        return Call("tqs_add_s16", "tqs_add_s16_t", fields, turns=turns)
    return Call("tqs_add_s8", "tqs_add_t", fields, turns=turns)


def _fast(graph: Graph, op: Op, call: Call, kernel: str) -> Call | None:
    p = params(graph, op)
    takes = call.kernel == "tqs_sum_s8" or max(p.shift_1, p.shift_2, p.output_shift) <= 0
    if kernel == "tqs_add_s16_dsp":
        a_is_larger = (p.multiplier_1, p.shift_1) == (1 << 30, 0)
        takes &= -31 < p.output_shift < 0 and (a_is_larger or not p.subtract)
    return replace(call, kernel=kernel) if takes else None


def _write(writer: Writer, op: Op, inputs: list[int], outputs: list[int]) -> None:
    writer.append(op.kind, inputs, outputs, potScaleInt16=False)  # scales of int16 are no powers of two here


def _operator(kind: str, builtin: Builtin) -> Operator:
    return Operator(
        kind=kind,
        signature=Signature(2, 2, fit=codes.fit_pair),
        compute=_compute,
        traced=_traced,
        integer=_integer,
        call=_call,
        fast=_fast,
        builtins={kind: builtin},
        write=_write,
        read=read_plain,
        in_place=True,
        any_rank=True,
        by_sample=True,
    )


ADD = _operator("add", Builtin("ADD", 2, "AddOptions", 3))
SUB = _operator("sub", Builtin("SUB", 2, "SubOptions", 5))
