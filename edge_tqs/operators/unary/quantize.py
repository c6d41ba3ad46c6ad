"""quantize: codes to codes of another scale; only in integer graphs.

tflite-micro, micro/kernels/quantize_common.cc: y = clip(rescale(x - x_zero_point) + y_zero_point).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from edge_tqs.errors import ModelError
from edge_tqs.graph.graph import Array, Graph, Op
from edge_tqs.graph.signature import Signature
from edge_tqs.operators import codes
from edge_tqs.operators.arithmetic.int8 import multiply_by_quantized_multiplier, quantize_multiplier
from edge_tqs.operators.operator import Builtin, Call, Function, Operator, TypedOperator, read_plain, write_plain


def params(graph: Graph, op: Op) -> tuple[int, int, int, int]:
    """(multiplier, shift, zero point of x, of y). Raises ModelError where a code could leave 32 bits."""
    x, y = codes.quants(graph, op)
    multiplier, shift = quantize_multiplier(float(x.scale[0]) / float(y.scale[0]))
    codes.check_headroom(graph, op, codes.span(graph, op), shift)
    return multiplier, shift, x.zero_point, y.zero_point


def _integer(graph: Graph, op: Op) -> Function:
    multiplier, shift, x_zero_point, y_zero_point = params(graph, op)
    dtype = graph.tensors[op.outputs[0]].dtype

    def rescale(x: Array) -> Array:
        y = multiply_by_quantized_multiplier(x.astype(np.int64) - x_zero_point, multiplier, shift)
        return codes.clipped(y + y_zero_point, dtype)

    return codes.by_code(graph, op, rescale)


def _refuse(*given: Any) -> Any:
    raise ModelError(f"{given[-2].name}: operator quantize has no meaning in a float graph")


def _call(graph: Graph, op: Op) -> Call:
    multiplier, shift, x_zero_point, y_zero_point = params(graph, op)
    made = {
        "multiplier": multiplier,
        "shift": shift,
        "x_zero_point": x_zero_point,
        "y_zero_point": y_zero_point,
        "size": graph.tensors[op.outputs[0]].size,
    }
    match graph.type_of(op), graph.tensors[op.outputs[0]].dtype:
        case "int16", "int16":
            return Call(
                "tqs_requant_s16", "tqs_scale_s16_t", {name: made[name] for name in ("multiplier", "shift", "size")}
            )
        case "int8", "int16":
            return Call("tqs_requant_s8_s16", "tqs_requant_t", made)
        case "int16", "int8":
            return Call("tqs_requant_s16_s8", "tqs_requant_t", made)
    return Call("tqs_requant_s8", "tqs_requant_t", made)


#: the shifts that a kernel of kernels/arm takes, where not all
_SHIFTS = {
    "tqs_requant_s8_dsp": range(-31, 23),
    "tqs_requant_s8_s16_dsp": range(14),
    "tqs_requant_s16_s8_dsp": range(-22, 0),
}


def _fast(graph: Graph, op: Op, call: Call, kernel: str) -> Call | None:
    if kernel == "tqs_requant_s8_arm":
        return codes.to_the_right(call, kernel)
    takes = kernel not in _SHIFTS or params(graph, op)[1] in _SHIFTS[kernel]
    return replace(call, kernel=kernel) if takes else None


#: What tflite-runtime refuses; the way back it runs.
_WIDENED = TypedOperator("quantize to int16", "int8")


def _emitted(graph: Graph, op: Op, runtime: str) -> tuple[TypedOperator, ...]:
    widened = (graph.type_of(op), graph.tensors[op.outputs[0]].dtype) == ("int8", "int16")
    return (_WIDENED if widened else TypedOperator("quantize", graph.type_of(op)),)


OPERATOR = Operator(
    kind="quantize",
    signature=Signature(),
    compute=_refuse,
    traced=_refuse,
    integer=_integer,
    call=_call,
    builtins={"quantize": Builtin("QUANTIZE", 1, "QuantizeOptions", 2)},
    write=write_plain,
    read=read_plain,
    fast=_fast,
    in_place=True,
    any_rank=True,
    reasons={
        TypedOperator("quantize", "int8"): {},
        TypedOperator("quantize", "int16"): {},
        _WIDENED: {"tflite-runtime": "QUANTIZE makes no int16 codes of int8 ones"},
    },
    emitted=_emitted,
)
