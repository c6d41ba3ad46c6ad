"""A model that Keras saved, read by keras_files, as a float Graph that is compared with Keras itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from edge_tqs.blocks import rolled_out
from edge_tqs.errors import CheckError, ModelError, UsageError
from edge_tqs.graph import Graph, Recurrence
from edge_tqs.interpret import float_step, zero_states
from edge_tqs.keras_files import SAVE_HINT, KerasFile, file_hash, one_line, open_keras, read_config
from edge_tqs.layers import (
    MERGING,
    READERS,
    RECURRENT,
    UNBUILDABLE,
    GraphBuilder,
    KerasLayer,
    Weight,
    check_wrapper,
    is_over_time,
    is_stateful,
    parts_of,
    spreads,
)
from edge_tqs.layers.activation import check_activation
from edge_tqs.layers.recurrent import check_gates
from edge_tqs.loaded import LoadedModel
from edge_tqs.streaming import settle
from edge_tqs.tensorflow_import import quiet

Array = npt.NDArray[Any]

#: Random windows that the float graph and Keras are compared on.
CHECK_WINDOWS = 16
#: Largest difference from Keras, relative to 1 + max|y|: float32 rounding, summed over a window.
TOLERANCE = 1e-4
OPS = "ops."
SUPPORTED = (
    f"Supported layers: {', '.join(name for name in READERS if name != 'InputLayer' and not name.startswith(OPS))}."
)
SUPPORTED_OPS = (
    f"Supported of keras.ops: {', '.join(name.removeprefix(OPS) for name in READERS if name.startswith(OPS))}."
)
OWN_HINT = "If it is a class of your own, --custom-objects module:NAME lets it be scored and planned."


def load(
    path: Path,
    *,
    recurrence: Literal["auto", "windowed", "stateful"] = "auto",
    window: int | None = None,
    feedback: Sequence[int | None] | None = None,
    steps: int | None = None,
    custom: Sequence[str] = (),
) -> LoadedModel:
    """Read a forecaster: Sequential or Functional, input (W, F), output one sample or a block (system.read_block).

    recurrence: "auto" is "stateful" if the Keras layers are, else "windowed"; a model without recurrent layers has
    recurrence "none", or is streamed (streaming.py) if "stateful" is asked for. window: W, needed when the model leaves
    it open; for a stateful model, how many samples are pushed before the first forecast. feedback: for each input the
    output that becomes it, None for one known ahead; None altogether: in order, inputs beyond the last output known
    ahead. steps: samples that a flat output holds. custom: module:name of each class or function of the user's own.

    Raises ModelError (what cannot be read or built), UsageError (window), ToolError (no TensorFlow), CheckError (the
    graph differs from Keras).
    """
    try:
        file = _check_file(path, custom)
        with quiet():
            model = open_keras(file, custom)
            found, calls = {layer.name: layer for layer in _operations(model)}, _calls(model)
            layers = [
                replace(_extract(found[name]), inputs=sources, call=calls.get(name, {}))
                for name, sources in _sorted_layers(model)
            ]
            chosen = _choose_recurrence(layers, recurrence)
            _, model_window, channels = _input_shape(model)
            streamed = chosen == "none" and recurrence == "stateful"
            size = _choose_window(model_window, None if streamed and model_window else window, chosen)
            whole = rolled_out(_build(path.stem, layers, size, channels, chosen), feedback, steps)
            graph, notes = settle(whole, window, streamed)
            largest = _compare(model, graph)
    except (ModelError, CheckError) as error:
        raise type(error)(f"{path}: {error.message}", hint=error.hint) from error.__cause__
    return LoadedModel(
        graph,
        largest,
        file_hash(path),
        sum(layer.parameters for layer in layers),
        tuple(_describe(layer) for layer in layers),
        notes,
    )


def _check_file(path: Path, custom: Sequence[str]) -> KerasFile:
    """Refuse by what the file says, before TensorFlow is imported: at once, and with the layer's name."""
    file = read_config(path)
    own = {name.partition(":")[2] for name in custom}
    try:
        kind, items = file.config["class_name"], file.config["config"].get("layers")
        layers = [(_kind(item), item.get("registered_name"), dict(item["config"])) for item in items or ()]
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        raise ModelError(f"is not a Keras 3 .keras file ({one_line(error)})", hint=SAVE_HINT) from error
    if kind not in ("Sequential", "Functional", "Model") or not layers:
        raise ModelError(f"is a model of class {kind}", hint="Supported: Sequential and Functional.")
    for name, registered, config in layers:
        layer = KerasLayer(str(config.get("name", "?")), name, config, {})
        if name.rpartition(">")[2] in own or (registered or "").rpartition(">")[2] in own:
            raise layer.refuse(
                "a class of your own can be scored and planned, not built: its code is not known to edge-tqs",
                hint=f"Build it from the layers of Keras. {SUPPORTED}",
            )
        if name in UNBUILDABLE and registered is None:
            why, hint = UNBUILDABLE[name]
            raise layer.refuse(why, hint=hint)
        if name.startswith(OPS) and name not in READERS:
            raise layer.refuse("this operation is not supported", hint=SUPPORTED_OPS)
        if name not in READERS or (registered is not None and not name.startswith(OPS)):
            others = sorted({other for other, _, _ in layers if other not in READERS} - {name})
            more = f"; nor are {', '.join(others)}" if others else ""
            raise layer.refuse(
                f"this layer is not supported{more}",
                hint=f"{SUPPORTED} {OWN_HINT.replace('NAME', name.rpartition('>')[2])}",
            )
        check_wrapper(layer)
        for part in parts_of(layer) or (layer,):
            if part.kind in RECURRENT:
                check_gates(part)
            else:
                check_activation(part, part.config.get("activation"))
    return file


def _kind(item: Any) -> str:
    """A layer's class; of keras.ops with "ops." before it, for some layers have the same names."""
    return (OPS if str(item.get("module")).startswith("keras.src.ops.") else "") + str(item["class_name"])


def _operations(model: Any) -> list[Any]:
    """The layers of a model, and what of keras.ops stands between them."""
    return list(getattr(model, "operations", None) or model.layers)


def _calls(model: Any) -> dict[str, Any]:
    """How a functional model calls each of its layers: the first time, for there is no other."""
    items = model.get_config()["layers"]
    return {item["config"]["name"]: item["inbound_nodes"][0] for item in items if item.get("inbound_nodes")}


def load_keras(path: Path, custom: Sequence[str] = ()) -> Any:
    """The Keras model itself, for what needs no graph. Raises ModelError, naming the file; UsageError; ToolError."""
    try:
        file = read_config(path)
        with quiet():
            return open_keras(file, custom)
    except ModelError as error:
        raise ModelError(f"{path}: {error.message}", hint=error.hint) from error.__cause__


def _sorted_layers(model: Any) -> list[tuple[str, tuple[str, ...]]]:
    """(name, the layers that it reads), each after those that it reads; "" is the input. The last one is the output.

    Raises ModelError where the model has several inputs or outputs, or applies a layer more than once.
    """
    config = model.get_config()
    if "input_layers" not in config:
        names = [item["config"]["name"] for item in config["layers"] if item["class_name"] != "InputLayer"]
        return [(name, (before,)) for before, name in zip(["", *names], names, strict=False)]
    for option, what in (("input_layers", "inputs"), ("output_layers", "outputs")):
        hint = "A forecaster has one input (W, F) and one output: a sample, or a block of samples."
        if isinstance(config[option], dict):
            raise ModelError(f"its {what} are a dict", hint=hint)
        count = len(list(_ends(config[option])))
        if count != 1:
            raise ModelError(f"has {count} {what}", hint=hint)
    inputs: dict[str, tuple[str, ...]] = {}
    for item in config["layers"]:
        name, kind, nodes = item["config"]["name"], _kind(item), item["inbound_nodes"]
        if kind == "InputLayer":
            inputs[name] = ()
            continue
        if len(nodes) != 1:
            raise ModelError(
                f"layer {name} ({kind}) is applied {len(nodes)} times: sharing a layer is not supported",
                hint="Give each place a layer of its own.",
            )
        inputs[name] = tuple(_sources(nodes[0]))
        if len(inputs[name]) != 1 and kind not in MERGING | RECURRENT:
            raise ModelError(
                f"layer {name} ({kind}) is applied to {len(inputs[name])} values, which is not supported",
                hint=f"Layers of several inputs: {', '.join(sorted(k for k in MERGING if not k.startswith(OPS)))}.",
            )
    ordered: dict[str, tuple[str, ...]] = {}
    output = _first_entry(config["output_layers"])
    if output[2]:
        raise ModelError(
            f"its output is output {output[2]} of layer {output[0]}, a state",
            hint="Forecast from the layer's first output, or put a Dense layer behind the state.",
        )
    pending = [next(_ends(config["output_layers"]))]
    while pending:
        missing = [source for source in map(_layer_of, inputs[pending[-1]]) if source not in ordered]
        if missing:
            pending.append(missing[0])
        else:
            name = pending.pop()
            ordered[name] = tuple(source if inputs[_layer_of(source)] else "" for source in inputs[name])
    return [(name, sources) for name, sources in ordered.items() if inputs[name]]


def _ends(entry: Any) -> Iterator[str]:
    """Layer names in ``input_layers``/``output_layers``: [name, node, tensor], or a list of such."""
    if isinstance(entry, list | tuple) and entry and isinstance(entry[0], str):
        yield entry[0]
    else:
        for item in entry:
            yield from _ends(item)


def _first_entry(entry: Any) -> tuple[str, int, int]:
    """[layer, node, tensor], the only one in ``output_layers``."""
    return tuple(entry) if isinstance(entry[0], str) else _first_entry(entry[0])


def _layer_of(source: str) -> str:
    """The layer that a source names: "<layer>", or "<layer>/<number of its output>" (Keras allows no / in a name)."""
    return source.partition("/")[0]


def _sources(node: Any) -> Iterator[str]:
    """The outputs that a node reads: a layer's name, with /<number> for an output after the first."""
    if isinstance(node, dict) and node.get("class_name") == "__keras_tensor__":
        name, _, output = node["config"]["keras_history"]
        yield f"{name}/{output}" if output else name
    elif isinstance(node, dict | list | tuple):
        for item in node.values() if isinstance(node, dict) else node:
            yield from _sources(item)


def _extract(layer: Any) -> KerasLayer:
    weights: dict[str, Weight] = {}
    kind = _kind({"module": type(layer).__module__, "class_name": type(layer).__name__})
    plain = KerasLayer(layer.name, kind, layer.get_config(), weights, ranks=_ranks(layer))
    own = getattr(layer, "weights", ())
    names = Counter(variable.name for variable in own)
    for variable in own:
        if str(variable.dtype) != "float32" or layer.compute_dtype != "float32":
            raise plain.refuse(
                f"{variable.name} is {variable.dtype}, computed in {layer.compute_dtype}",
                hint="Save the model with the dtype policy float32.",
            )
        unique = names[variable.name] == 1
        name = variable.name if unique else "/".join(variable.path.split("/")[-2:])  # of a layer made of layers
        weights[name] = Weight(variable.path, np.array(variable.numpy()))
    parts = parts_of(plain)
    if not parts:
        return plain
    held = [_weights_of(inner) for inner in _inner_layers(layer)]
    filled = tuple(replace(part, weights=own) for part, own in zip(parts, held, strict=True))
    return replace(plain, weights={}, parts=filled)


def _inner_layers(layer: Any) -> list[Any]:
    """The Keras layers or cells that a wrapper holds, in the order of ``parts_of``."""
    if hasattr(layer, "forward_layer"):
        return [layer.forward_layer, layer.backward_layer]
    if hasattr(layer, "cell"):
        return list(getattr(layer.cell, "cells", [layer.cell]))
    return [layer.layer]


def _weights_of(layer: Any) -> dict[str, Weight]:
    return {variable.name: Weight(variable.path, np.array(variable.numpy())) for variable in layer.weights}


def _ranks(layer: Any) -> tuple[int, ...]:
    """Of the layer's inputs."""
    sources = layer.input
    return tuple(len(source.shape) for source in (sources if isinstance(sources, list | tuple) else [sources]))


def _choose_recurrence(layers: list[KerasLayer], wanted: str) -> Recurrence:
    recurrent = [layer for layer in layers if layer.kind in RECURRENT]
    if not recurrent:
        return "none"
    stateful = [is_stateful(layer) for layer in recurrent]
    if wanted == "auto" and len(set(stateful)) > 1:
        raise ModelError("some recurrent layers are stateful and some are not", hint="Set stateful on all or on none.")
    carried = wanted == "stateful" or (wanted == "auto" and stateful[0])
    over_time = next(filter(is_over_time, layers), None) or _spread_within(layers)
    if over_time is None:
        return "stateful" if carried else "windowed"
    if carried:
        raise over_time.refuse(
            "it looks at the window as a whole, so no state can be carried from one sample to the next",
            hint="Use the model as windowed, or take this layer out.",
        )
    return "none"


def _spread_within(layers: list[KerasLayer]) -> KerasLayer | None:
    """A layer that makes a sequence of a flat value before another one that steps over it or joins it with others."""
    for index, layer in enumerate(layers):
        if spreads(layer) and any(later.kind in RECURRENT | MERGING for later in layers[index + 1 :]):
            return layer
    return None


def _input_shape(model: Any) -> tuple[int | None, int | None, int]:
    """(batch, W, F) of the model's input; batch and W may be open."""
    shape = tuple(getattr(model, "input_shape", None) or ())
    if len(shape) != 3 or shape[2] is None:
        raise ModelError(
            f"its input is {shape or 'not built'}, not (batch, W, F): W samples of F channels",
            hint="Start the model with Input((W, F)).",
        )
    return shape


def _choose_window(of_model: int | None, given: int | None, recurrence: Recurrence) -> int:
    size = of_model if given is None else given
    if size is None:
        raise UsageError("the model leaves the length of its window open", hint="Say it with --window SAMPLES.")
    if size < 1:
        raise UsageError(f"--window {size} is no length", hint="Give the number of samples, 1 or more.")
    if of_model is not None and size != of_model and recurrence != "stateful":
        raise UsageError(f"--window {size}: the model was built for a window of {of_model}", hint="Leave --window out.")
    return size


def _build(name: str, layers: list[KerasLayer], window: int, channels: int, recurrence: Recurrence) -> Graph:
    builder = GraphBuilder(name, window=window, channels=channels, recurrence=recurrence)
    last = max((index for index, layer in enumerate(layers) if layer.kind in RECURRENT), default=-1)
    readers = Counter(source for layer in layers for source in layer.inputs)
    values = {"": builder.value}
    for index, layer in enumerate(layers):
        builder.inputs = tuple(values[source] for source in layer.inputs)
        builder.value, builder.outputs = builder.inputs[0], ()
        READERS[layer.kind](replace(layer, last_recurrent=index == last), builder)
        values[layer.name] = builder.value
        outputs: tuple[str, ...] = builder.outputs
        values |= {f"{layer.name}/{number}": output for number, output in enumerate(outputs)}
        if readers[layer.name] > 1:
            builder.shared.add(builder.value)
    graph = builder.finish()
    if not graph.weights():
        raise ModelError("it has no weights to quantise", hint=SUPPORTED)
    return graph


def _compare(model: Any, graph: Graph) -> float:
    """Largest difference of the graph's forecasts from Keras' own; CheckError beyond TOLERANCE.

    A Keras model that carries its states is fed one sequence piece by piece, any other one separate windows.
    """
    forecast = graph.forecast
    batch, length, _ = _input_shape(model)
    length = length or forecast.window
    batch = batch or CHECK_WINDOWS
    rng = np.random.default_rng(0)
    samples = rng.standard_normal((batch, length * -(-CHECK_WINDOWS // batch), forecast.channels)).astype(np.float32)
    carried = forecast.recurrence == "stateful" and any(getattr(layer, "stateful", False) for layer in model.layers)
    expected, found = [], []
    step, states = float_step(graph), zero_states(graph, batch)
    _reset(model)
    for begin in range(0, samples.shape[1], length):
        window = samples[:, begin : begin + length]
        if not carried:
            _reset(model)
            states = zero_states(graph, batch)
        expected.append(np.asarray(model(window, training=False)).reshape(batch, -1))
        if forecast.recurrence == "none":
            y, _ = step(window, ())
        else:
            for k in range(length):
                y, states = step(window[:, k], states)
        found.append(y)
    largest = float(np.max(np.abs(np.stack(expected) - np.stack(found))))
    limit = TOLERANCE * (1.0 + float(np.max(np.abs(np.stack(expected)))))
    if not largest <= limit:
        raise CheckError(
            f"the float graph differs from Keras by {largest:.3g}, more than {limit:.3g}",
            hint="This is a defect of edge-tqs: please report it with the model.",
        )
    return largest


def _reset(model: Any) -> None:
    for layer in model.layers:
        if getattr(layer, "stateful", False):
            if hasattr(
                getattr(layer, "cell", None), "cells"
            ):  # whose states lie in lists, which reset_states cannot take
                for state in (state for states in layer.states for state in states):
                    state.assign(np.zeros(state.shape, np.float32))
            else:
                layer.reset_states()


def _describe(layer: KerasLayer) -> str:
    inside = f" of {' and '.join(_titled(part) for part in layer.parts)}" if layer.parts else ""
    count = layer.parameters
    return f"{layer.name}: {_titled(layer)}{inside}" + (f", {count:,} parameters" if count else "")


def _titled(layer: KerasLayer) -> str:
    return f"{layer.kind}({layer.config['units']})" if "units" in layer.config else layer.kind
