"""elu: x where positive, exp(x) - 1 elsewhere (alpha is 1); a table of int8 codes, a curve of int16 ones."""

from __future__ import annotations

from typing import Any

import numpy as np

from edge_tqs.errors import ModelError
from edge_tqs.graph.graph import Array, Graph, Op
from edge_tqs.graph.signature import Signature
from edge_tqs.operators import codes
from edge_tqs.operators.arithmetic.int8 import round_away
from edge_tqs.operators.operator import Builtin, Call, Function, Operator, read_plain, write_plain

_NO_INT16 = "ELU takes int8 or float activations"


def _compute(graph: Graph, op: Op) -> Function:
    def elu(x: Array) -> Array:
        below: Array = np.expm1(np.minimum(x, np.float32(0)))
        return np.where(x > 0, x, below)

    return elu


def _traced(tf: Any, graph: Graph, op: Op) -> Any:
    return tf.nn.elu


def _integer(graph: Graph, op: Op) -> Function:
    """micro/kernels/elu.cc PopulateLookupTable: float32 throughout; exp is rounded once, as a good expf does."""
    if graph.type_of(op) == "int16":
        raise ModelError(
            f"{graph.name}: no runtime computes {op.kind} (to {op.outputs[0]}) with int16 activations",
            hint="Use int8 activations, or another activation function in this layer.",
        )
    source, out = codes.quants(graph, op)

    def elu(x: Array) -> Array:
        real = source.scale[0] * (x.astype(np.int64) - source.zero_point).astype(np.float32)
        shrunk = np.exp(np.minimum(real, 0).astype(np.float64)).astype(np.float32) - np.float32(1)
        scaled = np.where(real < 0, shrunk, real) * (np.float32(1) / out.scale[0])
        return codes.clipped(round_away(scaled) + np.float32(out.zero_point), "int8")

    return codes.by_code(graph, op, elu)


def _call(graph: Graph, op: Op) -> Call:
    if graph.type_of(op) == "int16":
        raise ModelError(f"{graph.name}: operator {op.kind} to {op.outputs[0]} has no C kernel")
    return codes.lookup_call(graph, op, _integer(graph, op))


OPERATOR = Operator(
    kind="elu",
    signature=Signature(),
    compute=_compute,
    traced=_traced,
    integer=_integer,
    call=_call,
    builtins={"elu": Builtin("ELU", 1)},
    write=write_plain,
    read=read_plain,
    in_place=True,
    by_sample=True,
    as_function={"int16": {"name": "elu", "parameters": (1.0,)}},
    refused={"int16": dict.fromkeys(("litert", "tflite-runtime", "tflm", "c"), _NO_INT16)},
)
