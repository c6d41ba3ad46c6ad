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
from edge_tqs.quantization.families import MOVING_KINDS, Family
from edge_tqs.quantization.quantize import SCHEMES, Shared

#: Values of the largest activation in a batch: what a processor's cache holds.
BATCH_VALUES = 1 << 17

#: of a family; None: what int16 codes stand for, which is taken for exact within their reach
Quants = Mapping[Family, Quant | None]
#: what an operator reads, of one family, and what it writes
Edge = tuple[Family, Family]
Round = Callable[[Array], Array]
#: scale, least and greatest code, from the zero point
Ends = tuple[float, float, float]
#: No float32 of an activation is between two of these.
FINE = 2.0**-40


class RoundedRollouts:
    """Rollouts of ``shared.graph``, whose weights are rounded already."""

    def __init__(self, shared: Shared) -> None:
        graph = shared.graph
        self._shared = shared
        self._widest = max(tensor.size for tensor in graph.tensors.values() if tensor.data is None)

    def outputs(
        self,
        seeds: Array,
        horizon: int,
        variants: Sequence[Quants],
        narrowing: Sequence[Mapping[Edge, Quant]] | None = None,
    ) -> Array:
        """(V, N, T, outputs) of ``seeds`` (N, W, F) or (N, W + T, F), each rolled out with each of ``variants``.

        A family that a variant leaves out has the quantisation that it had. ``narrowing``: of each variant, where an
        operator reads int8 codes of what is exact, and which.
        """
        narrowing = narrowing or [{}] * len(variants)
        at_once = max(1, BATCH_VALUES // (self._widest * len(seeds)))
        batches = [slice(n, n + at_once) for n in range(0, len(variants), at_once)]
        return np.concatenate([self._together(seeds, horizon, variants[each], narrowing[each]) for each in batches])

    def _together(
        self, seeds: Array, horizon: int, variants: Sequence[Quants], narrowing: Sequence[Mapping[Edge, Quant]]
    ) -> Array:
        graph, count = self._shared.graph, len(seeds)
        rounds = {
            family: _rounding([_ends(variant.get(family, quant), quant) for variant in variants], count)
            for family, quant in self._shared.quants.items()
        }
        of_x, of_y = (rounds[self._shared.families[name]] for name in (graph.input, graph.output))
        rows = of_x(np.tile(seeds, (len(variants), 1, 1)).astype(np.float32))
        reads = {
            edge: _rounding([_ends(edges.get(edge), quant) for edges in narrowing], count)
            for edge in sorted({edge for edges in narrowing for edge in edges})
            for quant in (self._shared.quants[edge[0]],)
        }
        step = _step(self._shared, rounds, reads)
        with np.errstate(all="ignore"):  # of a range too narrow for a function, which then is no candidate
            states = zero_states(graph, len(rows))
            fed = None if of_y is of_x else lambda y: of_x(y.copy())
            said = closed_loop(step, graph.forecast, rows, horizon, states, "rounded", fed=fed).outputs
        return said.reshape(len(variants), count, *said.shape[1:])


def _rounding(ends: Sequence[Ends], count: int) -> Round:
    """Rounds a batch of ``count`` rows for each of ``ends``, in place."""
    values = np.array(ends).T
    if all(one == ends[0] for one in ends):
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


def _ends(quant: Quant | None, int8: Quant) -> Ends:
    """Of ``quant``; for None of what is as good as exact, as far as int16 codes reach beyond those of ``int8``."""
    if quant is not None:
        return float(quant.scale[0]), LOW - quant.zero_point, HIGH - quant.zero_point
    reach = SCHEMES["int16"].headroom * float(int8.scale[0]) / FINE
    return FINE, reach * (LOW - int8.zero_point), reach * (HIGH - int8.zero_point)


def _step(shared: Shared, rounds: Mapping[Family, Round], reads: Mapping[Edge, Round]) -> StepFunction:
    graph, families = shared.graph, shared.families
    weights = {name for op in graph.ops if op.signature.is_weighted for name in op.inputs[1:]}
    constants = {
        name: replace(tensor, data=_constant(tensor.data, shared.quants[shared.families[name]]))
        for name, tensor in graph.tensors.items()
        if tensor.data is not None and name not in weights
    }

    def computed(_: Graph, op: Op) -> Callable[..., Any]:
        made = families[op.outputs[0]]
        function = _computed(graph, op, rounds[made])
        of_inputs = [reads.get((families[name], made)) if name in families else None for name in op.inputs]
        return function if op.kind == "quantize" or not any(of_inputs) else _reading(function, of_inputs)

    return float_step(graph.with_tensors(constants), computed)


def _reading(function: Callable[..., Any], rounds: Sequence[Round | None]) -> Callable[..., Any]:
    """``function`` of inputs that are rounded first."""
    return lambda *given: function(
        *(x if rounded is None else rounded(x.copy()) for x, rounded in zip(given, rounds, strict=True))
    )


def _constant(data: Array, quant: Quant) -> Array:
    return _rounding([_ends(quant, quant)], 1)(data.astype(np.float32, copy=True))


def _computed(graph: Graph, op: Op, rounded: Round) -> Callable[..., Any]:
    """What ``op`` computes, rounded; codes that are only moved are rounded already."""
    if op.kind == "quantize":
        return lambda x: rounded(x.copy())
    compute = OPERATORS[op.kind].compute(graph, op)
    return compute if op.kind in MOVING_KINDS else lambda *given: rounded(compute(*given))
