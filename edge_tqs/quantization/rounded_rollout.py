"""The rollout of an integer graph in float arithmetic, for many quantisations of its activations at once.

Every activation is rounded to the values that its codes stand for, and weights are those that their codes stand for: so
it differs from the integer graph by what fixed-point multipliers and tables round otherwise, a code at most here and
there. The rows of a batch are windows, once for each of the quantisations.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from edge_tqs.graph.graph import Array, Graph, Op, Quant
from edge_tqs.graph.rollout import StepFunction, closed_loop
from edge_tqs.operators import OPERATORS
from edge_tqs.operators.arithmetic.int8 import HIGH, LOW
from edge_tqs.passes.interpret import float_step, zero_states
from edge_tqs.quantization.quantize import MOVING_KINDS, Family, Shared

#: Values of the largest activation in a batch: what a processor's cache holds.
BATCH_VALUES = 1 << 17

Quants = Mapping[Family, Quant]
Round = Callable[[Array], Array]


class RoundedRollouts:
    """Rollouts of ``shared.graph``, whose weights are rounded already."""

    def __init__(self, shared: Shared) -> None:
        graph = shared.graph
        self._shared = shared
        self._widest = max(tensor.size for tensor in graph.tensors.values() if tensor.data is None)

    def outputs(self, seeds: Array, horizon: int, variants: Sequence[Quants]) -> Array:
        """(V, N, T, outputs) of ``seeds`` (N, W, F) or (N, W + T, F), each rolled out with each of ``variants``.

        A family that a variant leaves out has the quantisation that it had.
        """
        at_once = max(1, BATCH_VALUES // (self._widest * len(seeds)))
        parts = [self._together(seeds, horizon, variants[n : n + at_once]) for n in range(0, len(variants), at_once)]
        return np.concatenate(parts)

    def _together(self, seeds: Array, horizon: int, variants: Sequence[Quants]) -> Array:
        graph, count = self._shared.graph, len(seeds)
        rounds = {
            family: _rounding([variant.get(family, quant) for variant in variants], count)
            for family, quant in self._shared.quants.items()
        }
        of_x, of_y = (rounds[self._shared.families[name]] for name in (graph.input, graph.output))
        rows = of_x(np.tile(seeds, (len(variants), 1, 1)).astype(np.float32))
        step = _step(self._shared, rounds)
        with np.errstate(all="ignore"):  # of a range too narrow for a function, which then is no candidate
            states = zero_states(graph, len(rows))
            fed = None if of_y is of_x else lambda y: of_x(y.copy())
            said = closed_loop(step, graph.forecast, rows, horizon, states, "rounded", fed=fed).outputs
        return said.reshape(len(variants), count, *said.shape[1:])


def _rounding(quants: Sequence[Quant], count: int) -> Round:
    """Rounds a batch of ``count`` rows for each of ``quants``, in place."""
    zeros = np.array([quant.zero_point for quant in quants])
    values = (np.array([quant.scale[0] for quant in quants]), LOW - zeros, HIGH - zeros)
    if all(quant is quants[0] for quant in quants):
        each: list[Array] = [value[:1].astype(np.float32) for value in values]
    else:
        each = [np.repeat(value, count).astype(np.float32) for value in values]

    def apply(x: Array) -> Array:
        scale, low, high = (value.reshape(-1, *[1] * (x.ndim - 1)) for value in each)
        x = np.divide(x, scale, out=x if len(x) >= len(scale) else None)  # what is made of constants is one row
        np.rint(x, out=x)
        np.maximum(x, low, out=x)
        np.minimum(x, high, out=x)
        np.multiply(x, scale, out=x)
        return x

    return apply


def _step(shared: Shared, rounds: Mapping[Family, Round]) -> StepFunction:
    graph = shared.graph
    weights = {name for op in graph.ops if op.signature.is_weighted for name in op.inputs[1:]}
    constants = {
        name: replace(tensor, data=_constant(tensor.data, shared.quants[shared.families[name]]))
        for name, tensor in graph.tensors.items()
        if tensor.data is not None and name not in weights
    }
    return float_step(
        graph.with_tensors(constants), lambda _, op: _computed(graph, op, rounds[shared.families[op.outputs[0]]])
    )


def _constant(data: Array, quant: Quant) -> Array:
    return _rounding([quant], 1)(data.astype(np.float32, copy=True))


def _computed(graph: Graph, op: Op, rounded: Round) -> Callable[..., Any]:
    """What ``op`` computes, rounded; codes that are only moved are rounded already."""
    if op.kind == "quantize":
        return lambda x: rounded(x.copy())
    compute = OPERATORS[op.kind].compute(graph, op)
    return compute if op.kind in MOVING_KINDS else lambda *given: rounded(compute(*given))
