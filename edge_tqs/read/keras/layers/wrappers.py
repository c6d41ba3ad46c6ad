"""Layers around other layers: Bidirectional, TimeDistributed, RNN(cell)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from edge_tqs.read.keras.layers.activation import read_activation, read_elu, read_leaky_relu, read_relu
from edge_tqs.read.keras.layers.builder import GraphBuilder, KerasLayer
from edge_tqs.read.keras.layers.dense import read_dense
from edge_tqs.read.keras.layers.gru import read_gru
from edge_tqs.read.keras.layers.lstm import read_lstm
from edge_tqs.read.keras.layers.shape import read_nothing
from edge_tqs.read.keras.layers.simple_rnn import read_simple_rnn

_RECURRENT: dict[str, Callable[[KerasLayer, GraphBuilder], None]] = {
    "LSTM": read_lstm,
    "GRU": read_gru,
    "SimpleRNN": read_simple_rnn,
}

#: What TimeDistributed may hold: layers whose reader does to a sequence (W, C) what it does to each sample (C,).
SAMPLE_WISE: dict[str, Callable[[KerasLayer, GraphBuilder], None]] = {
    "Dense": read_dense,
    "Activation": read_activation,
    "ReLU": read_relu,
    "LeakyReLU": read_leaky_relu,
    "ELU": read_elu,
    "Flatten": read_nothing,  # a sample (C,) is flat
    "Dropout": read_nothing,
    "AlphaDropout": read_nothing,
    "GaussianDropout": read_nothing,
    "GaussianNoise": read_nothing,
    "ActivityRegularization": read_nothing,
}


def check_wrapper(layer: KerasLayer) -> None:
    """Raise ModelError for options of a wrapper that cannot be built."""
    config = layer.config
    if layer.kind == "TimeDistributed" and config["layer"]["class_name"] not in SAMPLE_WISE:
        raise layer.refuse(
            f"{config['layer']['class_name']} inside it is not supported",
            hint=f"It can hold {', '.join(SAMPLE_WISE)}.",
        )
    if layer.kind == "Bidirectional" and config["merge_mode"] is None:
        raise layer.refuse(
            "merge_mode=None, two separate outputs, is not supported", hint="Use merge_mode concat, sum, mul or ave."
        )
    several = layer.kind == "Bidirectional" or (
        layer.kind == "RNN" and config["cell"]["class_name"] == "StackedRNNCells"
    )
    inner = config["layer"]["config"] if layer.kind == "Bidirectional" else config
    if several and inner["return_state"]:
        raise layer.refuse(
            "return_state=True is supported for a single LSTM, GRU or SimpleRNN only",
            hint="Take the states from such a layer, or set return_state=False.",
        )


def read_time_distributed(layer: KerasLayer, builder: GraphBuilder) -> None:
    """TimeDistributed: the inner layer for each sample."""
    check_wrapper(layer)
    (part,) = layer.parts
    if max(layer.ranks, default=3) > 3:
        raise layer.refuse("samples that are not flat are not supported", hint="Give it a sequence (W, C).")
    SAMPLE_WISE[part.kind](part, builder)


def read_rnn(layer: KerasLayer, builder: GraphBuilder) -> None:
    """RNN(cell) as the cell's layer, RNN(StackedRNNCells) as one such layer behind the other."""
    check_wrapper(layer)
    _check_single_input(layer, builder, several=len(layer.parts) > 1)
    for number, part in enumerate(layer.parts):
        last = number == len(layer.parts) - 1
        _RECURRENT[part.kind](replace(part, last_recurrent=layer.last_recurrent and last), builder)
        builder.inputs = (builder.value,)


def read_bidirectional(layer: KerasLayer, builder: GraphBuilder) -> None:
    """One layer from the window's begin, one from its end, and their outputs joined as merge_mode says."""
    check_wrapper(layer)
    _check_single_input(layer, builder, several=True)
    x, outputs = builder.value, []
    for part in layer.parts:
        builder.value, builder.inputs = x, (x,)
        _RECURRENT[part.kind](part, builder)
        outputs.append(builder.value)
    name, mode, shape = f"{layer.name}/merged", layer.config["merge_mode"], builder.shape(outputs[0])
    if mode == "concat":
        builder.value = builder.concat(name, outputs, axis=len(shape) - 1)
    elif mode == "ave":
        total = builder.op("add", f"{layer.name}/sum", outputs)
        half = builder.filled(f"{layer.name}/half", (*(1 for _ in shape[:-1]), shape[-1]), 0.5)
        builder.value = builder.op("mul", name, [total, half])
    else:
        builder.value = builder.op({"sum": "add", "mul": "mul"}[mode], name, outputs)


def _check_single_input(layer: KerasLayer, builder: GraphBuilder, *, several: bool) -> None:
    if several and len(builder.inputs) > 1:
        raise layer.refuse(
            "initial_state is supported for a single LSTM, GRU or SimpleRNN only",
            hint="Give the states to such a layer, or leave initial_state out.",
        )
