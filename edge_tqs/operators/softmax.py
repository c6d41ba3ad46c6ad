"""softmax: y = exp(beta x) / sum exp(beta x) along the last axis, bit for bit as tflite-micro.

kernels/internal/reference/softmax.h. int8: exp of the differences from the row's largest code, in gemmlowp's fixed
point, of which there are 256 at most: a table. Their sum has 12 integer bits; one reciprocal a row, one product a
value. int16: exp and the reciprocal are tables of 513 entries, interpolated; a difference of 10 and more is 10.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_tqs.errors import ModelError
from edge_tqs.graph.graph import Array, Graph, Op
from edge_tqs.graph.signature import Signature
from edge_tqs.operators.arithmetic import fixed_point
from edge_tqs.operators.arithmetic import int8 as integer
from edge_tqs.operators.arithmetic import int16 as integer16
from edge_tqs.operators.operator import Builtin, Call, Function, Operator, Reader, Table, Writer

OUTPUT = (1 / 256, -128)
OUTPUT_16 = (1 / 32768, 0)
DIFFERENCE_BITS = 5  # integer bits of a difference
SUM_BITS = 12  # of the sum
#: values of a row: with more, the last rounding would shift by more than the 31 bits there are
MOST_VALUES = 511
#: int16: the differences that the table of exponentials spans, and the most bits that a difference moves up
SPAN, MOST_SHIFT = 10.0, 14


def _compute(graph: Graph, op: Op) -> Function:
    beta = np.float32(op.attrs["beta"])

    def softmax(x: Array) -> Array:
        e = np.exp((x - x.max(axis=-1, keepdims=True)) * beta)
        y: Array = e / e.sum(axis=-1, keepdims=True)
        return y

    return softmax


def _traced(tf: Any, graph: Graph, op: Op) -> Any:
    return lambda x: tf.nn.softmax(x * op.attrs["beta"], axis=-1)


def _input_scale(graph: Graph, op: Op, output: tuple[float, int]) -> float:
    """The scale of x. Raises ModelError unless y is quantised as the kernels know it."""
    x, out = (graph.tensors[name].quant for name in (op.inputs[0], op.outputs[0]))
    if x is None or out is None or x.per_channel:
        raise ModelError(f"{graph.name}: {op.inputs[0]} or {op.outputs[0]} is not quantised")
    if (float(out.scale[0]), out.zero_point) != output:
        raise ModelError(f"{graph.name}: {op.outputs[0]}: softmax must have scale, zero point {output}")
    return float(x.scale[0])


def exponentials(graph: Graph, op: Op) -> npt.NDArray[np.int64]:
    """exp(-beta scale d) for d = 0, 1, ..., with 0 integer bits; beyond the last, y is 0. Raises ModelError."""
    x = graph.tensors[op.inputs[0]]
    scale = _input_scale(graph, op, OUTPUT)
    if x.shape[-1] > MOST_VALUES:
        raise ModelError(f"{graph.name}: {op.outputs[0]}: softmax over {x.shape[-1]} values, at most {MOST_VALUES}")
    beta = float(np.float32(op.attrs["beta"]))
    real = min(beta * scale * (1 << (31 - DIFFERENCE_BITS)), (1 << 31) - 1.0)
    if real <= 1:  # QuantizeMultiplierGreaterThanOne
        raise ModelError(f"{graph.name}: {op.outputs[0]}: the inputs of this softmax hardly differ")
    multiplier, shift = integer.quantize_multiplier(real)
    radius = math.floor(((1 << DIFFERENCE_BITS) - 1) * (1 << (31 - DIFFERENCE_BITS)) / 2.0**shift)
    differences = -np.arange(min(radius, 255) + 1, dtype=np.int64)
    scaled = integer.multiply_by_quantized_multiplier(differences, multiplier, shift)
    return fixed_point.exp_on_negative_values(scaled, DIFFERENCE_BITS)


def table_16(function: Callable[[Array], Array], low: float, high: float) -> npt.NDArray[np.int64]:
    """(513,) int16 codes at scale 2^-15 of ``function`` over [low, high], to be interpolated: LUTPopulateInt16,
    kernels/internal/common.h, in float32. Each entry is moved by half of what the middle of its step would be off.
    """
    f = np.float32
    at = f(low) + np.arange(513, dtype=f) * ((f(high) - f(low)) / f(512))
    per_unit = f(65536) / (f(2) / f(65535) * f(65535))
    values = function(at).astype(f) * per_unit
    middles = integer.round_away(function(at[:-1] + (f(high) - f(low)) / f(1024)).astype(f) * per_unit)
    samples = integer.round_away(values)
    bias = integer.round_away((integer.round_away((values[1:] + samples[:-1]) / f(2)) - middles) / f(2))
    samples[:-1] -= bias
    return np.clip(samples, integer16.LOW, integer16.HIGH).astype(np.int64)


def _exp(x: Array) -> Array:
    return np.exp(x.astype(np.float64)).astype(np.float32)  # rounded once, as a good expf does


EXPONENTIALS = table_16(_exp, -SPAN, 0.0)
RECIPROCALS = table_16(lambda x: np.float32(1) / (np.float32(1) + x), 0.0, 1.0)


def _look_up_16(table: npt.NDArray[np.int64], x: Array) -> Array:
    """LUTLookup(int16_t, ...), kernels/internal/common.h: x int16 codes, 7 bits of which lie between two entries."""
    entry = 256 + (x >> 7)
    found: Array = table[entry] + (((table[entry + 1] - table[entry]) * (x & 127) + 64) >> 7)
    return found


def difference_factor(graph: Graph, op: Op) -> tuple[int, int]:
    """(multiplier, shift) that make differences of int16 codes of x parts of 65535 of SPAN. Raises ModelError."""
    scale = _input_scale(graph, op, OUTPUT_16)
    multiplier, shift = integer.quantize_multiplier(scale * float(np.float32(op.attrs["beta"])) / (SPAN / 65535.0))
    if shift > MOST_SHIFT:
        raise ModelError(
            f"{graph.name}: {op.outputs[0]}: the inputs of this softmax reach {scale * integer16.HIGH:.3g}, too far",
            hint="Values this large say that the model diverges: use int8 activations, or look at the model.",
        )
    return multiplier, shift


def _integer_16(graph: Graph, op: Op) -> Function:
    multiplier, shift = difference_factor(graph, op)

    def softmax(x: Array) -> Array:
        wide = x.astype(np.int64)
        below = wide - wide.max(axis=-1, keepdims=True)
        below = integer.multiply_by_quantized_multiplier(below, multiplier, shift) + integer16.HIGH
        powers = _look_up_16(EXPONENTIALS, np.maximum(below, integer16.LOW))
        total = powers.sum(axis=-1, keepdims=True)
        bits = np.frexp(total.astype(np.float64))[1].astype(np.int64)
        fraction = (((total << (31 - bits)) + (1 << 13)) >> 14) - 3 * (1 << 15)  # of total = (1 + a) 2^(bits - 1)
        scale = _look_up_16(RECIPROCALS, np.minimum(fraction, integer16.HIGH))
        y: Array = np.minimum((powers * scale + (1 << (bits - 2))) >> (bits - 1), integer16.HIGH).astype(np.int16)
        return y

    return softmax


def _integer(graph: Graph, op: Op) -> Function:
    if graph.type_of(op) == "int16":
        return _integer_16(graph, op)
    known = exponentials(graph, op)
    table = np.zeros(256, np.int64)
    table[: known.size] = known
    addends = fixed_point.divide_by_power(table, SUM_BITS)

    def softmax(x: Array) -> Array:
        wide = x.astype(np.int64)
        differences = wide.max(axis=-1, keepdims=True) - wide
        total = addends[differences].sum(axis=-1, keepdims=True)
        headroom = 32 - np.frexp(total.astype(np.float64))[1].astype(np.int64)  # leading zeros of 32 bits
        scale = fixed_point.one_over_one_plus((total << headroom) - (1 << 31))
        product = fixed_point.multiply_high(scale, table[differences])
        codes = fixed_point.divide_by_power(product, SUM_BITS - headroom + 31 - 8) + integer.LOW
        return np.where(differences < known.size, np.minimum(codes, integer.HIGH), integer.LOW).astype(np.int8)

    return softmax


def _call(graph: Graph, op: Op) -> Call:
    shape = graph.tensors[op.inputs[0]].shape
    if graph.type_of(op) == "int16":
        multiplier, shift = difference_factor(graph, op)
        tables = {
            "exponentials": Table("int16_t", EXPONENTIALS, "exp of -10 to 0, 15 fraction bits"),
            "reciprocals": Table("int16_t", RECIPROCALS, "1 / (1 + a) of 0 to 1, 15 fraction bits"),
        }
        factor = {"multiplier": multiplier, "shift": shift}
        sizes = {"rows": math.prod(shape[:-1]), "columns": shape[-1]}
        return Call("tqs_softmax_s16", "tqs_softmax_s16_t", {**tables, **factor, **sizes})
    values = exponentials(graph, op)
    table = Table("int32_t", values, "exp(0), and of each code less, with 31 fraction bits")
    return Call(
        "tqs_softmax_s8",
        "tqs_softmax_t",
        {"table": table, "known": values.size, "rows": math.prod(shape[:-1]), "columns": shape[-1]},
    )


#: the shifts of a difference that a kernel of kernels/arm takes, where not all
_SHIFTS = {"tqs_softmax_s16_dsp": range(-15, 14)}


def _fast(graph: Graph, op: Op, call: Call, kernel: str) -> Call | None:
    takes = kernel not in _SHIFTS or call.fields["shift"] in _SHIFTS[kernel]
    return replace(call, kernel=kernel) if takes else None


def _write(writer: Writer, op: Op, inputs: list[int], outputs: list[int]) -> None:
    writer.append("softmax", inputs, outputs, beta=op.attrs["beta"])


def _read(reader: Reader, builtin: str, op: Any) -> Op:
    attrs = {"beta": float(op.builtinOptions.beta)}
    return Op("softmax", (reader.name(op.inputs[0]),), (reader.name(op.outputs[0]),), attrs)


OPERATOR = Operator(
    kind="softmax",
    signature=Signature(1, 1, frozenset({"beta"})),
    compute=_compute,
    traced=_traced,
    integer=_integer,
    call=_call,
    fast=_fast,
    builtins={"softmax": Builtin("SOFTMAX", 2, "SoftmaxOptions", 3)},
    write=_write,
    read=_read,
    in_place=True,
    by_sample=True,
    fixed_output={"int8": OUTPUT, "int16": OUTPUT_16},
)
