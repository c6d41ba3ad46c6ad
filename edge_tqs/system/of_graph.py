"""A float Graph as a System: traced by TensorFlow, rolled out by the numpy interpreter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from edge_tqs.errors import ModelError
from edge_tqs.graph.graph import Array, Graph
from edge_tqs.passes.interpret import float_rollout
from edge_tqs.passes.output_bias import output_bias
from edge_tqs.system.reading import reading_of
from edge_tqs.system.system import Part, Rollouts, System
from edge_tqs.system.tensorflow_rollout import trace_rollout


def graph_system(graph: Graph) -> System:
    """The system of a float ``graph``. Raises ModelError for one that is not; tracing it, ToolError."""
    for tensor in (tensor for tensors in graph.weights().values() for tensor in tensors):
        if tensor.data is None or tensor.dtype != "float32":
            raise ModelError(f"{graph.name}: weight {tensor.name} is {tensor.dtype}: only a float graph can be scored")
    bias = output_bias(graph)
    biases = dict.fromkeys(op.inputs[2] for op in graph.ops if op.signature.is_weighted and len(op.inputs) == 3)
    constants = tuple(name for name in biases if graph.tensors[name].data is not None)

    def trace(horizon: int, count: int) -> Rollouts:
        return trace_rollout(graph, horizon, count, constants=constants)

    return System(
        name=graph.name,
        window=graph.forecast.window,
        channels=graph.forecast.channels,
        reading=reading_of(graph.forecast),
        weights={source: tuple(_part(graph, t.name) for t in tensors) for source, tensors in graph.weights().items()},
        output_bias=None if bias is None else _part(graph, bias),
        trace=trace,
        whole=graph.forecast.whole,
        stateful=graph.forecast.recurrence == "stateful" and not any(state.delays for state in graph.states),
        whole_values=graph.forecast.whole_values(),
        roll=lambda seeds, horizon: float_rollout(graph, seeds, horizon).outputs,
        constants=constants,
    )


def interpreted_system(graph: Graph) -> System:
    """The same, with other weights too rolled out by the numpy interpreter: TensorFlow is not needed."""

    def trace(horizon: int, count: int) -> Rollouts:
        def rollouts(changed: Mapping[str, Array], seeds: Array) -> Array:
            tensors = {
                name: replace(graph.tensors[name], data=np.asarray(data, np.float32)) for name, data in changed.items()
            }
            return float_rollout(graph.with_tensors(tensors), seeds, horizon).outputs

        return rollouts

    return replace(graph_system(graph), trace=trace)


def _part(graph: Graph, name: str) -> Part:
    data = graph.tensors[name].data
    assert data is not None
    return Part(name, data, (0,))
