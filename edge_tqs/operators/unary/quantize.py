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
from edge_tqs.operators.operator import Builtin, Call, Function, Operator, read_plain, write_plain


def params(graph: Graph, op: Op) -> tuple[int, int, int, int]:
    """(multiplier, shift, zero point of x, of y). Raises ModelError where a code could leave 32 bits."""
    x, y = codes.quants(graph, op)
    multiplier, shift = quantize_multiplier(float(x.scale[0]) / float(y.scale[0]))
    codes.check_headroom(graph, op, codes.span(graph), shift)
    return multiplier, shift, x.zero_point, y.zero_point


def _integer(graph: Graph, op: Op) -> Function:
    multiplier, shift, x_zero_point, y_zero_point = params(graph, op)

    def rescale(x: Array) -> Array:
        y = multiply_by_quantized_multiplier(x.astype(np.int64) - x_zero_point, multiplier, shift)
        return codes.clipped(y + y_zero_point, graph.activations)

    return codes.by_code(graph, rescale)


def _refuse(*given: Any) -> Any:
    raise ModelError(f"{given[-2].name}: operator quantize has no meaning in a float graph")


def _call(graph: Graph, op: Op) -> Call:
    multiplier, shift, x_zero_point, y_zero_point = params(graph, op)
    fields = {
        "multiplier": multiplier,
        "shift": shift,
        **codes.zero_points(graph, x_zero_point=x_zero_point, y_zero_point=y_zero_point),
        "size": graph.tensors[op.outputs[0]].size,
    }
    if graph.activations == "int16":
        return Call("tqs_requant_s16", "tqs_scale_s16_t", fields)
    return Call("tqs_requant_s8", "tqs_requant_t", fields)


def _fast(graph: Graph, op: Op, call: Call, kernel: str) -> Call | None:
    if kernel == "tqs_requant_s8_arm":
        return codes.to_the_right(call, kernel)
    return None if kernel == "tqs_requant_s8_dsp" and params(graph, op)[1] > 22 else replace(call, kernel=kernel)


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
)
