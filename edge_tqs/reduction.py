"""The integer arithmetic of a mean over time, bit for bit as tflite-micro; see integer for the terms.

kernels/internal/reference/reduce.h, QuantizedMeanOrSum: the division by the number of samples goes into the multiplier,
which is then truncated and may have 30 bits where others have 31.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edge_tqs.errors import ModelError
from edge_tqs.graph import Array, Graph, Op
from edge_tqs.integer import multiply_by_quantized_multiplier, quantize_multiplier


@dataclass(frozen=True)
class MeanParams:
    """y = clip(rescale(sum over ``count`` samples of x - count * input_zero_point) + output_zero_point)."""

    multiplier: int
    shift: int
    count: int
    input_zero_point: int
    output_zero_point: int


def mean_params(graph: Graph, op: Op) -> MeanParams:
    """Parameters of a "mean". Raises ModelError where a tensor is not quantised or the accumulator could overflow."""
    source, out = (graph.tensors[name] for name in (op.inputs[0], op.outputs[0]))
    if source.quant is None or out.quant is None:
        raise ModelError(f"{graph.name}: {source.name} or {out.name} is not quantised")
    count = source.shape[1]
    multiplier, shift = quantize_multiplier(float(source.quant.scale[0]) / float(out.quant.scale[0]))
    halvings = min(count.bit_length() - 1, 31 + shift)
    codes = np.iinfo(np.int8 if source.dtype == "int8" else np.int16)
    if (codes.max - codes.min) * count << max(shift - halvings, 0) >= 1 << 31:
        raise ModelError(
            f"{graph.name}: the mean of {source.name} over {count} samples can overflow 32 bits",
            hint="Its output range is far too small for its input: calibrate on real data (--data).",
        )
    multiplier = (multiplier << halvings) // count
    return MeanParams(multiplier, shift - halvings, count, source.quant.zero_point, out.quant.zero_point)


def mean(params: MeanParams, x: Array) -> Array:
    """x (N, W, C) int8 or int16 -> (N, 1, C) of the same type."""
    total = x.astype(np.int64).sum(axis=1, keepdims=True) - params.count * params.input_zero_point
    y = multiply_by_quantized_multiplier(total, params.multiplier, params.shift) + params.output_zero_point
    codes = np.iinfo(x.dtype)
    clipped: Array = np.clip(y, codes.min, codes.max).astype(x.dtype)
    return clipped
