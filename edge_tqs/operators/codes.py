"""What the operators on codes share: quantisations, room in 32 bits, clipping, functions of a single code."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_tqs.errors import ModelError
from edge_tqs.graph.graph import Array, Graph, Op, Quant
from edge_tqs.graph.shapes import broadcasts
from edge_tqs.graph.signature import Shape
from edge_tqs.operators.arithmetic import int8 as integer
from edge_tqs.operators.arithmetic import int16 as integer16
from edge_tqs.operators.operator import Call, Function, Table

#: what the fast rescaling of kernels/arm asks of a layer
SHIFTS = range(-31, 0)


def quants(graph: Graph, op: Op) -> list[Quant]:
    """Of the inputs, then of the output. Raises ModelError where there is none, or an int16 one with a zero point."""
    return [graph.quant(name) for name in (*op.inputs, op.outputs[0])]


def span(graph: Graph, op: Op) -> int:
    """The most that a code can be away from its zero point."""
    return -integer16.LOW if graph.type_of(op) == "int16" else integer.HIGH - integer.LOW


def fit_pair(attrs: Mapping[str, Any], inputs: Sequence[Shape], outputs: Sequence[Shape]) -> bool:
    """The rule of two inputs of one shape, or of which one is repeated over time."""
    a, b = inputs
    return (outputs == [a] and (a == b or broadcasts(b, a))) or (outputs == [b] and broadcasts(a, b))


def constant(graph: Graph, name: str) -> npt.NDArray[np.int64]:
    """The codes of a constant. Raises ModelError for a tensor that is computed."""
    data = graph.tensors[name].data
    if data is None:
        raise ModelError(f"{graph.name}: {name} is computed: weights and biases must be constants")
    return data.astype(np.int64)


def check_headroom(graph: Graph, op: Op, peak: int, shift: int) -> None:
    """Raise ModelError where a value of at most ``peak``, shifted left, would leave int32."""
    out = op.outputs[0]
    what = f"{op.kind} to {out}: 32 bits" if graph.type_of(op) == "int16" else f"{out}: the 32-bit accumulator"
    integer.check_headroom(graph, what, peak, shift)


def clipped(y: Array, dtype: str) -> Array:
    """``y`` as codes of "int8" or "int16"."""
    limits = np.iinfo(dtype)
    codes: Array = np.clip(y, limits.min, limits.max).astype(dtype)
    return codes


def zero_points(graph: Graph, op: Op, **named: int) -> dict[str, int]:
    """``named``, as fields of a struct; those for int16 codes have none."""
    return {} if graph.type_of(op) == "int16" else named


def by_code(graph: Graph, op: Op, function: Callable[[Array], Array]) -> Function:
    """A function of single codes: int8 ones are looked up."""
    if graph.type_of(op) == "int16":
        return function
    table = tabulated(function)
    return lambda x: integer.look_up(table, x)


def by_pair(graph: Graph, op: Op, function: Callable[[Array, Array], Array]) -> Function:
    """A function of pairs of codes: int8 ones are looked up."""
    if graph.type_of(op) == "int16":
        return function
    every = np.arange(integer.LOW, integer.HIGH + 1).astype(np.int8)
    table = function(np.repeat(every, 256), np.tile(every, 256))

    def look_up(a: Array, b: Array) -> Array:
        found: Array = table[(a.astype(np.int64) + 128) * 256 + b + 128]
        return found

    return look_up


def turns(graph: Graph, op: Op) -> tuple[int, int]:
    """How often the C of an operator with two inputs is called, a sample a call for a repeated one, and its values."""
    shapes, out = {graph.tensors[name].shape for name in op.inputs}, graph.tensors[op.outputs[0]]
    count = 1 if len(shapes) == 1 else out.shape[1]
    return count, out.size // count


def tabulated(function: Callable[[Array], Array]) -> Array:
    """(256,) int8: ``function`` of the codes -128 to 127."""
    return function(np.arange(integer.LOW, integer.HIGH + 1).astype(np.int8))


def to_the_right(call: Call, kernel: str) -> Call | None:
    """``call`` of a ``kernel`` of kernels/arm that shifts by -1 - shift to the right; None for any other shift."""
    shift = call.fields["shift"]
    assert isinstance(shift, int)
    return replace(call, kernel=kernel, fields={**call.fields, "shift": -1 - shift}) if shift in SHIFTS else None


def lookup_call(graph: Graph, op: Op, function: Function) -> Call:
    """The C of ``function``, int8 codes to codes, as a lookup."""
    table = Table("int8_t", tabulated(function), f"{op.kind} of the codes -128 to 127")
    return Call("tqs_lut_s8", "tqs_lut_t", {"table": table, "size": graph.tensors[op.outputs[0]].size})
