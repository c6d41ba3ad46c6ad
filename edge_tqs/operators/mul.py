"""mul: products of one shape, or with one (1, 1, C) repeated over the time of the other.

tflite-micro, micro/kernels/mul_common.cc and kernels/internal/reference/integer_ops/mul.h MulElementwise.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from edge_tqs.graph.graph import Array, Graph, Op
from edge_tqs.graph.signature import Signature
from edge_tqs.operators import codes
from edge_tqs.operators.arithmetic.int8 import multiply_by_quantized_multiplier, quantize_multiplier
from edge_tqs.operators.operator import Builtin, Call, Function, Operator, Table, read_plain, write_plain


@dataclass(frozen=True)
class Params:
    """y = clip(rescale((a - zero_point_1) * (b - zero_point_2)) + output_zero_point)."""

    multiplier: int
    shift: int
    zero_point_1: int
    zero_point_2: int
    output_zero_point: int


def params(graph: Graph, op: Op) -> Params:
    """Raises ModelError where a product could leave 32 bits."""
    a, b, out = codes.quants(graph, op)
    pair = quantize_multiplier(float(a.scale[0]) * float(b.scale[0]) / float(out.scale[0]))
    codes.check_headroom(graph, op, codes.span(graph, op) ** 2, pair[1])
    return Params(*pair, a.zero_point, b.zero_point, out.zero_point)


def mul(p: Params, a: Array, b: Array) -> Array:
    """Element-wise product of int8 or int16 codes, shapes that broadcast."""
    product = (a.astype(np.int64) - p.zero_point_1) * (b.astype(np.int64) - p.zero_point_2)
    y = multiply_by_quantized_multiplier(product, p.multiplier, p.shift)
    return codes.clipped(y + p.output_zero_point, a.dtype.name)


def _compute(graph: Graph, op: Op) -> Function:
    return np.multiply


def _traced(tf: Any, graph: Graph, op: Op) -> Any:
    return tf.multiply


def _integer(graph: Graph, op: Op) -> Function:
    p = params(graph, op)
    return codes.by_pair(graph, op, lambda a, b: mul(p, a, b))


def _call(graph: Graph, op: Op) -> Call:
    p, (turns, size) = params(graph, op), codes.turns(graph, op)
    fields = {
        "multiplier": p.multiplier,
        "shift": p.shift,
        **codes.zero_points(
            graph, op, a_zero_point=p.zero_point_1, b_zero_point=p.zero_point_2, y_zero_point=p.output_zero_point
        ),
        "size": size,
    }
    if graph.type_of(op) == "int16":
        return Call("tqs_mul_s16", "tqs_scale_s16_t", fields, turns=turns)
    return Call("tqs_mul_s8", "tqs_mul_t", fields, turns=turns)


def _fast(graph: Graph, op: Op, call: Call, kernel: str) -> Call | None:
    p = params(graph, op)
    if p.shift not in codes.SHIFTS or (kernel == "tqs_mul_s16_dsp" and p.shift == -31):
        return None
    if kernel == "tqs_mul_s8_arm":
        return codes.to_the_right(call, kernel)
    if kernel != "tqs_mul_s8_dsp":
        return replace(call, kernel=kernel)
    shift = min(-p.shift, 22)
    fields: dict[str, int | str | Table] = {
        "multiplier": p.multiplier,
        "offset": (2 * p.output_zero_point + 1) << shift - 1,
        "a_zeros": f"0x{(-p.zero_point_1 & 0xFFFF) * 0x10001:08x}u",
        "b_zeros": f"0x{(-p.zero_point_2 & 0xFFFF) * 0x10001:08x}u",
        "size": call.fields["size"],
        "shift": shift,
    }
    return replace(call, kernel=kernel, layer_type="tqs_product_t", fields=fields)


OPERATOR = Operator(
    kind="mul",
    signature=Signature(2, 2, fit=codes.fit_pair),
    compute=_compute,
    traced=_traced,
    integer=_integer,
    call=_call,
    builtins={"mul": Builtin("MUL", 2, "MulOptions", 4)},
    write=write_plain,
    read=read_plain,
    fast=_fast,
    in_place=True,
    any_rank=True,
    by_sample=True,
)
