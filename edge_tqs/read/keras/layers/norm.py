"""Normalisations: BatchNormalization, LayerNormalization, Normalization, Rescaling.

All but LayerNormalization are a scale and an offset for each channel. Those of BatchNormalization go into the layer
with weights right in front of it, where nothing else reads that one's output; else they are a depthwise_1d of one tap,
which rounds one weight a row, that is not at all, at any width.
"""

from __future__ import annotations

import numpy as np

from edge_tqs.graph.graph import Array
from edge_tqs.read.keras.layers.builder import GraphBuilder, KerasLayer, Weight


def read_batch_normalization(layer: KerasLayer, builder: GraphBuilder) -> None:
    """Over the last axis, as after training: gamma * (x - moving mean) / sqrt(moving variance + epsilon) + beta."""
    _check_axis(layer)
    weights = layer.weights
    mean, variance = (weights[name].data.astype(np.float64) for name in ("moving_mean", "moving_variance"))
    gamma, beta = weights.get("gamma"), weights.get("beta")
    scale = (1.0 if gamma is None else gamma.data) / np.sqrt(variance + layer.config["epsilon"])
    shift = (0.0 if beta is None else beta.data) - mean * scale
    offset = Weight((beta or weights["moving_mean"]).path, _float(shift))
    if not builder.fold(_float(scale), offset):
        factor = Weight((gamma or weights["moving_variance"]).path, _float(scale))
        builder.value = builder.scaled(f"{layer.name}/y", builder.value, factor, offset)


def read_normalization(layer: KerasLayer, builder: GraphBuilder) -> None:
    """(x - mean) / max(sqrt(variance), 1e-7), adapted or given, or its inverse; one value a channel or one for all."""
    _check_axis(layer, none=True)
    channels = builder.shape(builder.value)[-1]
    given = [layer.weights[name].data if name in layer.weights else layer.config[name] for name in ("mean", "variance")]
    if any(value is None or np.size(value) not in (1, channels) for value in given):
        raise layer.refuse(f"it has no mean and variance for {channels} channels", hint="Adapt it before saving.")
    mean, variance = (np.broadcast_to(np.asarray(value, np.float64).reshape(-1), (channels,)) for value in given)
    deviation = np.maximum(np.sqrt(variance), 1e-7)
    scale, shift = (deviation, mean) if layer.config["invert"] else (1 / deviation, -mean / deviation)
    _apply(layer, builder, scale, shift)


def read_rescaling(layer: KerasLayer, builder: GraphBuilder) -> None:
    """Scale * x + offset; numbers, or one a channel."""
    channels = builder.shape(builder.value)[-1]
    given = [np.asarray(layer.config[name], np.float64).reshape(-1) for name in ("scale", "offset")]
    if any(value.size not in (1, channels) for value in given):
        raise layer.refuse(f"its scale or offset is neither a number nor one for each of {channels} channels")
    scale, shift = (np.broadcast_to(value, (channels,)) for value in given)
    _apply(layer, builder, scale, shift)


def read_layer_normalization(layer: KerasLayer, builder: GraphBuilder) -> None:
    """Over the channels: d = x - mean(x); gamma * d / sqrt(mean(d * d) + epsilon) + beta.

    Channels are turned into samples, over which "mean" goes and a single sample is repeated, and back.
    """
    _check_axis(layer)
    if layer.config.get("rms_scaling"):
        raise layer.refuse("rms_scaling=True is not supported", hint="Train it with rms_scaling=False.")
    name, x = layer.name, builder.value
    shape = builder.shape(x)
    length, channels = (1, shape[1]) if len(shape) == 2 else shape[1:]
    turned, single = (1, channels, length), (1, 1, length)
    kind = "reshape" if length == 1 else "transpose"
    x = builder.op(kind, f"{name}/channels", [x], turned)
    mean = builder.op("mean", f"{name}/mean", [x], single)
    difference = builder.op("sub", f"{name}/difference", [x, mean])
    squares = builder.op("mul", f"{name}/squares", [difference, difference])
    variance = builder.op("mean", f"{name}/variance", [squares], single)
    epsilon = builder.constant(f"{name}/epsilon", np.full(single, layer.config["epsilon"]))
    under_root = builder.op("add", f"{name}/under_root", [variance, epsilon])
    inverse = builder.op("rsqrt", f"{name}/inverse", [under_root])
    unit = builder.op("mul", f"{name}/unit", [difference, inverse])
    gamma, beta = layer.weights.get("gamma"), layer.weights.get("beta")
    builder.value = builder.op(kind, f"{name}/normal", [unit], shape)
    if gamma is not None or beta is not None:
        scale = gamma or Weight(f"{name}/gamma", np.ones(channels, np.float32))
        builder.value = builder.scaled(f"{name}/y", builder.value, scale, beta)


def _apply(layer: KerasLayer, builder: GraphBuilder, scale: Array, shift: Array) -> None:
    factor, offset = Weight(f"{layer.name}/scale", _float(scale)), Weight(f"{layer.name}/offset", _float(shift))
    builder.value = builder.scaled(f"{layer.name}/y", builder.value, factor, offset if np.any(shift) else None)


def _float(values: Array) -> Array:
    return np.asarray(values, np.float64).astype(np.float32)


def _check_axis(layer: KerasLayer, *, none: bool = False) -> None:
    """Raise ModelError unless it is the last axis of the layer's input, that of the channels."""
    axis = layer.config["axis"]
    axes = [axis] if isinstance(axis, int) else list(axis or ())
    last = layer.ranks[0] - 1 if layer.ranks else -1
    if [a for a in axes if a not in (-1, last)] or len(axes) > 1 or not (axes or none):
        raise layer.refuse(f"axis={axis} is not supported, only that of the channels", hint="Train it with axis=-1.")
