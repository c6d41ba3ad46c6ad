"""A graph with its output as it was read: flat, of one sample or a block, with what becomes of its values."""

from __future__ import annotations

from dataclasses import replace

from edge_tqs.graph.graph import Graph, Op
from edge_tqs.system.reading import Said, as_classes, check_kept, read_output

SOFTMAX_NOTE = "It ends in a softmax: its outputs are read as evidence for classes."


def rolled_out(graph: Graph, said: Said) -> tuple[Graph, tuple[str, ...]]:
    """``graph``, whose output is as the last layer left it, with what its values are and what becomes of them.

    A step graph gives one sample, the last of a sequence where ``said.last_only``. Returns also what was read out of
    the graph without being said, in sentences.
    """
    notes: tuple[str, ...] = ()
    forecast = graph.forecast
    if forecast.recurrence != "none":
        said = replace(said, last_only=False)
    if _ends_in_softmax(graph) and (classes := as_classes(said)) != said:
        said, notes = classes, (SOFTMAX_NOTE,)
    found = read_output(graph.tensors[graph.output].shape[1:], forecast.window, forecast.channels, said)
    if found.last_only:
        graph = _last_sample(graph)
    forecast = replace(
        forecast,
        feedback=found.feedback,
        steps=found.steps,
        outputs=found.outputs,
        held=found.held,
        predicted=found.predicted,
        task=found.task,
    )
    check_kept(forecast.feedback, forecast.whole)
    forecast.check(graph.name, graph.tensors[graph.output].size)
    return replace(_flat_output(graph), forecast=forecast).check(), notes


def _ends_in_softmax(graph: Graph) -> bool:
    makers = {name: op for op in graph.ops for name in op.outputs}
    op = makers.get(graph.output)
    while op is not None and op.kind == "reshape":
        op = makers.get(op.inputs[0])
    return op is not None and op.kind == "softmax"


def _last_sample(graph: Graph) -> Graph:
    """``graph`` with the last sample of its output (1, W, values) as its output (1, 1, values)."""
    output = graph.tensors[graph.output]
    _, length, values = output.shape
    name = f"{graph.output}/last"
    made = replace(output, name=name, shape=(1, 1, values), group="")
    op = Op("slice", (graph.output,), (name,), {"axis": 1, "begin": length - 1, "size": 1})
    return replace(graph, tensors={**graph.tensors, name: made}, ops=(*graph.ops, op), output=name)


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
