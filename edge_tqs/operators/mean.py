"""mean: over the samples of a window, x (1, W, C) to (1, 1, C).

tflite-micro, kernels/internal/reference/reduce.h, QuantizedMeanOrSum: the division by the number of samples goes into
the multiplier, which is then truncated and may have 30 bits where others have 31.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edge_tqs.errors import ModelError
from edge_tqs.graph.graph import Array, Graph, Op
from edge_tqs.graph.signature import Shape, Signature
from edge_tqs.operators import codes
from edge_tqs.operators.arithmetic.int8 import multiply_by_quantized_multiplier, quantize_multiplier
from edge_tqs.operators.operator import Builtin, Call, Function, Operator, Reader, Writer


@dataclass(frozen=True)
class Params:
    """y = clip(rescale(sum over ``count`` samples of x - count * x_zero_point) + y_zero_point)."""

    multiplier: int
    shift: int
    count: int
    x_zero_point: int
    y_zero_point: int


def params(graph: Graph, op: Op) -> Params:
    """Raises ModelError where a tensor is not quantised or the accumulator could overflow."""
    source, out = (graph.tensors[name] for name in (op.inputs[0], op.outputs[0]))
    x_quant, y_quant = graph.quant(source.name), graph.quant(out.name)
    count = source.shape[1]
    multiplier, shift = quantize_multiplier(float(x_quant.scale[0]) / float(y_quant.scale[0]))
    halvings = min(count.bit_length() - 1, 31 + shift)
    limits = np.iinfo(np.int8 if source.dtype == "int8" else np.int16)
    if (limits.max - limits.min) * count << max(shift - halvings, 0) >= 1 << 31:
        raise ModelError(
            f"{graph.name}: the mean of {source.name} over {count} samples can overflow 32 bits",
            hint="Its output range is far too small for its input: calibrate on real data (--data).",
        )
    multiplier = (multiplier << halvings) // count
    return Params(multiplier, shift - halvings, count, x_quant.zero_point, y_quant.zero_point)


def _compute(graph: Graph, op: Op) -> Function:
    return lambda x: x.mean(axis=1, keepdims=True, dtype=np.float32)


def _traced(tf: Any, graph: Graph, op: Op) -> Any:
    return lambda x: tf.reduce_mean(x, axis=-2, keepdims=True)


def _integer(graph: Graph, op: Op) -> Function:
    p = params(graph, op)

    def mean(x: Array) -> Array:
        total = x.astype(np.int64).sum(axis=1, keepdims=True) - p.count * p.x_zero_point
        y = multiply_by_quantized_multiplier(total, p.multiplier, p.shift) + p.y_zero_point
        return codes.clipped(y, graph.type_of(op))

    return mean


def _call(graph: Graph, op: Op) -> Call:
    p = params(graph, op)
    sizes = {"samples": p.count, "channels": graph.tensors[op.outputs[0]].size}
    if graph.type_of(op) == "int16":
        return Call("tqs_mean_s16", "tqs_mean_s16_t", {"multiplier": p.multiplier, "shift": p.shift, **sizes})
    fields = {
        "multiplier": p.multiplier,
        "offset": -p.count * p.x_zero_point,
        "shift": p.shift,
        "y_zero_point": p.y_zero_point,
    }
    return Call("tqs_mean_s8", "tqs_mean_t", fields | sizes)


def _write(writer: Writer, op: Op, inputs: list[int], outputs: list[int]) -> None:
    writer.append("mean", [*inputs, writer.constant(2)], outputs, keepDims=True)


def _read(reader: Reader, builtin: str, op: Any) -> Op:
    return Op("mean", (reader.name(op.inputs[0]),), (reader.name(op.outputs[0]),))


def _fit(attrs: Mapping[str, Any], inputs: Sequence[Shape], outputs: Sequence[Shape]) -> bool:
    return len(inputs[0]) == 3 and outputs == [(1, 1, inputs[0][2])]


OPERATOR = Operator(
    kind="mean",
    signature=Signature(fit=_fit),
    compute=_compute,
    traced=_traced,
    integer=_integer,
    call=_call,
    builtins={"mean": Builtin("MEAN", 2, "ReducerOptions", 3)},
    write=_write,
    read=_read,
)
