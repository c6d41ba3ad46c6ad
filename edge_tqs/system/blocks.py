"""What a graph's output means: one sample or a block of them, and which of its channels is fed back to which input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from edge_tqs.graph.graph import Graph, Op
from edge_tqs.system.system import checked_feedback, read_block


def rolled_out(graph: Graph, feedback: Sequence[int | None] | None, steps: int | None) -> Graph:
    """``graph``, whose output is as the last layer left it, with what its values are and what becomes of them."""
    forecast = graph.forecast
    made, outputs = read_block(
        graph.tensors[graph.output].shape[1:], forecast.window, forecast.channels, feedback, steps
    )
    sources = checked_feedback(graph.name, feedback, forecast.channels, outputs)
    forecast = replace(forecast, feedback=sources, steps=made, outputs=outputs)
    forecast.check(graph.name, graph.tensors[graph.output].size)
    return replace(_flat_output(graph), forecast=forecast).check()


def _flat_output(graph: Graph) -> Graph:
    """``graph`` with its output as (1, values): without a reshape that only gave it another shape, or with one more."""
    output = graph.tensors[graph.output]
    flat = (1, output.size)
    if output.shape == flat:
        return graph
    maker = next((op for op in graph.ops if graph.output in op.outputs), None)
    read = {name for op in graph.ops for name in op.inputs} | {state.output for state in graph.states}
    if maker is not None and maker.kind == "reshape" and graph.output not in read:
        before = graph.tensors[maker.inputs[0]]
        if before.shape == flat and before.data is None:
            tensors = {name: tensor for name, tensor in graph.tensors.items() if name != graph.output}
            ops = tuple(op for op in graph.ops if op is not maker)
            return replace(graph, tensors=tensors, ops=ops, output=before.name)
    name = f"{graph.output}/samples"
    tensors = {**graph.tensors, name: replace(output, name=name, shape=flat, group="")}
    return replace(graph, tensors=tensors, ops=(*graph.ops, Op("reshape", (graph.output,), (name,))), output=name)
