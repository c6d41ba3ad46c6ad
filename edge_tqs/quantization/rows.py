"""Whether the codes of an integer graph look up the row of each whole number that a channel may hold, and no other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edge_tqs.errors import ModelError
from edge_tqs.graph.graph import Array, Graph, Op
from edge_tqs.operators import OPERATORS
from edge_tqs.quantization import simulate

#: Codes that a sum of another runtime may be off.
APART = 1


def check_rows(graph: Graph, quantized: Graph) -> None:
    """Raise ModelError, naming the channel, where a number's own code does not become its row, 1 among zeros.

    quantized: what quantize made of ``graph``, operator by operator. Every number is tried, with what rounds otherwise
    by a code too.
    """
    numbers = graph.forecast.whole_values()
    for place, op in enumerate(graph.ops):
        if op.kind != "function" or op.attrs["name"] != "pulse":
            continue
        before = _before(graph.ops[:place], op.inputs[0])
        count = max(len(values) for values in numbers.values())
        x = np.zeros((count, *graph.tensors[graph.input].shape[1:]), np.float32)
        for channel, values in numbers.items():
            each = values[np.minimum(np.arange(count), len(values) - 1)]
            x[..., channel] = each.reshape(-1, *[1] * (x.ndim - 2))
        made = {graph.input: x}
        codes = {quantized.input: simulate.encode(quantized, x)}
        for index in before:
            _apply(graph, graph.ops[index], made, integer=False)
            _apply(quantized, quantized.ops[index], codes, integer=True)
        wanted = OPERATORS["function"].compute(graph, op)(made[op.inputs[0]])
        lookup = quantized.ops[place]
        quant, limits = quantized.quant(lookup.outputs[0]), np.iinfo(codes[op.inputs[0]].dtype)
        right = np.rint(wanted / quant.scale[0]).astype(int) + quant.zero_point
        for off in (-APART, 0, APART):
            near = np.clip(codes[op.inputs[0]].astype(int) + off, limits.min, limits.max)
            found = {op.inputs[0]: near.astype(limits.dtype)}
            _apply(quantized, lookup, found, integer=True)
            wrong = (found[lookup.outputs[0]].astype(int) != right).reshape(count, -1).any(axis=1)
            if wrong.any():
                raise _too_many(graph, quantized, op, int(np.flatnonzero(wrong)[0]))


def _before(ops: Sequence[Op], name: str) -> list[int]:
    """The operators that make ``name``, in order."""
    wanted, found = {name}, list[int]()
    for index in range(len(ops) - 1, -1, -1):
        if wanted.intersection(ops[index].outputs):
            wanted.update(ops[index].inputs)
            found.insert(0, index)
    return found


def _apply(graph: Graph, op: Op, values: dict[str, Array], *, integer: bool) -> None:
    operator = OPERATORS[op.kind]
    inputs = [values[name] if name in values else graph.tensors[name].data for name in op.inputs]
    made = (operator.integer if integer else operator.compute)(graph, op)(*inputs)
    values |= zip(op.outputs, made if isinstance(made, tuple) else (made,), strict=True)


def _too_many(graph: Graph, quantized: Graph, op: Op, number: int) -> ModelError:
    rows = graph.tensors[op.outputs[0]].shape[-1]
    forecast = graph.forecast
    names = [forecast.columns[c] if forecast.columns else f"channel {c}" for c, _ in forecast.whole]
    layer = op.outputs[0].rsplit("/", 1)[0]
    other = (
        "build with --activations int16, whose codes are finer"
        if quantized.activations == "int8"
        else "look it up in two tables, of number // 16 and of number % 16"
    )
    return ModelError(
        f"layer {layer} (Embedding) looks up {rows} rows by {' and '.join(names)}, and the {quantized.activations} "
        f"codes of its channel do not tell {number} from its neighbours",
        hint=f"Bring the other channels to like ranges under [scaling] in edge-tqs.toml, or {other}.",
    )
