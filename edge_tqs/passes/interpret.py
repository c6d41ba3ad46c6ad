"""The float graph in numpy: what every other form of the model is compared with.

The graph is compiled once into a list of closures over numbered slots, because a windowed rollout evaluates the step
window x horizon times (48 x 96 = 4,608).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any

import numpy as np

from edge_tqs.errors import ModelError
from edge_tqs.graph.graph import Array, Graph, Op
from edge_tqs.graph.rollout import Rollout, StepFunction, closed_loop
from edge_tqs.operators import OPERATORS

Slots = list[Any]
Action = Callable[[Slots], None]


def float_step(graph: Graph, computed: Callable[[Graph, Op], Callable[..., Any]] | None = None) -> StepFunction:
    """Compile ``graph`` (float32, as keras_model.load gives it) to a batched StepFunction.

    x is (N, W, F) for recurrence "none", else (N, F); states are (N, width); everything is float32. computed: what an
    operator computes, in place of what it says itself.
    Raises ModelError when the graph holds an operator or a constant that is not float.
    """
    slots = {name: index for index, name in enumerate(graph.tensors)}
    initial: Slots = [None] * len(slots)
    for name, tensor in graph.tensors.items():
        if tensor.dtype != "float32":
            raise ModelError(f"{graph.name}: tensor {name} is {tensor.dtype}; only a float graph runs in float")
        if tensor.data is not None:
            initial[slots[name]] = tensor.data
    computed = computed or (lambda graph, op: OPERATORS[op.kind].compute(graph, op))
    actions = [
        compile_function(computed(graph, op), [slots[n] for n in op.inputs], [slots[n] for n in op.outputs])
        for op in graph.ops
    ]
    x_slot, y_slot = slots[graph.input], slots[graph.output]
    state_inputs = [slots[state.input] for state in graph.states]
    state_outputs = [slots[state.output] for state in graph.states]

    def step(x: Array, states: tuple[Array, ...]) -> tuple[Array, tuple[Array, ...]]:
        values = initial.copy()
        values[x_slot] = x
        for slot, state in zip(state_inputs, states, strict=True):
            values[slot] = state
        for action in actions:
            action(values)
        return values[y_slot], tuple(values[slot] for slot in state_outputs)

    return step


def zero_states(graph: Graph, count: int) -> tuple[Array, ...]:
    """The states of ``count`` rollouts at reset: float32 zeros, one (count, width) array a state."""
    return tuple(np.zeros((count, *graph.tensors[state.input].shape[1:]), np.float32) for state in graph.states)


def float_rollout(graph: Graph, seeds: Array, horizon: int, truth: Array | None = None) -> Rollout:
    """Roll the float graph from ``seeds`` (N, W, F; float32, the model's units) ``horizon`` steps forward.

    With ``truth`` (N, horizon, outputs) teacher-forced, as `closed_loop` says.
    """
    seeds = np.asarray(seeds, np.float32)
    step, states = float_step(graph), zero_states(graph, seeds.shape[0])
    forced = None if truth is None else np.asarray(truth, np.float32)
    return closed_loop(step, graph.forecast, seeds, horizon, states, "float", forced)


def compile_function(function: Callable[..., Any], inputs: Sequence[int], outputs: Sequence[int]) -> Action:
    """A function over slots: of one output, or of several as a tuple."""
    first, out = inputs[0], outputs[0]
    read = itemgetter(*inputs)

    def apply_to_one(values: Slots) -> None:
        values[out] = function(values[first])

    def apply(values: Slots) -> None:
        values[out] = function(*read(values))

    def apply_for_several(values: Slots) -> None:
        for slot, value in zip(outputs, function(values[first]), strict=True):
            values[slot] = value

    if len(outputs) > 1:
        return apply_for_several
    return apply if len(inputs) > 1 else apply_to_one
