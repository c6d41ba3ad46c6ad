"""function: a float graph's function of one value (functions.FUNCTIONS), which quantize turns into a lut of int8 codes.

A table of 65,536 int16 codes is larger than most models: of those it makes a curve.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edge_tqs.errors import ModelError
from edge_tqs.graph.graph import Array, Graph, Op, Quant
from edge_tqs.graph.signature import Signature
from edge_tqs.operators.arithmetic import int8 as integer
from edge_tqs.operators.arithmetic.functions import FUNCTIONS, NUMPY, tensorflow_maths
from edge_tqs.operators.operator import Call, Function, Operator

_IN_INTEGERS = "in an integer graph a function is a lut or a curve"


def _compute(graph: Graph, op: Op) -> Function:
    function, parameters = FUNCTIONS[op.attrs["name"]], op.attrs["parameters"]

    def apply(x: Array) -> Array:
        with np.errstate(all="ignore"):  # what is not finite in the branch that where() leaves
            y: Array = np.asarray(function(NUMPY, x, *parameters), x.dtype)
        return y

    return apply


def _traced(tf: Any, graph: Graph, op: Op) -> Any:
    function, maths = FUNCTIONS[op.attrs["name"]], tensorflow_maths(tf)
    return lambda x: function(maths, x, *op.attrs["parameters"])


def _refuse(*given: Any) -> Any:
    raise ModelError(_IN_INTEGERS)


def _call(graph: Graph, op: Op) -> Call:
    raise ModelError(f"{graph.name}: {op.outputs[0]}: {_IN_INTEGERS}")


def table(graph: Graph, op: Op, source: Quant, out: Quant) -> Array:
    """(256,) int8: the outputs for the codes -128 to 127. Raises ModelError where the function has no value."""
    x = np.float64(source.scale[0]) * (np.arange(integer.LOW, integer.HIGH + 1) - source.zero_point)
    return integer.quantize_activations(values(graph, op, x)[0], out)


def values(graph: Graph, op: Op, x: Array) -> tuple[Array, Array]:
    """The function of ``x`` (N,), which ascends, and where it is defined; elsewhere it is what it is at the nearest x
    that it is defined for. Raises ModelError where that is none.
    """
    y = _compute(graph, op)(x)
    defined = np.isfinite(y)
    known = np.flatnonzero(defined)
    if known.size == 0:
        raise ModelError(f"{graph.name}: {op.attrs['name']} to {op.outputs[0]} has no value for any input")
    # Below where log or rsqrt begin: the value where they do.
    nearest = known[np.searchsorted((known[1:] + known[:-1]) / 2, np.arange(y.size))]
    return y[nearest], defined


OPERATOR = Operator(
    kind="function",
    signature=Signature(1, 1, frozenset({"name", "parameters"})),
    compute=_compute,
    traced=_traced,
    integer=_refuse,
    call=_call,
    builtins={},
    write=_refuse,
    read=_refuse,
    in_place=True,
    by_sample=True,
)
