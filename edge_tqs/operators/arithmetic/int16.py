"""The arithmetic of int16 activations ("16x8"): what tflite-micro computes, in numpy, bit for bit.

As integer, which has the int8 side; the sources and the double rounding are those named there. Activations are int16
codes of zero point 0 with one scale a tensor; weights are int8 or int4 as there; biases are int64 of at most
integer.BIAS_LIMIT, at scale input * weight; accumulators are int64. tflite-micro refuses int4 weights beside int16
activations: for those this is what the generated C computes, and what LiteRT is compared with.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edge_tqs.errors import ModelError
from edge_tqs.graph.graph import Array, Graph, Op, Quant
from edge_tqs.operators.arithmetic import int8 as integer

Codes16 = npt.NDArray[np.int16]
Int64s = npt.NDArray[np.int64]

LOW, HIGH = -32768, 32767
#: the accumulator's assumption in MultiplyByQuantizedMultiplier(int64_t, ...), kernels/internal/common.cc
ACCUMULATOR_LIMIT = 1 << 47
MOST_SHIFT = 7  # its assumption about the shift


@dataclass(frozen=True, eq=False)
class FullyConnectedParams:
    """y[m] = clip((multiplier[m] * (sum_k x[k] * w[m, k] + b[m]) + 2^(shift[m] - 1)) >> shift[m], low, high).

    multiplier: (M,), 15 bits. shift: (M,), from 8 to 46.
    """

    multiplier: Int64s
    shift: Int64s
    low: int
    high: int


# --- parameters of each operator ------------------------------------------------------------------------------------


def fully_connected_params(graph: Graph, op: Op) -> FullyConnectedParams:
    """Parameters of a dense layer, or of a conv_1d with weights (M, taps, I).

    Raises ModelError where an accumulator or a factor leaves what the kernels take.
    micro/kernels/fully_connected_common.cc; the multiplier is cut to 15 bits by the rescaling of int64 accumulators.
    """
    weight, name = graph.tensors[op.inputs[1]], op.outputs[0]
    source, out, weight_quant = graph.quant(op.inputs[0]), graph.quant(name), weight.quant
    if weight_quant is None or weight.data is None:
        raise ModelError(f"{graph.name}: weight {weight.name} is not quantised")
    product = source.scale.astype(np.float64) * weight_quant.scale.astype(np.float64)
    real = np.broadcast_to(product / np.float64(out.scale[0]), (weight.shape[0],))
    pairs = [integer.quantize_multiplier(float(value)) for value in real]
    bias = graph.tensors[op.inputs[2]].data if len(op.inputs) == 3 else None
    codes = weight.data.astype(np.int64).reshape(weight.shape[0], -1)
    peak = -LOW * np.abs(codes).sum(axis=1) + (0 if bias is None else np.abs(bias))
    shifts = [shift for _, shift in pairs]
    if int(peak.max()) >= ACCUMULATOR_LIMIT or max(shifts) > MOST_SHIFT:
        raise ModelError(
            f"{graph.name}: {op.kind} to {name}: the 48-bit accumulator or its factor is out of range "
            f"(peak {int(peak.max())}, shift {max(shifts)})",
            hint="The output range of this operator is far too small for its inputs: calibrate on real data (--data).",
        )
    low, high = _activation_limits(op.attrs["activation"], out)
    multipliers = np.array([reduced(m) for m, _ in pairs], np.int64)
    return FullyConnectedParams(multipliers, 15 - np.array(shifts, np.int64), low, high)


def reduced(multiplier: int) -> int:
    """A multiplier of 31 bits cut to 15. MultiplyByQuantizedMultiplier(int64_t, ...), kernels/internal/common.cc."""
    return 0x7FFF if multiplier >= 0x7FFF0000 else (multiplier + (1 << 15)) >> 16


# --- accumulators -----------------------------------------------------------------------------------------------------


def rescale_accumulators(params: FullyConnectedParams, accumulators: Int64s) -> Codes16:
    """(..., M) int64 accumulators to codes. MultiplyByQuantizedMultiplier(int64_t, ...), kernels/internal/common.cc."""
    rounding = np.int64(1) << (params.shift - 1)
    return _clip((accumulators * params.multiplier + rounding) >> params.shift, params.low, params.high)


# --- numbers to codes -----------------------------------------------------------------------------------------------


def quantize_activations(values: Array, quant: Quant) -> Codes16:
    """float values to int16 codes, ties away from zero, clipped."""
    return _clip(integer.round_away(values / np.float64(quant.scale[0])))


def symmetric(low: float, high: float) -> Quant:
    """The int16 quantisation of [low, high]; of [-1, 1] where that is too narrow to mean anything."""
    reach = max(abs(low), abs(high))
    if reach < integer.LEAST_SPAN:
        reach = 1.0
    return Quant(np.array([reach / HIGH], np.float32), 0)


def _activation_limits(activation: str, quant: Quant) -> tuple[int, int]:
    """As integer.activation_limits, with zero point 0."""
    low = 0 if activation in ("relu", "relu6") else LOW
    six = int(integer.round_away(np.float32(6) / quant.scale[0]))
    return low, min(HIGH, six) if activation == "relu6" else HIGH


def _clip(x: Array, low: int = LOW, high: int = HIGH) -> Codes16:
    codes: Codes16 = np.clip(x, low, high).astype(np.int16)
    return codes
