"""leaky_relu: x where it is not negative, alpha x below; two rescalings of codes.

tflite-micro, micro/kernels/leaky_relu_common.cc and kernels/internal/reference/leaky_relu.h QuantizeLeakyRelu.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from edge_tqs.errors import ModelError
from edge_tqs.graph.graph import Array, Graph, Op
from edge_tqs.graph.signature import Signature
from edge_tqs.operators import codes
from edge_tqs.operators.arithmetic.int8 import multiply_by_quantized_multiplier, quantize_multiplier
from edge_tqs.operators.operator import Builtin, Call, Function, Operator, Reader, Writer


@dataclass(frozen=True)
class Params:
    """(multiplier, shift) where x >= x_zero_point, and below."""

    positive: tuple[int, int]
    negative: tuple[int, int]
    x_zero_point: int
    y_zero_point: int


def params(graph: Graph, op: Op) -> Params:
    """Of alpha in float32. Raises ModelError for one below 0, and where a code could leave 32 bits."""
    x, y = codes.quants(graph, op)
    alpha = float(np.float32(op.attrs["alpha"]))
    if alpha < 0:
        raise ModelError(f"{graph.name}: leaky_relu to {op.outputs[0]} has the negative slope {alpha}")
    positive = quantize_multiplier(float(x.scale[0]) / float(y.scale[0]))
    negative = quantize_multiplier(float(x.scale[0]) * alpha / float(y.scale[0]))
    codes.check_headroom(graph, op, codes.span(graph, op), max(positive[1], negative[1]))
    return Params(positive, negative, x.zero_point, y.zero_point)


def _compute(graph: Graph, op: Op) -> Function:
    alpha = np.float32(op.attrs["alpha"])
    return lambda x: np.where(x > 0, x, x * alpha)


def _traced(tf: Any, graph: Graph, op: Op) -> Any:
    return lambda x: tf.nn.leaky_relu(x, op.attrs["alpha"])


def _integer(graph: Graph, op: Op) -> Function:
    p = params(graph, op)

    def leaky(x: Array) -> Array:
        wide = x.astype(np.int64) - p.x_zero_point
        positive, negative = (multiply_by_quantized_multiplier(wide, *pair) for pair in (p.positive, p.negative))
        return codes.clipped(np.where(wide >= 0, positive, negative) + p.y_zero_point, graph.type_of(op))

    return codes.by_code(graph, op, leaky)


def _call(graph: Graph, op: Op) -> Call:
    p = params(graph, op)
    fields = {
        "positive_multiplier": p.positive[0],
        "negative_multiplier": p.negative[0],
        "positive_shift": p.positive[1],
        "negative_shift": p.negative[1],
        **codes.zero_points(graph, op, x_zero_point=p.x_zero_point, y_zero_point=p.y_zero_point),
        "size": graph.tensors[op.outputs[0]].size,
    }
    if graph.type_of(op) == "int16":
        return Call("tqs_leaky_relu_s16", "tqs_leaky_relu_s16_t", fields)
    return Call("tqs_leaky_relu_s8", "tqs_leaky_relu_t", fields)


def _write(writer: Writer, op: Op, inputs: list[int], outputs: list[int]) -> None:
    writer.append("leaky_relu", inputs, outputs, alpha=op.attrs["alpha"])


def _read(reader: Reader, builtin: str, op: Any) -> Op:
    attrs = {"alpha": float(op.builtinOptions.alpha)}
    return Op("leaky_relu", (reader.name(op.inputs[0]),), (reader.name(op.outputs[0]),), attrs)


OPERATOR = Operator(
    kind="leaky_relu",
    signature=Signature(1, 1, frozenset({"alpha"})),
    compute=_compute,
    traced=_traced,
    integer=_integer,
    call=_call,
    builtins={"leaky_relu": Builtin("LEAKY_RELU", 2, "LeakyReluOptions", 2)},
    write=_write,
    read=_read,
    in_place=True,
    any_rank=True,
    by_sample=True,
)
