"""curve: int16 codes through a function of one value, a straight piece for each of many equal cells of the codes.

A cell is 2^bits codes about its middle; high, low and slopes (cells + 1,) int8 hold what the function is there, 256
high + low in codes of y, and how it rises. Where ``positive``, codes below 0 count as 0 and have no cells. y = 256 high
+ low + slope * (x - middle).

TensorFlow Lite has no operator for this, and tflite-micro none that looks up int16: it is written as QUANTIZE (the
cell), SUB (what is left), CAST, ADD and three GATHERs of int8 with a CAST each, MUL and two ADDs, all of which every
runtime computes alike. Scales are powers of two apart, so that each of these is exact but for the product and the sum.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edge_tqs.errors import ModelError
from edge_tqs.graph.graph import Array, Graph, Op, Quant, Tensor
from edge_tqs.graph.signature import Shape, Signature
from edge_tqs.operators.arithmetic import int8 as integer
from edge_tqs.operators.arithmetic import int16 as integer16
from edge_tqs.operators.operator import Call, Function, Operator, Reader, Table, Writer
from edge_tqs.operators.unary import function

#: bits of what is left of a code, bits that a rise may have beyond a code of y
REST_BITS, MOST_PLACES = 13, 7
#: the most that 256 high + low can be
HIGHEST = 127 * 257
#: codes of y that a table may be off within the calibrated range, beside what one code of x makes, before a finer one
#: is taken
TOLERANCE = 2.0
#: times the steepest cell within the range that one beyond it may be
STEEPER = 4
#: cell sizes, coarsest first; half as large where there are no cells below 0
BITS = (8, 7, 6, 5)
#: begins the last part of the name of every tensor that is computed on the way
PART = "curve "
_INT8 = "int8 codes have a lut"


@dataclass(frozen=True)
class Params:
    """cell = round(x / 2^bits); rise = rescale(slope * (x - cell 2^bits) 2^(13 - bits)); y = node + rise / 2^places.

    multiplier, shift: of the rise. offset: the cell 0 in the tables. rise_scale: of the product, in real numbers.
    """

    bits: int
    places: int
    multiplier: int
    shift: int
    offset: int
    rise_scale: float


def params(graph: Graph, op: Op) -> Params:
    """Raises ModelError for what is not quantised as a curve is."""
    x, high, low, slopes, y = (graph.tensors[name] for name in (*op.inputs, op.outputs[0]))
    quants = [tensor.quant for tensor in (x, high, low, slopes, y)]
    if graph.type_of(op) != "int16" or any(quant is None for quant in quants) or slopes.data is None:
        raise ModelError(f"{graph.name}: {y.name}: a curve needs int16 codes and constant tables")
    x_scale, _, _, slope_scale, y_scale = (float(quant.scale[0]) for quant in quants if quant is not None)
    bits, offset = op.attrs["bits"], 0 if op.attrs["positive"] else 1 << (15 - op.attrs["bits"])
    most = int(np.abs(slopes.data.astype(int)).max()) * slope_scale * ((1 << (bits - 1)) + 1) * x_scale / y_scale
    places = next((p for p in range(MOST_PLACES, 0, -1) if most * (1 << p) <= integer16.HIGH), 0)
    rise_scale = y_scale / (1 << places)
    real = slope_scale * (x_scale * 2.0 ** (bits - REST_BITS)) / rise_scale
    return Params(bits, places, *integer.quantize_multiplier(real), offset, rise_scale)


def _integer(graph: Graph, op: Op) -> Function:
    p, positive = params(graph, op), op.attrs["positive"]
    rescale = integer.multiply_by_quantized_multiplier

    def curve(x: Array, high: Array, low: Array, slopes: Array) -> Array:
        wide = np.maximum(x.astype(np.int64), 0 if positive else integer16.LOW)
        cell = rescale(wide, 1 << 30, 1 - p.bits)
        rest = (wide - (cell << p.bits)) << (REST_BITS - p.bits)
        at = cell + p.offset
        rise = np.clip(rescale(slopes[at] * rest, p.multiplier, p.shift), integer16.LOW, integer16.HIGH)
        y = rescale((_nodes(high, low)[at] << 14) + (rise << (14 - p.places)), 1 << 30, -13)
        codes: Array = np.clip(y, integer16.LOW, integer16.HIGH).astype(np.int16)
        return codes

    return curve


def _nodes(high: Array, low: Array) -> Array:
    return np.clip(256 * high.astype(np.int64) + low, integer16.LOW, integer16.HIGH)


# --- making the tables ----------------------------------------------------------------------------------------------


def made(graph: Graph, op: Op, x: Tensor, y: Tensor, bounds: tuple[float, float]) -> tuple[Op, list[Tensor]]:
    """The curve of a "function", its three tables named by what they hold: the coarsest that is off by no more than
    TOLERANCE allows where x is within ``bounds``, else the finest. Raises ModelError where the function has no value.
    """
    assert x.quant is not None
    assert y.quant is not None
    x_scale, y_scale = np.float64(x.quant.scale[0]), np.float64(y.quant.scale[0])
    codes = np.arange(integer16.LOW, integer16.HIGH + 1)
    real, defined = function.values(graph, op, codes * x_scale)
    exact = np.clip(real / y_scale, integer16.LOW, HIGHEST)
    positive = not defined[codes < 0].any()
    allowed = TOLERANCE + np.abs(np.gradient(exact))
    counted = (codes * x_scale >= bounds[0]) & (codes * x_scale <= bounds[1]) & defined
    for bits in BITS:
        cut = bits - int(positive)
        tables = _fitted(exact, counted, cut, positive, x_scale, y_scale)
        curve = Op("curve", (x.name, *(table.name for table in tables)), (y.name,), {"bits": cut, "positive": positive})
        shown = {tensor.name: tensor for tensor in (x, *tables, y)}
        whole = Graph(graph.name, shown, (curve,), x.name, y.name, (), graph.forecast)
        found = _integer(whole, curve)(codes.astype(np.int16), *(table.data for table in tables))
        if (np.abs(found - exact) <= allowed)[counted].all():
            break
    return curve, tables


def _fitted(exact: Array, counted: Array, bits: int, positive: bool, x_scale: float, y_scale: float) -> list[Tensor]:
    """high, low and slopes of ``exact``, (65536,) in codes of y: in each cell the line between its ends, moved so that
    it is off by as much above as below. Where a cell without ``counted`` codes is steeper than STEEPER times all with
    some, as beside the pole of a reciprocal, it is made less so: slopes have 8 bits.
    """
    half, last = 1 << (bits - 1), 1 << (15 - bits)
    rest = np.arange(-half, half + 1)
    cells = np.arange(0 if positive else -last, last + 1)
    lowest = 0 if positive else integer16.LOW
    at = np.clip(cells[:, None] * 2 * half + rest, lowest, integer16.HIGH) - integer16.LOW
    there = exact[at]
    slopes = (there[:, -1] - there[:, 0]) / (2 * half)  # codes of y a code of x
    apart = there - slopes[:, None] * rest
    nodes = integer.round_away((apart.max(axis=1) + apart.min(axis=1)) / 2).astype(np.int64)
    nodes = np.clip(nodes, integer16.LOW, HIGHEST)
    low = ((nodes + 128) & 255) - 128
    steep, steepest = (np.abs(slopes[chosen]).max(initial=0) for chosen in (counted[at].any(axis=1), slice(None)))
    unit = min(STEEPER * steep, steepest) / 127 or steepest / 127 or 1.0
    parts = {
        "high": ((nodes - low) >> 8, y_scale * 256),
        "low": (low, y_scale),
        "slopes": (np.clip(integer.round_away(slopes / unit), -127, 127), unit * y_scale / x_scale),
    }
    return [
        Tensor(name, values.shape, "int8", values.astype(np.int8), Quant(np.array([scale], np.float32), 0))
        for name, (values, scale) in parts.items()
    ]


# --- C and flatbuffer -----------------------------------------------------------------------------------------------


def _call(graph: Graph, op: Op) -> Call:
    p = params(graph, op)
    high, low, slopes = (graph.tensors[name].data for name in op.inputs[1:])
    assert high is not None
    assert low is not None
    assert slopes is not None
    fields: dict[str, int | Table] = {
        "nodes": Table("int16_t", _nodes(high, low), f"a function every {1 << p.bits} codes"),
        "slopes": Table("int8_t", slopes, "and how it rises there"),
        "multiplier": p.multiplier,
        "shift": p.shift,
        "bits": p.bits,
        "places": p.places,
        "first": -p.offset,
        "size": graph.tensors[op.outputs[0]].size,
    }
    return Call("tqs_curve_s16", "tqs_curve_s16_t", fields, operands=1)


def _write(writer: Writer, op: Op, inputs: list[int], outputs: list[int]) -> None:
    x, *tables = inputs
    p, name, shape = params(writer.graph, op), op.outputs[0], writer.written_shape(op.outputs[0])
    types = writer.types

    def part(label: str, dtype: str, scale: float = 0.0) -> int:
        quant = Quant(np.array([scale], np.float32), 0) if scale else None
        return writer.helper(f"{name}/{PART}{label}", shape, name, dtype, quant)

    def scale_of(tensor: str) -> float:
        return float(writer.graph.quant(tensor).scale[0])

    x_scale, y_scale = scale_of(op.inputs[0]), scale_of(name)
    if op.attrs["positive"]:
        source = part("positive", "int16", x_scale)
        writer.append("leaky_relu", [x], [source], alpha=0.0)
        x = source
    cell, rest = part("cell", "int16", x_scale * (1 << p.bits)), part("rest", "int16", x_scale * 2.0 ** (p.bits - 13))
    writer.append("quantize", [x], [cell])
    writer.append("sub", [x, cell], [rest], potScaleInt16=False)
    index = part("index", "int32")
    writer.append("cast", [cell], [index], inDataType=types["int16"], outDataType=types["int32"])
    if p.offset:
        index, wide = part("at", "int32"), index
        writer.append("add", [wide, writer.constant(p.offset)], [index])
    found = []
    for label, table, known in zip(("high", "low", "slope"), tables, op.inputs[1:], strict=True):
        narrow, wide = (part(f"{label} {bits}", f"int{bits}", scale_of(known)) for bits in (8, 16))
        writer.append("gather", [table, index], [narrow], axis=0, batchDims=0)
        writer.append("cast", [narrow], [wide], inDataType=types["int8"], outDataType=types["int16"])
        found.append(wide)
    node, rise = part("node", "int16", y_scale), part("rise", "int16", p.rise_scale)
    writer.append("add", found[:2], [node], potScaleInt16=False)
    writer.append("mul", [found[2], rest], [rise])
    writer.append("add", [node, rise], outputs, potScaleInt16=False)


def read(reader: Reader, op: Any) -> Op:
    """The curve whose last ADD is ``op``."""
    node, rise = (reader.made_by(index) for index in op.inputs)
    tables = [reader.made_by(reader.made_by(wide).inputs[0]) for wide in (*node.inputs, rise.inputs[0])]
    x, _ = reader.made_by(rise.inputs[1]).inputs
    positive = reader.name(x).endswith(f"/{PART}positive")
    size = reader.operand(tables[0].inputs[0]).size
    attrs = {"bits": (16 if positive else 17) - int(size - 1).bit_length(), "positive": positive}
    source = reader.made_by(x).inputs[0] if positive else x
    names = (reader.name(source), *(reader.name(gather.inputs[0]) for gather in tables))
    return Op("curve", names, (reader.name(op.outputs[0]),), attrs)


def _refuse(*given: Any) -> Any:
    raise ModelError("a curve works on int16 codes, and is read by its last ADD: in a float graph it is a function")


def _fit(attrs: Mapping[str, Any], inputs: Sequence[Shape], outputs: Sequence[Shape]) -> bool:
    if attrs["bits"] not in range(4, 9):
        return False
    cells = (1 << (15 - attrs["bits"])) * (1 if attrs["positive"] else 2) + 1
    return list(inputs[1:]) == [(cells,)] * 3 and outputs == [inputs[0]]


OPERATOR = Operator(
    kind="curve",
    signature=Signature(4, 4, frozenset({"bits", "positive"}), _fit),
    compute=_refuse,
    traced=_refuse,
    integer=_integer,
    call=_call,
    builtins={},
    write=_write,
    read=_refuse,
    in_place=True,
    by_sample=True,
    refused={"int8": dict.fromkeys(("litert", "tflite-runtime", "tflm", "c"), _INT8)},
)
