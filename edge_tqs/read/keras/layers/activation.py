"""Activations: those fused into a dense layer, and the layers Activation, ReLU, LeakyReLU and ELU."""

from __future__ import annotations

import math
from typing import Any

from edge_tqs.operators.arithmetic.functions import DEFAULTS, FUNCTIONS
from edge_tqs.read.keras.layers.builder import GraphBuilder, KerasLayer

#: Activations that are a function of operators/arithmetic/functions.py, by the same name.
KERAS_NAMES = frozenset(
    {
        *("hard_sigmoid", "hard_silu", "hard_tanh", "softplus", "softsign", "gelu", "celu", "selu", "mish"),
        *("log_sigmoid", "squareplus", "sparse_plus", "sparse_sigmoid", "tanh_shrink", "soft_shrink", "hard_shrink"),
        "exponential",
    }
)
#: Keras' names -> the function of operators/arithmetic/functions.py, for those that are nothing else.
TABLES = {
    **{name: name for name in FUNCTIONS if name in KERAS_NAMES},
    "hard_swish": "hard_silu",
}
#: What ``activate`` knows, by Keras' names.
ACTIVATIONS = (
    *("linear", "relu", "relu6", "tanh", "sigmoid", "elu", "leaky_relu", "silu", "swish", "softmax"),
    *TABLES,
)
#: keras.activations.leaky_relu(x, negative_slope=0.2)
DEFAULT_SLOPE = 0.2


def describe_activation(activation: Any) -> str:
    """The name of an activation as Keras writes it into a config: a string, or a dict for a custom one."""
    if activation is None:
        return "linear"
    if isinstance(activation, str):
        return activation
    inner = activation.get("config")
    return inner if isinstance(inner, str) else str(activation.get("class_name"))


def check_activation(layer: KerasLayer, activation: Any) -> str:
    """The activation's name; ModelError when it is not one of ACTIVATIONS, a user's own function included."""
    name = describe_activation(activation)
    if name not in ACTIVATIONS or not (activation is None or isinstance(activation, str)):
        raise layer.refuse(f"activation {name} is not supported", hint=f"Supported: {', '.join(ACTIVATIONS)}.")
    return name


def activate(layer: KerasLayer, builder: GraphBuilder, activation: Any) -> None:
    """Apply a Keras activation to ``builder.value``, fused into the layer with weights before it where that can be."""
    name = check_activation(layer, activation)
    if name == "linear" or (name in ("relu", "relu6") and builder.fuse(name)):
        return
    builder.value = apply_activation(builder, name, f"{layer.name}/{name}", builder.value)


def apply_activation(builder: GraphBuilder, name: str, out: str, x: str) -> str:
    """Any of ACTIVATIONS of the tensor ``x``, as the tensor ``out``; return what it is called (x itself for linear)."""
    if name == "linear":
        return x
    if name in ("tanh", "elu"):
        return builder.op(name, out, [x])
    if name == "sigmoid":
        return builder.op("logistic", out, [x])
    if name in ("silu", "swish"):
        return builder.op("mul", out, [x, builder.op("logistic", f"{out}/sigmoid", [x])])
    if name == "leaky_relu":
        return builder.op("leaky_relu", out, [x], alpha=DEFAULT_SLOPE)
    if name == "relu":
        return builder.op("leaky_relu", out, [x], alpha=0.0)
    if name == "softmax":
        return builder.op("softmax", out, [x], beta=1.0)
    if name == "relu6":
        return apply_function(builder, "relu", out, x, (0.0, 6.0, 0.0))
    return apply_function(builder, TABLES[name], out, x)


def apply_function(
    builder: GraphBuilder, name: str, out: str, x: str, parameters: tuple[float, ...] | None = None
) -> str:
    """One of operators/arithmetic/functions.py, with Keras' own parameters unless they are given."""
    given = DEFAULTS.get(name, ()) if parameters is None else parameters
    return builder.op("function", out, [x], attrs={"name": name, "parameters": given})


def read_activation(layer: KerasLayer, builder: GraphBuilder) -> None:
    """Activation(name)."""
    activate(layer, builder, layer.config["activation"])


def read_relu(layer: KerasLayer, builder: GraphBuilder) -> None:
    """ReLU(max_value, negative_slope, threshold)."""
    config = layer.config
    limit, slope, threshold = config["max_value"], float(config["negative_slope"]), float(config["threshold"])
    if threshold or (limit is not None and (limit != 6.0 or slope)):
        parameters = (slope, math.inf if limit is None else float(limit), threshold)
        builder.value = apply_function(builder, "relu", f"{layer.name}/relu", builder.value, parameters)
    elif slope:
        _leak(layer, builder, slope)
    else:
        activate(layer, builder, "relu" if limit is None else "relu6")


def read_leaky_relu(layer: KerasLayer, builder: GraphBuilder) -> None:
    """LeakyReLU(negative_slope)."""
    _leak(layer, builder, float(layer.config["negative_slope"]))


def read_elu(layer: KerasLayer, builder: GraphBuilder) -> None:
    """ELU(alpha); TFLite's own where alpha is 1."""
    alpha = float(layer.config["alpha"])
    if alpha == 1.0:
        activate(layer, builder, "elu")
    else:
        builder.value = apply_function(builder, "elu", f"{layer.name}/elu", builder.value, (alpha,))


def read_softmax(layer: KerasLayer, builder: GraphBuilder) -> None:
    """Softmax along the channels, or of a sequence over time."""
    axis, rank = layer.config["axis"], layer.ranks[0]
    if rank == 3 and axis in (1, -2):
        builder.value = softmax_over_time(builder, layer.name, builder.value)
        return
    if axis not in (-1, rank - 1):
        raise layer.refuse(f"axis={axis} is not supported", hint="Use the last axis, or that of time.")
    activate(layer, builder, "softmax")


def softmax_over_time(builder: GraphBuilder, name: str, x: str) -> str:
    """The shares of the samples of ``x`` (1, W, C), channel by channel, as attention has them."""
    _, length, channels = builder.shape(x)
    turned = builder.op("transpose", f"{name}/turned", [x], (1, channels, length))
    shares = apply_activation(builder, "softmax", f"{name}/shares", turned)
    return builder.op("transpose", f"{name}/y", [shares], (1, length, channels))


def read_p_relu(layer: KerasLayer, builder: GraphBuilder) -> None:
    """PReLU: relu(x) + alpha (x - relu(x)), alpha a constant a value or, with shared axes, a channel."""
    name, x = layer.name, builder.value
    shape, alpha = builder.shape(x), layer.weights["alpha"].data[None]
    if len(shape) == 2:
        alpha = alpha.reshape(1, -1)
    if alpha.shape not in (shape, (1, 1, shape[-1])):
        raise layer.refuse(f"its alpha {alpha.shape[1:]} does not go with {shape[1:]}", hint="Share alpha over time.")
    positive = builder.op("leaky_relu", f"{name}/positive", [x], alpha=0.0)
    negative = builder.op("sub", f"{name}/negative", [x, positive])
    scaled = builder.op("mul", f"{name}/scaled", [negative, builder.constant(f"{name}/alpha", alpha)], shape)
    builder.value = builder.op("add", f"{name}/y", [positive, scaled])


def _leak(layer: KerasLayer, builder: GraphBuilder, slope: float) -> None:
    builder.value = builder.op("leaky_relu", f"{layer.name}/leaky_relu", [builder.value], alpha=slope)
