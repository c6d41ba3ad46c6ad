"""THE integer arithmetic: what tflite-micro computes, in numpy, bit for bit.

simulate and emit_c both take their parameters from here, so they cannot drift. File names below are those of
tensorflow/tflite-micro, under tensorflow/lite/; "double rounding" is its default build (TFLITE_SINGLE_ROUNDING unset).
Its sources have worked out some multipliers in float32 at times; the pinned release works in double, and so does this.

Activations are int8 codes with one scale and zero point a tensor; weights are symmetric int8 (|code| <= 127) or int4
(|code| <= 7) with one scale a row; biases are int32 at scale input * weight; accumulators are int32.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edge_tqs.errors import ModelError
from edge_tqs.graph.graph import Array, Graph, Op, Quant
from edge_tqs.operators.arithmetic import fixed_point

Codes = npt.NDArray[np.int8]
Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]

LOW, HIGH = -128, 127  # int8
WEIGHT_LIMIT = {8: 127, 4: 7}  # width in bits -> largest |code|
#: a narrower range is one that the calibration never moved; it says nothing about the scale
LEAST_SPAN = 1e-5
BIAS_LIMIT = 1 << 30  # leaves the other half of the accumulator to the products


@dataclass(frozen=True, eq=False)
class FullyConnectedParams:
    """y[m] = clip(rescale[m](sum_k (x[k] - input_zero_point) * w[m, k] + b[m]) + output_zero_point, low, high).

    multiplier, shift: (M,) int32, one a row.
    """

    multiplier: Int32s
    shift: Int32s
    input_zero_point: int
    output_zero_point: int
    low: int
    high: int


# --- rescaling ------------------------------------------------------------------------------------------------------


def quantize_multiplier(real: float) -> tuple[int, int]:
    """``real`` >= 0 as (multiplier, shift), real = multiplier * 2^(shift - 31), multiplier in [2^30, 2^31) or 0.

    QuantizeMultiplier, kernels/internal/quantization_util.cc: below 2^-32 it flushes to zero.
    """
    if real == 0:
        return 0, 0
    fraction, shift = math.frexp(real)
    multiplier = math.floor(fraction * (1 << 31) + 0.5)
    if multiplier == 1 << 31:
        multiplier, shift = multiplier // 2, shift + 1
    return (0, 0) if shift < -31 else (multiplier, shift)


def multiply_by_quantized_multiplier(x: Int64s, multiplier: Int32s | int, shift: Int32s | int) -> Int64s:
    """round(round(x * 2^max(shift, 0) * multiplier / 2^31) / 2^max(-shift, 0)), the outer ties away from zero.

    ``x`` int64 holding int32 values; ``multiplier`` and ``shift`` are scalars or broadcast against it (per channel).
    MultiplyByQuantizedMultiplier, kernels/internal/common.cc.
    """
    shift = np.asarray(shift, np.int64)
    high = fixed_point.multiply_high(x << np.maximum(shift, 0), np.asarray(multiplier, np.int64))
    return fixed_point.divide_by_power(high, np.maximum(-shift, 0))


def round_away(x: Array) -> Array:
    """Round to the nearest integer, ties away from zero, as C's round() does.

    Adding one half would be wrong just below it, where the sum is rounded up.
    """
    whole = np.trunc(x)
    rounded: Array = whole + np.copysign(np.abs(x - whole) >= 0.5, x)
    return rounded


def activation_limits(activation: str, quant: Quant) -> tuple[int, int]:
    """(low, high) codes of "none", "relu" or "relu6". CalculateActivationRangeQuantized, kernels/kernel_util.cc."""
    low, high = LOW, HIGH
    if activation in ("relu", "relu6"):
        low = max(low, quant.zero_point)
    if activation == "relu6":
        high = min(high, quant.zero_point + int(round_away(np.float32(6) / quant.scale[0])))
    return low, high


# --- parameters of each operator ------------------------------------------------------------------------------------


def fully_connected_params(graph: Graph, op: Op) -> FullyConnectedParams:
    """Parameters of an int8 or int4 dense layer, or of a conv_1d, whose taps are inputs like any other.

    micro/kernels/fully_connected_common.cc (int8) and kernels/kernel_util.cc PopulateConvolutionQuantizationParams
    (int4, which runs as a convolution). Raises ModelError where the int32 accumulator could overflow.
    """
    source, weight, result = graph.tensors[op.inputs[0]], graph.tensors[op.inputs[1]], graph.tensors[op.outputs[0]]
    in_quant, out_quant, weight_quant = graph.quant(op.inputs[0]), graph.quant(op.outputs[0]), weight.quant
    if weight_quant is None or weight.data is None:
        raise ModelError(f"{graph.name}: weight {weight.name} is not quantised")
    product = in_quant.scale.astype(np.float64) * weight_quant.scale.astype(np.float64)
    real = np.broadcast_to(product / np.float64(out_quant.scale[0]), (weight.shape[0],))
    pairs = [quantize_multiplier(float(value)) for value in real]
    bias = graph.tensors[op.inputs[2]].data if len(op.inputs) == 3 else None
    peak = 255 * np.abs(weight.data.astype(np.int64)).reshape(weight.shape[0], -1).sum(axis=1) + (
        0 if bias is None else np.abs(bias.astype(np.int64))
    )
    what = f"{source.name} -> {result.name}: the 32-bit accumulator"
    for row, (_, shift) in zip(peak.tolist(), pairs, strict=True):
        check_headroom(graph, what, row, shift)
    low, high = activation_limits(op.attrs["activation"], out_quant)
    return FullyConnectedParams(
        np.array([m for m, _ in pairs], np.int32),
        np.array([s for _, s in pairs], np.int32),
        in_quant.zero_point,
        out_quant.zero_point,
        low,
        high,
    )


# --- operators ------------------------------------------------------------------------------------------------------


def rescale_accumulators(params: FullyConnectedParams, accumulators: Int64s) -> Codes:
    """(..., M) int32 accumulators in int64 to int8 codes."""
    y = multiply_by_quantized_multiplier(accumulators, params.multiplier, params.shift) + params.output_zero_point
    return _clip(y, params.low, params.high)


def fully_connected(params: FullyConnectedParams, x: Codes, weight: Codes, bias: Int32s | None) -> Codes:
    """x (N, K), weight (M, K) one code an element whatever its width, bias (M,) -> (N, M)."""
    accumulators = (x.astype(np.int64) - params.input_zero_point) @ weight.astype(np.int64).T
    return rescale_accumulators(params, accumulators if bias is None else accumulators + bias)


def look_up(table: Codes, x: Codes) -> Codes:
    """Apply a table (256,), index = code + 128, to codes of any shape."""
    found: Codes = table[x.astype(np.int64) + 128]
    return found


# --- numbers to codes -----------------------------------------------------------------------------------------------


def quantize_activations(values: Array, quant: Quant) -> Codes:
    """float values to int8 codes, ties away from zero, clipped."""
    return _clip(round_away(values / np.float64(quant.scale[0])) + quant.zero_point)


def dequantize_activations(codes: Array, quant: Quant) -> npt.NDArray[np.float32]:
    """int8 or int16 codes to float32 values."""
    return ((codes.astype(np.int32) - quant.zero_point) * np.float64(quant.scale[0])).astype(np.float32)


def quantize_weight(
    weight: npt.NDArray[np.float32], width: int, least_scale: Array | float = 0.0, clip: float = 1.0
) -> tuple[Codes, npt.NDArray[np.float32]]:
    """Symmetric codes and scales of a (M, ...) weight, one scale a row: clip * max|w| / 127 or / 7.

    ``clip`` in (0, 1]: what lies beyond takes the largest code. ``least_scale`` (M,) bounds the scales from below. A
    row of zeros takes the largest scale of the others, so that its bias is as fine as theirs.
    """
    limit = WEIGHT_LIMIT[width]
    rows = weight.reshape(weight.shape[0], -1)
    peak = np.float32(clip) * np.abs(rows).max(axis=1)
    scale = np.maximum(peak / np.float32(limit), least_scale).astype(np.float32)
    scale[scale < np.finfo(np.float32).tiny] = scale.max() if scale.max() >= np.finfo(np.float32).tiny else 1 / limit
    codes = round_away(rows.astype(np.float64) / scale[:, None].astype(np.float64))
    return np.clip(codes, -limit, limit).astype(np.int8).reshape(weight.shape), scale


def least_weight_scale(bias: Array, input_scale: float) -> Array:
    """(M,) least weight scales at which ``bias`` (M,) float fits quantize_bias."""
    return np.abs(bias.astype(np.float64)) / (input_scale * (BIAS_LIMIT - 1)) * (1 + 1e-6)


def bias_scale(input_scale: float, weight_scale: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """(M,) scales of a bias: those of the products that it is added to."""
    return (np.float32(input_scale) * weight_scale).astype(np.float32)


def quantize_bias(bias: Array, scale: npt.NDArray[np.float32]) -> Int32s:
    """Float bias (M,) to int32 at ``scale`` (M,) = input scale * weight scale; clipped at 2^30."""
    codes = round_away(bias.astype(np.float64) / scale.astype(np.float64))
    return np.clip(codes, -BIAS_LIMIT, BIAS_LIMIT).astype(np.int32)


def pack_int4(codes: Codes) -> npt.NDArray[np.uint8]:
    """Two codes a byte in C order, the first in the low nibble; an odd count ends with a zero nibble.

    UnpackPackedIntToInt8, kernels/internal/portable_tensor_utils.cc, is the inverse.
    """
    flat = codes.reshape(-1).astype(np.int8)
    nibbles = np.append(flat, np.zeros(flat.size % 2, np.int8)).view(np.uint8) & 0x0F
    return (nibbles[0::2] | (nibbles[1::2] << 4)).astype(np.uint8)


def unpack_int4(packed: npt.NDArray[np.uint8], count: int) -> Codes:
    """The first ``count`` codes, one a byte, (count,) int8."""
    nibbles = np.stack([packed & 0x0F, packed >> 4], axis=-1).reshape(-1)[:count]
    return ((nibbles ^ 8).astype(np.int8) - 8).astype(np.int8)


def _clip(x: Array, low: int = LOW, high: int = HIGH) -> Codes:
    codes: Codes = np.clip(x, low, high).astype(np.int8)
    return codes


def check_headroom(graph: Graph, what: str, peak: int, shift: int) -> None:
    """Raise ModelError where a value of at most ``peak``, shifted left, would leave int32, undefined in C."""
    if peak << max(shift, 0) >= 1 << 31:
        raise ModelError(
            f"{graph.name}: {what} can overflow (peak {peak}, left shift {shift})",
            hint="The output range of this operator is far too small for its inputs: calibrate on real data (--data).",
        )
