"""Attention, head by head: softmax(beta q k') v, between dense layers on each sample.

With a causal mask each sample looks at its own past alone: its row of the product, its softmax and its sum run over the
samples that it sees, which needs no mask and is exact in codes.
"""

from __future__ import annotations

import math

import numpy as np

from edge_tqs.read.keras.layers.builder import GraphBuilder, KerasLayer, Weight
from edge_tqs.read.keras.layers.call import arguments

_MASKS = ("mask", "attention_mask", "query_mask", "value_mask", "key_mask")


def read_multi_head_attention(layer: KerasLayer, builder: GraphBuilder) -> None:
    """MultiHeadAttention and GroupedQueryAttention: query, value and key are split over the heads.

    Kernels of query, key, value (in, heads, d) and of the output (heads, d, out); biases (heads, d) and (out,).
    """
    query, value, key, causal = _operands(layer, builder)
    if layer.config.get("attention_axes") not in (None, 1, (1,), [1]):
        raise layer.refuse(f"attention_axes={layer.config['attention_axes']} is not supported", hint="Leave it out.")
    name, weights = layer.name, layer.weights
    heads, depth = weights["query/kernel"].data.shape[1:]
    shared = heads // weights["key/kernel"].data.shape[1]
    beta = 1.0 / math.sqrt(depth)
    held: dict[tuple[str, int], str] = {}

    def project(what: str, x: str, head: int) -> str:
        if (what, head) not in held:
            kernel, bias = weights[f"{what}/kernel"], weights.get(f"{what}/bias")
            of_head = None if bias is None else Weight(bias.path, bias.data[head], f"/{head}")
            cut = Weight(kernel.path, kernel.data[:, head], f"/{head}")
            held[what, head] = builder.dense(f"{name}/{what}/{head}", x, cut, of_head)
        return held[what, head]

    parts = []
    for head in range(heads):
        q = project("query", query, head)
        k, v = project("key", key, head // shared), project("value", value, head // shared)
        parts.append(_attend(builder, name, f"{name}/{head}", (q, k, v), beta, causal))
    joined = builder.concat(f"{name}/heads", parts, axis=2)
    kernel = weights["attention_output/kernel"]
    whole = Weight(kernel.path, kernel.data.reshape(-1, kernel.data.shape[-1]))
    builder.value = builder.dense(f"{name}/y", joined, whole, weights.get("attention_output/bias"))


def read_attention(layer: KerasLayer, builder: GraphBuilder) -> None:
    """Attention with dot products; its scale, where it has one, goes into the softmax."""
    query, value, key, causal = _operands(layer, builder)
    if layer.config["score_mode"] != "dot":
        raise layer.refuse(f"score_mode={layer.config['score_mode']} is not supported", hint="Use score_mode='dot'.")
    beta = float(layer.weights["scale"].data) if "scale" in layer.weights else 1.0
    if beta <= 0:
        raise layer.refuse(f"its trained scale {beta:g} is not positive", hint="Train it with use_scale=False.")
    builder.value = _attend(builder, layer.name, layer.name, (query, key, value), beta, causal)


def _operands(layer: KerasLayer, builder: GraphBuilder) -> tuple[str, str, str, bool]:
    """Query, value, key, and whether the mask is causal."""
    args, options = arguments(layer, builder)
    names = [*(args[0] if args and isinstance(args[0], list) else args)]
    given = dict(zip(("query", "value", "key"), names, strict=False)) | options
    query, value = str(given.get("query")), str(given.get("value"))
    masked = [name for name in _MASKS if given.get(name) is not None]
    if masked or given.get("return_attention_scores") or len(names) > 3:
        what = ", ".join(masked) or "return_attention_scores"
        raise layer.refuse(f"{what} is not supported", hint="Only use_causal_mask is.")
    key = str(given["key"]) if given.get("key") is not None else value
    if any(not isinstance(given[x], str | None) for x in ("query", "value", "key") if x in given) or any(
        len(builder.shape(x)) != 3 for x in (query, value, key)
    ):
        raise layer.refuse("its query, value and key must be sequences (W, C)", hint="Keep their time axis.")
    return query, value, key, bool(given.get("use_causal_mask"))


def _attend(
    builder: GraphBuilder, layer: str, name: str, operands: tuple[str, str, str], beta: float, causal: bool
) -> str:
    """(1, T, d) of q (1, T, k), k (1, S, k) and v (1, S, d). All heads share the scale of their scores, and so a table
    of exponentials.
    """
    q, k, v = operands
    rows, columns, width = builder.shape(q)[1], builder.shape(k)[1], builder.shape(v)[2]
    attrs = {"beta": float(np.float32(beta))}

    def weighted(part: str, query: str, count: int) -> str:
        length = builder.shape(query)[1]
        seen = [_samples(builder, f"{part}/{label}", x, 0, count) for label, x in (("k", k), ("v", v))]
        with builder.grouped(part, layer):
            shape = (1, length, count)
            scores = builder.op("batch_matmul", f"{part}/scores", [query, seen[0]], shape, transposed=True)
        chances = builder.op("softmax", f"{part}/weights", [scores], attrs=attrs)
        return builder.op("batch_matmul", f"{part}/y", [chances, seen[1]], (1, length, width), transposed=False)

    if not causal or rows == 1 == columns:
        return weighted(f"{name}/all", q, columns)
    parts = []
    for row in range(rows):
        part = f"{name}/{row}"
        parts.append(weighted(part, _samples(builder, f"{part}/q", q, row, 1), min(row + 1, columns)))
    return builder.concat(f"{name}/rows", parts, axis=1)


def _samples(builder: GraphBuilder, out: str, x: str, begin: int, size: int) -> str:
    _, length, channels = builder.shape(x)
    if size == length:
        return x
    return builder.op("slice", out, [x], (1, size, channels), axis=1, begin=begin, size=size)
