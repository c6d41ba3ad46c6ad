"""Codes that are converted from int8 to int16 for products of activations alone, which need not be converted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from edge_tqs.graph.graph import DType, Graph, Op


def read_as_they_are(graph: Graph, type_of: Mapping[str, DType] | None = None) -> dict[str, str]:
    """By copy, the tensor of which it is a conversion from int8 to int16, where only products of two such copies read
    it. The codes of the copy can be those of the tensor less their zero point: then a product of the int8 codes is that
    of the copies.

    type_of: of each activation, where the graph's own say nothing.
    """
    types = type_of or {name: tensor.dtype for name, tensor in graph.tensors.items()}
    kept = {graph.output, *(state.output for state in graph.states)}
    copies = {
        op.outputs[0]: op.inputs[0]
        for op in graph.ops
        if op.kind == "quantize"
        and (types[op.inputs[0]], types[op.outputs[0]]) == ("int8", "int16")
        and op.outputs[0] not in kept
    }
    while True:
        others = {
            name
            for op in graph.ops
            if op.kind != "batch_matmul" or not copies.keys() >= set(op.inputs)
            for name in op.inputs
            if name in copies
        }
        if not others:
            return copies
        copies = {name: source for name, source in copies.items() if name not in others}


def without_conversions(graph: Graph) -> Graph:
    """``graph`` whose products read int8 codes in place of `read_as_they_are`, where scales are the same or not known
    yet. Its operators write what they wrote."""
    copies = read_as_they_are(graph)
    for op in graph.ops:
        if op.kind == "batch_matmul" and copies.keys() >= set(op.inputs) and not _alike(graph, op, copies):
            copies = {name: source for name, source in copies.items() if name not in op.inputs}
    read = {
        name
        for op in graph.ops
        if op.kind != "batch_matmul" or not copies.keys() >= set(op.inputs)
        for name in op.inputs
    }
    ops = tuple(
        replace(op, inputs=tuple(copies[name] for name in op.inputs))
        if op.kind == "batch_matmul" and copies.keys() >= set(op.inputs)
        else op
        for op in graph.ops
        if op.outputs[0] not in copies or op.outputs[0] in read
    )
    left_out = copies.keys() - read
    tensors = {name: tensor for name, tensor in graph.tensors.items() if name not in left_out}
    return replace(graph, ops=ops, tensors=tensors) if copies else graph


def _alike(graph: Graph, op: Op, copies: Mapping[str, str]) -> bool:
    quants = [(graph.tensors[name].quant, graph.tensors[copies[name]].quant) for name in op.inputs]
    return all(one is None or other is None or float(one.scale[0]) == float(other.scale[0]) for one, other in quants)
