"""What LSTM and GRU have in common: their options, and where their step goes.

In a step graph the layer is its step, once, with states. Where the model looks at the window as a whole (a layer over
time stands before or behind it) the step is repeated for every sample of the window, from zero states: all repetitions
read the same weights, and what is the same tensor but for the sample shares a quantisation.
"""

from __future__ import annotations

from collections.abc import Callable

from edge_tqs.layers.activation import describe_activation
from edge_tqs.layers.builder import GraphBuilder, KerasLayer

#: (prefix of names, one sample, states) -> the next states, the first being the layer's output. A sample and each state
#: are (1, N) in a step graph and (1, 1, N) in one of the window
Step = Callable[[str, str, tuple[str, ...]], tuple[str, ...]]


def check_gates(layer: KerasLayer) -> None:
    """Raise ModelError for activations other than Keras' defaults."""
    for option, wanted in (("activation", "tanh"), ("recurrent_activation", "sigmoid")):
        if layer.config.get(option) != wanted:
            found = describe_activation(layer.config.get(option))
            raise layer.refuse(f"{option} {found} is not supported", hint=f"Train it with {option}='{wanted}'.")


def check_recurrent(layer: KerasLayer) -> None:
    """Raise ModelError for what cannot be built as steps (x, states) -> (y, next states)."""
    check_gates(layer)
    config = layer.config
    for option in ("go_backwards", "return_state"):
        if config[option]:
            raise layer.refuse(f"{option}=True is not supported", hint=f"Train it with {option}=False.")


def recur(layer: KerasLayer, builder: GraphBuilder, states: tuple[str, ...], step: Step) -> None:
    """Add the layer to a step graph, or to one of the whole window. ``states``: short names, the output's first."""
    if builder.recurrence == "none":
        _unroll(layer, builder, states, step)
        return
    if layer.config["return_sequences"] and layer.last_recurrent:
        raise layer.refuse(
            "return_sequences=True on the last recurrent layer is not supported: a forecaster predicts one sample",
            hint="Set return_sequences=False on the last recurrent layer.",
        )
    units = int(layer.config["units"])
    held = tuple(builder.state(f"{layer.name}/{state}", units) for state in states)
    following = step(layer.name, builder.value, held)
    for state, updated in zip(held, following, strict=True):
        builder.carry(state, updated)
    builder.value = following[0]


def _unroll(layer: KerasLayer, builder: GraphBuilder, states: tuple[str, ...], step: Step) -> None:
    name, units, x = layer.name, int(layer.config["units"]), builder.value
    _, length, channels = builder.shape(x)
    values = tuple(builder.zeros(f"{name}/{state}_0", (1, 1, units)) for state in states)
    first, outputs = values, []
    for t in range(length):
        prefix = f"{name}/{t}"
        sample = x
        if length > 1:
            sample = builder.op("slice", f"{prefix}/x", [x], (1, 1, channels), axis=1, begin=t, size=1)
        with builder.grouped(prefix, name):
            values = step(prefix, sample, values)
        outputs.append(values[0])
    builder.join_groups(first, values)
    if layer.config["return_sequences"]:
        builder.value = builder.concat(f"{name}/y", outputs, axis=1)
    else:
        builder.value = builder.op("reshape", f"{name}/y", [values[0]], (1, units))
