"""The activation functions inside a recurrent cell, of operators that every runtime has."""

from __future__ import annotations

from typing import Any

from edge_tqs.read.keras.layers.activation import DEFAULT_SLOPE, describe_activation
from edge_tqs.read.keras.layers.builder import GraphBuilder, KerasLayer

#: What ``apply`` knows, by Keras' names.
FUNCTIONS = ("linear", "tanh", "sigmoid", "relu", "relu6", "hard_sigmoid", "leaky_relu", "elu", "silu", "swish")
_ONE_OPERATOR: dict[str, tuple[str, dict[str, Any]]] = {
    "tanh": ("tanh", {}),
    "sigmoid": ("logistic", {}),
    "elu": ("elu", {}),
    "relu": ("leaky_relu", {"alpha": 0.0}),
    "leaky_relu": ("leaky_relu", {"alpha": DEFAULT_SLOPE}),
}


def check_function(layer: KerasLayer, option: str) -> str:
    """The name of the function that ``option`` holds; ModelError when it is not one of FUNCTIONS."""
    function: Any = layer.config.get(option)
    name = describe_activation(function)
    if name not in FUNCTIONS or not (function is None or isinstance(function, str)):
        raise layer.refuse(f"{option} {name} is not supported", hint=f"Supported: {', '.join(FUNCTIONS)}.")
    return name


def apply(layer: KerasLayer, builder: GraphBuilder, option: str, out: str, x: str) -> str:
    """The function that ``option`` names, of ``x``; written to ``out``, but for linear, which is ``x`` itself."""
    name = check_function(layer, option)
    if name == "linear":
        return x
    if name in _ONE_OPERATOR:
        kind, attrs = _ONE_OPERATOR[name]
        return builder.op(kind, out, [x], **attrs)
    if name in ("silu", "swish"):
        return builder.op("mul", out, [x, builder.op("logistic", f"{out}/sigmoid", [x])])
    if name == "relu6":
        return _limited(layer, builder, out, x, 6.0)
    # hard_sigmoid, Keras 3: relu6(x + 3) / 6
    scaled = builder.op("mul", f"{out}/scaled", [x, _constant(layer, builder, x, 1 / 6)])
    lifted = builder.op("add", f"{out}/lifted", [scaled, _constant(layer, builder, x, 0.5)])
    return _limited(layer, builder, out, lifted, 1.0)


def _limited(layer: KerasLayer, builder: GraphBuilder, out: str, x: str, most: float) -> str:
    """min(max(x, 0), most) as most - max(most - max(x, 0), 0)."""
    limit = _constant(layer, builder, x, most)
    positive = builder.op("leaky_relu", f"{out}/positive", [x], alpha=0.0)
    below = builder.op("leaky_relu", f"{out}/below", [builder.op("sub", f"{out}/left", [limit, positive])], alpha=0.0)
    return builder.op("sub", out, [limit, below])


def _constant(layer: KerasLayer, builder: GraphBuilder, x: str, value: float) -> str:
    """``value`` in the shape of ``x``: one tensor a layer, which all steps and gates of that shape read."""
    shape = builder.shape(x)
    return builder.filled(f"{layer.name}/constant_{value:.3f}_{shape[-1]}", shape, value)
