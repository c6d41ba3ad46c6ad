"""x r - m r as (x - m) r.

litert-torch writes a LayerNormalization so, with r one over the deviation and m the mean. In float that is the same; in
codes the two products are large and near to each other, and their difference is coarse.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edge_tqs.graph.graph import Op
from edge_tqs.read.tflite.views import ImportedGraph


def centred_first(imported: ImportedGraph) -> None:
    """Replace each such sum in ``imported``; what it was made of is left to those that read it."""
    ops, imported.ops = imported.ops, []
    made: dict[str, Op] = {}
    for op in ops:
        found = _parts(imported, made, op) if op.kind == "add" else None
        kept = op
        if found is not None:
            x, m, r = found
            kept = replace(op, kind="mul", inputs=(_difference(imported, x, m), r))
        imported.ops.append(kept)
        made |= dict.fromkeys(kept.outputs, kept)


def _parts(imported: ImportedGraph, made: dict[str, Op], op: Op) -> tuple[str, str, str] | None:
    """(x, m, r) of x r + -(m r), or of x r + (0 - m r)."""
    for product, negative in (op.inputs, op.inputs[::-1]):
        taken, first = _negated(imported, made.get(negative)), made.get(product)
        second = made.get(taken) if taken else None
        if first is None or second is None or {first.kind, second.kind} != {"mul"}:
            continue
        shared = [name for name in first.inputs if name in second.inputs and name not in _constants(imported)]
        if len(shared) == 1 and len({*first.inputs, *second.inputs}) == 3:
            x, m = (next(name for name in each.inputs if name != shared[0]) for each in (first, second))
            if imported.tensors[x].shape == imported.tensors[op.outputs[0]].shape:
                return x, m, shared[0]
    return None


def _constants(imported: ImportedGraph) -> set[str]:
    return {name for name, tensor in imported.tensors.items() if tensor.data is not None}


def _negated(imported: ImportedGraph, op: Op | None) -> str | None:
    """x of -x."""
    if op is None:
        return None
    if op.kind == "function" and op.attrs["name"] == "negative":
        return op.inputs[0]
    zeros = imported.tensors[op.inputs[0]].data if op.kind == "sub" else None
    return op.inputs[1] if zeros is not None and not np.any(zeros) else None


def _difference(imported: ImportedGraph, x: str, m: str) -> str:
    """x - m, which the variance was computed of mostly."""
    for op in imported.ops:
        if op.kind == "sub" and op.inputs == (x, m):
            return op.outputs[0]
    return imported.op("sub", f"{x}/centred", [x, m], imported.tensors[x].shape)
