"""softmax: y = exp(beta x) / sum exp(beta x) along the last axis; int8 bit for bit as tflite-micro.

kernels/internal/reference/softmax.h: exp of the differences from the row's largest code, in gemmlowp's fixed point, of
which there are 256 at most: a table. Their sum has 12 integer bits; one reciprocal a row, one product a value.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_tqs import fixed_point, integer
from edge_tqs.errors import ModelError
from edge_tqs.graph import Graph, Op
from edge_tqs.operators.operator import Array, Builtin, Call, Function, Operator, Reader, Table, Writer

OUTPUT = (1 / 256, -128)
DIFFERENCE_BITS = 5  # integer bits of a difference
SUM_BITS = 12  # of the sum
#: values of a row: with more, the last rounding would shift by more than the 31 bits there are
MOST_VALUES = 511
_NO_INT16 = "the generated C has no softmax of int16 codes"


def _compute(graph: Graph, op: Op) -> Function:
    beta = np.float32(op.attrs["beta"])

    def softmax(x: Array) -> Array:
        e = np.exp((x - x.max(axis=-1, keepdims=True)) * beta)
        y: Array = e / e.sum(axis=-1, keepdims=True)
        return y

    return softmax


def _traced(tf: Any, graph: Graph, op: Op) -> Any:
    return lambda x: tf.nn.softmax(x * op.attrs["beta"], axis=-1)


def exponentials(graph: Graph, op: Op) -> npt.NDArray[np.int64]:
    """exp(-beta scale d) for d = 0, 1, ..., with 0 integer bits; beyond the last, y is 0. Raises ModelError."""
    x, out = graph.tensors[op.inputs[0]], graph.tensors[op.outputs[0]]
    if x.quant is None or out.quant is None or x.quant.per_channel:
        raise ModelError(f"{graph.name}: {op.inputs[0]} or {op.outputs[0]} is not quantised")
    if (float(out.quant.scale[0]), out.quant.zero_point) != OUTPUT:
        raise ModelError(f"{graph.name}: {op.outputs[0]}: softmax must have scale, zero point {OUTPUT}")
    if x.shape[-1] > MOST_VALUES:
        raise ModelError(f"{graph.name}: {op.outputs[0]}: softmax over {x.shape[-1]} values, at most {MOST_VALUES}")
    beta = float(np.float32(op.attrs["beta"]))
    real = min(beta * float(x.quant.scale[0]) * (1 << (31 - DIFFERENCE_BITS)), (1 << 31) - 1.0)
    if real <= 1:  # QuantizeMultiplierGreaterThanOne
        raise ModelError(f"{graph.name}: {op.outputs[0]}: the inputs of this softmax hardly differ")
    multiplier, shift = integer.quantize_multiplier(real)
    radius = math.floor(((1 << DIFFERENCE_BITS) - 1) * (1 << (31 - DIFFERENCE_BITS)) / 2.0**shift)
    differences = -np.arange(min(radius, 255) + 1, dtype=np.int64)
    scaled = integer.multiply_by_quantized_multiplier(differences, multiplier, shift)
    return fixed_point.exp_on_negative_values(scaled, DIFFERENCE_BITS)


def _integer(graph: Graph, op: Op) -> Function:
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
    if graph.activations != "int8":
        raise ModelError(f"{graph.name}: {op.outputs[0]}: {_NO_INT16}")
    values, shape = exponentials(graph, op), graph.tensors[op.inputs[0]].shape
    table = Table("int32_t", values, "exp(0), and of each code less, with 31 fraction bits")
    return Call(
        "tqs_softmax_s8",
        "tqs_softmax_t",
        {"table": table, "known": values.size, "rows": math.prod(shape[:-1]), "columns": shape[-1]},
    )


def _write(writer: Writer, op: Op, inputs: list[int], outputs: list[int]) -> None:
    writer.append("softmax", inputs, outputs, beta=op.attrs["beta"])


def _read(reader: Reader, builtin: str, op: Any) -> Op:
    attrs = {"beta": float(op.builtinOptions.beta)}
    return Op("softmax", (reader.name(op.inputs[0]),), (reader.name(op.outputs[0]),), attrs)


OPERATOR = Operator(
    kind="softmax",
    compute=_compute,
    traced=_traced,
    integer=_integer,
    call=_call,
    builtins={"softmax": Builtin("SOFTMAX", 2, "SoftmaxOptions")},
    write=_write,
    read=_read,
    in_place=True,
    by_sample=True,
    fixed_output={"int8": OUTPUT},
    refused={"int16": {"c": _NO_INT16}},
)
