"""Activations: those fused into a dense layer, and the layers Activation, ReLU, LeakyReLU and ELU."""

from __future__ import annotations

from typing import Any

from edge_tqs.layers.builder import GraphBuilder, KerasLayer

#: What ``activate`` knows, by Keras' names.
ACTIVATIONS = ("linear", "relu", "relu6", "tanh", "sigmoid", "elu", "leaky_relu", "silu", "swish")
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
    """Apply a Keras activation to ``builder.value``."""
    name = check_activation(layer, activation)
    x = builder.value
    if name in ("tanh", "elu"):
        builder.value = builder.op(name, f"{layer.name}/{name}", [x])
    elif name == "sigmoid":
        builder.value = builder.op("logistic", f"{layer.name}/sigmoid", [x])
    elif name in ("silu", "swish"):
        gate = builder.op("logistic", f"{layer.name}/sigmoid", [x])
        builder.value = builder.op("mul", f"{layer.name}/silu", [x, gate])
    elif name == "leaky_relu":
        _leak(layer, builder, DEFAULT_SLOPE)
    elif name == "relu" and not builder.fuse("relu"):
        _leak(layer, builder, 0.0)
    elif name == "relu6" and not builder.fuse("relu6"):
        raise layer.refuse("relu6 is supported right after a Dense layer only", hint="Use relu here.")


def read_activation(layer: KerasLayer, builder: GraphBuilder) -> None:
    """Activation(name)."""
    activate(layer, builder, layer.config["activation"])


def read_relu(layer: KerasLayer, builder: GraphBuilder) -> None:
    """ReLU: plain, bounded at 6, or with a negative slope."""
    limit, slope = layer.config["max_value"], layer.config["negative_slope"]
    if layer.config["threshold"] or (limit is not None and (limit != 6.0 or slope)):
        raise layer.refuse("a threshold, or a max_value other than 6, is not supported", hint="Use ReLU().")
    if slope:
        _leak(layer, builder, float(slope))
    else:
        activate(layer, builder, "relu" if limit is None else "relu6")


def read_leaky_relu(layer: KerasLayer, builder: GraphBuilder) -> None:
    """LeakyReLU(negative_slope)."""
    _leak(layer, builder, float(layer.config["negative_slope"]))


def read_elu(layer: KerasLayer, builder: GraphBuilder) -> None:
    """ELU with alpha 1, the one that TFLite has."""
    if layer.config["alpha"] != 1.0:
        raise layer.refuse(f"alpha {layer.config['alpha']} is not supported", hint="Use alpha=1.0.")
    activate(layer, builder, "elu")


def _leak(layer: KerasLayer, builder: GraphBuilder, slope: float) -> None:
    builder.value = builder.op("leaky_relu", f"{layer.name}/leaky_relu", [builder.value], alpha=slope)
