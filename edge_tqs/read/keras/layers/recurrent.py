"""What LSTM, GRU and SimpleRNN have in common: their options, and where their step goes.

In a step graph the layer is its step, once, with states. Where the model looks at the window as a whole (a layer over
time stands before or behind it) the step is repeated for every sample of the window, from zero states or
from those that the layer is given: all repetitions read the same weights, and what is the same
tensor but for the sample shares a quantisation, as what weights read must. What they do not read has one for each
sample where that is nearer to float: an encoder and decoder of LSTMs, int8, is 0.095 standard deviations from float
where c shares one, 0.045 where it does not. go_backwards takes the samples from the last to the first.
"""

from __future__ import annotations

from collections.abc import Callable

from edge_tqs.read.keras.layers.builder import GraphBuilder, KerasLayer
from edge_tqs.read.keras.layers.cell import check_function

#: (prefix of names, one sample, states) -> the next states, the first being the layer's output. A sample and each state
#: are (1, N) in a step graph and (1, 1, N) in one of the window
CellStep = Callable[[str, str, tuple[str, ...]], tuple[str, ...]]


def check_gates(layer: KerasLayer) -> None:
    """Raise ModelError for functions that no operators compute."""
    for option in ("activation", "recurrent_activation"):
        if option in layer.config:
            check_function(layer, option)


def recur(layer: KerasLayer, builder: GraphBuilder, states: tuple[str, ...], step: CellStep) -> None:
    """Add the layer to a step graph, or to one of the whole window. ``states``: short names, the output's first.

    With return_state, ``builder.outputs`` are the output and the states (1, H) after the last sample.
    """
    if builder.recurrence == "none":
        _unroll(layer, builder, states, step)
        return
    units = int(layer.config["units"])
    held = tuple(builder.state(f"{layer.name}/{state}", units) for state in states)
    following = step(layer.name, builder.value, held)
    for state, updated in zip(held, following, strict=True):
        builder.carry(state, updated)
    builder.value = following[0]
    if layer.config["return_state"]:
        builder.outputs = (following[0], *following)


def _unroll(layer: KerasLayer, builder: GraphBuilder, states: tuple[str, ...], step: CellStep) -> None:
    name, units, x = layer.name, int(layer.config["units"]), builder.value
    _, length, channels = builder.shape(x)
    given = builder.inputs[1:]
    if given:
        # No group: these carry the codes of the layer that made them.
        pairs = zip(states, given, strict=True)
        values = tuple(builder.op("reshape", f"{name}/{s}_0", [value], (1, 1, units)) for s, value in pairs)
    else:
        values = tuple(builder.zeros(f"{name}/{state}_0", (1, 1, units)) for state in states)
    first, outputs = values, []
    times = range(length)
    for t in reversed(times) if layer.config["go_backwards"] else times:
        prefix = f"{name}/{t}"
        sample = x
        if length > 1:
            sample = builder.op("slice", f"{prefix}/x", [x], (1, 1, channels), axis=1, begin=t, size=1)
        with builder.grouped(prefix, name):
            values = step(prefix, sample, values)
        outputs.append(values[0])
    if not given:
        builder.join_groups(first, values)
    if layer.config.get("flip_outputs"):
        outputs.reverse()
    if layer.config["return_sequences"]:
        builder.value = builder.concat(f"{name}/y", outputs, axis=1)
    else:
        builder.value = builder.op("reshape", f"{name}/y", [values[0]], (1, units))
    if layer.config["return_state"]:
        final = (
            builder.op("reshape", f"{name}/{s}_last", [v], (1, units)) for s, v in zip(states, values, strict=True)
        )
        builder.outputs = (builder.value, *final)
