"""avg_pool_1d and max_pool_1d: the mean or the largest of ``size`` samples, channel by channel.

With padding "same" the samples beyond the window are left out: a mean is then one of fewer samples. Codes keep their
quantisation; the mean of codes is rounded to the nearest, halves away from code 0.
kernels/internal/reference/integer_ops/pooling.h AveragePool, MaxPool.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from edge_tqs.errors import ModelError
from edge_tqs.graph.graph import Array, Graph, Op
from edge_tqs.graph.shapes import pool_left, pool_length
from edge_tqs.graph.signature import Shape, Signature
from edge_tqs.operators.operator import Builtin, Call, Function, Operator, Reader, Writer

_KINDS = {"avg_pool_1d": "average_pool_2d", "max_pool_1d": "max_pool_2d"}
#: schema.Padding
_PADDINGS = {"same": 0, "valid": 1}
_MOST = 0xFFFF


def _ranges(length: int, op: Op) -> Iterator[tuple[int, int]]:
    """The samples that each output sample covers, from and up to."""
    size, stride, left = op.attrs["size"], op.attrs["stride"], pool_left(length, op.attrs)
    for t in range(pool_length(length, op.attrs)):
        first = t * stride - left
        yield max(first, 0), min(first + size, length)


def _compute(graph: Graph, op: Op) -> Function:
    ranges = list(_ranges(graph.tensors[op.inputs[0]].shape[1], op))
    reduce = np.max if op.kind == "max_pool_1d" else np.mean
    return lambda x: np.stack([reduce(x[:, a:b], axis=1) for a, b in ranges], axis=1)


def _traced(tf: Any, graph: Graph, op: Op) -> Any:
    ranges = list(_ranges(graph.tensors[op.inputs[0]].shape[1], op))
    reduce = tf.reduce_max if op.kind == "max_pool_1d" else tf.reduce_mean
    return lambda x: tf.stack([reduce(x[..., a:b, :], axis=-2) for a, b in ranges], axis=-2)


def _integer(graph: Graph, op: Op) -> Function:
    if op.kind == "max_pool_1d":
        return _compute(graph, op)
    ranges = list(_ranges(graph.tensors[op.inputs[0]].shape[1], op))

    def average(x: Array) -> Array:
        means = []
        for a, b in ranges:
            total, count = x[:, a:b].astype(np.int64).sum(axis=1), b - a
            means.append(np.sign(total) * ((np.abs(total) + count // 2) // count))  # C's division truncates
        codes: Array = np.stack(means, axis=1).astype(x.dtype)
        return codes

    return average


def _call(graph: Graph, op: Op) -> Call:
    _, samples, channels = graph.tensors[op.inputs[0]].shape
    fields = {
        "samples": samples,
        "channels": channels,
        "y_samples": pool_length(samples, op.attrs),
        "size": op.attrs["size"],
        "stride": op.attrs["stride"],
        "left": pool_left(samples, op.attrs),
    }
    if max(fields.values()) > _MOST:
        raise ModelError(f"{graph.name}: {op.kind} to {op.outputs[0]} has numbers beyond {_MOST}: {fields}")
    name = "tqs_avg_pool" if op.kind == "avg_pool_1d" else "tqs_max_pool"
    return Call(f"{name}_s16" if graph.type_of(op) == "int16" else f"{name}_s8", "tqs_pool_t", fields)


#: channels that a kernel computes at a time, by the last part of its name
_FEWEST = {"dsp": 4, "neon": 8}


def _fast(graph: Graph, op: Op, call: Call, kernel: str) -> Call | None:
    takes = graph.tensors[op.inputs[0]].shape[2] >= _FEWEST.get(kernel.rsplit("_", 1)[1], 1)
    return replace(call, kernel=kernel) if takes and (op.kind == "max_pool_1d" or op.attrs["size"] <= 255) else None


def _write(writer: Writer, op: Op, inputs: list[int], outputs: list[int]) -> None:
    size, stride = op.attrs["size"], op.attrs["stride"]
    padding = _PADDINGS[op.attrs["padding"]]
    options = {"padding": padding, "filterWidth": size, "filterHeight": 1, "strideW": stride, "strideH": 1}
    writer.append(_KINDS[op.kind], inputs, outputs, **options)


def _read(reader: Reader, builtin: str, op: Any) -> Op:
    options = op.builtinOptions
    padding = next(name for name, number in _PADDINGS.items() if number == options.padding)
    attrs = {"size": int(options.filterWidth), "stride": int(options.strideW), "padding": padding}
    kind = next(kind for kind, name in _KINDS.items() if name == builtin)
    return Op(kind, (reader.name(op.inputs[0]),), (reader.name(op.outputs[0]),), attrs)


def _fit(attrs: Mapping[str, Any], inputs: Sequence[Shape], outputs: Sequence[Shape]) -> bool:
    x = inputs[0]
    if len(x) != 3 or min(attrs["size"], attrs["stride"]) < 1 or attrs["padding"] not in ("valid", "same"):
        return False
    return outputs == [(x[0], pool_length(x[1], attrs), x[2])]


def _operator(kind: str, builtin: str) -> Operator:
    return Operator(
        kind=kind,
        signature=Signature(1, 1, frozenset({"size", "stride", "padding"}), _fit),
        compute=_compute,
        traced=_traced,
        integer=_integer,
        call=_call,
        fast=_fast,
        builtins={_KINDS[kind]: Builtin(builtin, 2, "Pool2DOptions", 3)},
        write=_write,
        read=_read,
        keeps=True,
    )


AVERAGE = _operator("avg_pool_1d", "AVERAGE_POOL_2D")
MAXIMUM = _operator("max_pool_1d", "MAX_POOL_2D")
