"""The integer graph in numpy, bit for bit as tflite-micro runs it: the reference of every device.

Like interpret, the graph is compiled once into closures over numbered slots. One-input operators become tables of 256
codes, two-input operators tables of 256 x 256, both made with integer's arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_tqs.errors import ModelError
from edge_tqs.graph.graph import CODE_TYPES, Array, Graph, Op
from edge_tqs.graph.rescale import rescaling
from edge_tqs.graph.rollout import Rollout, StepFunction, closed_loop
from edge_tqs.operators import OPERATORS
from edge_tqs.operators.arithmetic import int8 as integer
from edge_tqs.operators.arithmetic import int16 as integer16
from edge_tqs.passes.interpret import compile_function

Slots = list[Any]
Action = Callable[[Slots], None]


def integer_step(graph: Graph) -> StepFunction:
    """Compile an integer ``graph`` to a batched StepFunction on its int8 or int16 codes.

    x is (N, W, F) for recurrence "none", else (N, F); states are (N, width). Raises ModelError for a graph that is not
    quantised or that no int32 accumulator can hold.
    """
    evaluate = _evaluation(graph)
    names = tuple(graph.tensors)
    y_slot, state_outputs = names.index(graph.output), [names.index(state.output) for state in graph.states]

    def step(x: Array, states: tuple[Array, ...]) -> tuple[Array, tuple[Array, ...]]:
        values = evaluate(x, states)
        return values[y_slot], tuple(values[slot] for slot in state_outputs)

    return step


def integer_tensors(graph: Graph) -> Callable[[Array, tuple[Array, ...]], dict[str, Array]]:
    """Like integer_step, but gives every tensor of the evaluation by name, constants included; batched likewise."""
    evaluate = _evaluation(graph)
    return lambda x, states: dict(zip(graph.tensors, evaluate(x, states), strict=True))


def integer_operator(graph: Graph, op: Op) -> Callable[..., Array]:
    """``op`` alone: its inputs, batched activations and constants in order, to its first output."""
    names = (*op.inputs, *op.outputs)
    slots = {name: index for index, name in enumerate(names)}
    action = _compile(graph, op, slots)

    def apply(*inputs: Array) -> Array:
        values: Slots = [*inputs, *[None] * len(op.outputs)]
        action(values)
        result: Array = values[len(inputs)]
        return result

    return apply


def _evaluation(graph: Graph) -> Callable[[Array, tuple[Array, ...]], Slots]:
    """The graph as a function of x and the states before it to all its tensors, in the order of ``graph.tensors``."""
    slots = {name: index for index, name in enumerate(graph.tensors)}
    initial: Slots = [tensor.data for tensor in graph.tensors.values()]
    actions = [_compile(graph, op, slots) for op in graph.ops]
    x_slot, state_inputs = slots[graph.input], [slots[state.input] for state in graph.states]

    def evaluate(x: Array, states: tuple[Array, ...]) -> Slots:
        values = initial.copy()
        values[x_slot] = x
        for slot, state in zip(state_inputs, states, strict=True):
            values[slot] = state
        for action in actions:
            action(values)
        return values

    return evaluate


def zero_states(graph: Graph, count: int) -> tuple[Array, ...]:
    """The states of ``count`` rollouts at reset: the code of 0.0, one (count, width) array of codes a state."""
    dtype = code_type(graph)
    return tuple(
        np.full((count, *graph.tensors[state.input].shape[1:]), graph.quant(state.input).zero_point, dtype)
        for state in graph.states
    )


def integer_rollout(graph: Graph, seeds_codes: Array, horizon: int, truth: Array | None = None) -> Rollout:
    """Roll ``seeds_codes`` (N, W, F codes) forward by ``horizon`` steps; outputs are codes.

    With ``truth`` (N, horizon, outputs codes of x) teacher-forced, as `closed_loop` says.
    """
    step, states = integer_step(graph), zero_states(graph, seeds_codes.shape[0])
    return closed_loop(step, graph.forecast, seeds_codes, horizon, states, "integer", truth, rescaling(graph))


def encode(graph: Graph, values: Array) -> Array:
    """Values in the model's units, (..., F), to codes of x, int8 or int16."""
    if graph.activations == "int16":
        return integer16.quantize_activations(values, graph.quant(graph.input))
    return integer.quantize_activations(values, graph.quant(graph.input))


def decode(graph: Graph, codes: Array) -> npt.NDArray[np.float32]:
    """Codes of y, (..., outputs), to values in the model's units."""
    return integer.dequantize_activations(codes, graph.quant(graph.output))


def code_type(graph: Graph) -> np.dtype[Any]:
    """The numpy type of the graph's codes. Raises ModelError for a graph that is not quantised."""
    if graph.activations not in CODE_TYPES:
        raise ModelError(f"{graph.name}: tensor {graph.input} is not quantised")
    return CODE_TYPES[graph.activations]


def _compile(graph: Graph, op: Op, slots: dict[str, int]) -> Action:
    inputs = [slots[name] for name in op.inputs]
    outputs = [slots[name] for name in op.outputs]
    return compile_function(OPERATORS[op.kind].integer(graph, op), inputs, outputs)
