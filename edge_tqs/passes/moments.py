"""What each weight reads in a forecaster's own float rollouts: mean and second moments of its inputs.

They do not depend on the BLAS, its threads or its blocks, though a rollout feeds its own outputs back and a chaotic one
turns a last bit into another trajectory. Each matrix product is of numbers on a grid, so coarse that its sums are whole
numbers of that grid below 2^53, exact in float64 in any order; all between two products is done element by element, in
float64, and put on the grid again. Another numpy's exp or tanh, whose last bit may differ, is seen only where a value
lies within that bit of an edge of the grid: once in 10^9 values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from edge_tqs.graph.graph import Array, Graph, Op, State
from edge_tqs.graph.rollout import closed_loop
from edge_tqs.operators import OPERATORS
from edge_tqs.passes import interpret

#: Evaluations of the graph's step that a rollout has at most, unless fewer than LEAST_STEPS samples were predicted.
EVALUATIONS, LEAST_STEPS = 2048, 8
#: Forecasts of a rollout whose inputs count, evenly spread, and the share of them that is early.
COUNTED, EARLY = 32, 8
#: Bits of a value in a product, at most, and in a second moment.
PRODUCT_BITS, MOMENT_BITS = 20, 16
#: Bits that float64 holds of a whole number.
EXACT_BITS = 53
#: Rollouts that leave this many standard deviations, and all that the windows hold, no longer count.
RUNAWAY = 5.0


@dataclass(frozen=True, eq=False)
class Moments:
    """Sums over the ``count`` times that a weight's rows were evaluated: products (G, K, K) and inputs (G, K).

    G groups of rows have inputs of their own: one of most layers, the channels of a depthwise one.
    """

    products: Array
    inputs: Array
    count: int

    def __add__(self, other: Moments) -> Moments:
        return Moments(self.products + other.products, self.inputs + other.inputs, self.count + other.count)

    @property
    def mean(self) -> Array:
        """(G, K)."""
        made: Array = self.inputs / self.count
        return made

    @property
    def second(self) -> Array:
        """(G, K, K)."""
        made: Array = self.products / self.count
        return made


@dataclass(frozen=True, eq=False)
class InputMoments:
    """Moments by the name of the weight's tensor: of the first steps of the rollouts, near the windows, and of all."""

    early: Mapping[str, Moments]
    all: Mapping[str, Moments]


def steps_seen(graph: Graph, horizon: int) -> int:
    """Steps of the rollouts that `input_moments` makes, at most ``horizon``."""
    each = graph.forecast.window if graph.forecast.recurrence == "windowed" else 1
    return min(horizon, max(LEAST_STEPS, EVALUATIONS // each))


def input_moments(graph: Graph, windows: Array, horizon: int) -> InputMoments:
    """Moments of what the weights of a float ``graph`` read, over rollouts of ``windows`` (N, W, F) or longer.

    The rollouts are of ``horizon`` steps. A weight that several operators read has the sum over them. One that is not
    reached, as all rollouts had run away, is left out.
    """
    forecast = graph.forecast
    weighted = [op for op in graph.ops if op.signature.is_weighted]
    read = list(dict.fromkeys(op.inputs[0] for op in weighted))
    probed = with_probes(_on_grid(graph), read)
    step = interpret.float_step(probed, _exact)
    states = tuple(state.astype(np.float64) for state in interpret.zero_states(probed, len(windows)))
    own = len(graph.states)
    idle = states[own:]
    turns = forecast.window if forecast.recurrence == "windowed" else 1
    forecasts = -(-horizon // forecast.steps) if forecast.recurrence != "stateful" else forecast.window + horizon - 1
    last_early = (forecasts - 1) // EARLY
    counted = set(np.linspace(0, forecasts - 1, min(forecasts, COUNTED)).round().astype(int).tolist())
    counted |= set(range(min(last_early + 1, COUNTED // EARLY)))
    measured = [channel for channel in range(forecast.channels) if channel not in forecast.whole_values()]
    limit = np.inf if forecast.driven else max(RUNAWAY, float(np.abs(windows[..., measured]).max(initial=0)))
    alive = np.ones(len(windows), bool)
    reads = [(op.inputs[1], op.inputs[0], _reader(graph, op)) for op in weighted]
    early, late = dict[str, Moments](), dict[str, Moments]()
    turn = 0

    def observed(x: Array, given: tuple[Array, ...]) -> tuple[Array, tuple[Array, ...]]:
        nonlocal turn
        alive[~(np.abs(x[..., measured]).reshape(len(x), -1).max(axis=1, initial=0) <= limit)] = False
        y, found = step(np.where(np.isfinite(x), x, 0.0), given + idle)
        place, turn = turn // turns, turn + 1
        if place in counted and alive.any():
            values = dict(zip(read, found[own:], strict=True))
            for weight, source, rows in reads:
                made = _moments(rows(values[source]), alive)
                into = early if place <= last_early else late
                into[weight] = into[weight] + made if weight in into else made
        return y, found[:own]

    with np.errstate(over="ignore", invalid="ignore"):
        closed_loop(observed, forecast, windows.astype(np.float64), horizon, states[:own], "float")
    whole = {name: early[name] + late[name] if name in late else early[name] for name in early}
    return InputMoments(early, whole)


def with_probes(graph: Graph, names: Iterable[str]) -> Graph:
    """``graph`` with one more state for each name, whose output is that tensor: so its step returns them all."""
    tensors, probes = dict(graph.tensors), []
    for name in names:
        idle = f"{name}?"
        tensors[idle] = replace(graph.tensors[name], name=idle)
        probes.append(State(idle, idle, name))
    return replace(graph, tensors=tensors, states=(*graph.states, *probes))


def rounded_to(values: Array, bits: int) -> Array:
    """``values`` in float64 as whole numbers of at most ``bits`` bits of a power of two, which the largest decides.

    What is not finite becomes 0.
    """
    values = values.astype(np.float64)
    largest = float(np.abs(values).max(initial=0))
    if not np.isfinite(largest):
        values = np.where(np.isfinite(values), values, 0.0)
        largest = float(np.abs(values).max(initial=0))
    if largest == 0:
        return values
    step = 2.0 ** (int(np.frexp(largest)[1]) - bits)
    rounded: Array = np.rint(values / step) * step
    return rounded


def _bits(terms: int) -> int:
    """Of each of two factors, so that the sum of ``terms`` products is exact."""
    return min(PRODUCT_BITS, (EXACT_BITS - int(np.ceil(np.log2(max(terms, 1))))) // 2)


def _on_grid(graph: Graph) -> Graph:
    """``graph`` in float64, its weights on the grid of their products."""
    weights = {op.inputs[1] for op in graph.ops if op.signature.is_weighted}
    changed = {}
    for name, tensor in graph.tensors.items():
        if tensor.data is not None:
            data = tensor.data.astype(np.float64)
            changed[name] = replace(tensor, data=rounded_to(data, _bits(data[0].size)) if name in weights else data)
    return graph.with_tensors(changed)


def _exact(graph: Graph, op: Op) -> Callable[..., Any]:
    """What ``op`` computes, the factors of its products on their grids."""
    compute = OPERATORS[op.kind].compute(graph, op)
    if op.signature.is_weighted:
        bits = _bits(graph.tensors[op.inputs[1]].size // graph.tensors[op.inputs[1]].shape[0])
        return lambda x, *constants: compute(rounded_to(x, bits), *constants)
    if op.kind == "batch_matmul":

        def multiply(a: Array, b: Array) -> Any:
            bits = _bits(a.shape[-1])
            return compute(rounded_to(a, bits), rounded_to(b, bits))

        return multiply
    return compute


def _reader(graph: Graph, op: Op) -> Callable[[Array], Array]:
    reads = OPERATORS[op.kind].reads
    assert reads is not None, f"{op.kind} has a weight, and does not say what its rows read"
    return reads(graph, op)


def _moments(rows: Array, alive: Array) -> Moments:
    """Of (G, N, P, K), the rollouts that are ``alive`` (N,); one of N = 1 is the same for all."""
    kept = rows[:, alive] if rows.shape[1] == len(alive) else rows
    flat = rounded_to(np.ascontiguousarray(kept).reshape(len(rows), -1, rows.shape[-1]), MOMENT_BITS)
    return Moments(flat.swapaxes(1, 2) @ flat, flat.sum(axis=1), flat.shape[1])
