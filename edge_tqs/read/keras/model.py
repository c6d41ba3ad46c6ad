"""A model that Keras saved, read by keras_files, as a float Graph that is compared with Keras itself."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from edge_tqs.errors import CheckError, ModelError
from edge_tqs.graph.graph import Graph, Recurrence
from edge_tqs.passes.interpret import float_step, zero_states
from edge_tqs.passes.streaming import settle
from edge_tqs.read.keras.ends import Ends, Entry, read_ends
from edge_tqs.read.keras.files import SAVE_HINT, KerasFile, file_hash, one_line, open_keras, read_config
from edge_tqs.read.keras.layers import (
    MERGING,
    OF_IMAGES,
    READERS,
    RECURRENT,
    UNBUILDABLE,
    GraphBuilder,
    KerasLayer,
    Weight,
    as_sequence,
    check_embedding,
    check_wrapper,
    is_stateful,
    parts_of,
)
from edge_tqs.read.keras.layers.activation import check_activation
from edge_tqs.read.keras.layers.ops import gives_samples
from edge_tqs.read.keras.layers.recurrent import check_gates
from edge_tqs.read.keras.nodes import Nodes, Source, behind_output, items_of, kind_of, read_nodes
from edge_tqs.read.keras.recurrence import choose_recurrence, choose_window, unrolled_by
from edge_tqs.read.loaded import LoadedModel, Masked
from edge_tqs.system.blocks import rolled_out
from edge_tqs.system.reading import Said, read_output, with_static
from edge_tqs.system.tensorflow import quiet

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
#: What moves whole numbers to where rows are looked up by them.
OF_WHOLE_NUMBERS = frozenset({"Flatten", "Reshape", "ops.GetItem", "ops.Reshape", "ops.Squeeze", "ops.ExpandDims"})
MASK_OPS = frozenset({"ops.NotEqual", "ops.Any"})
OWN_HINT = "If it is a class of your own, --custom-objects module:NAME lets it be scored and planned."


def load(
    path: Path,
    *,
    recurrence: Literal["auto", "windowed", "stateful"] = "auto",
    window: int | None = None,
    said: Said | None = None,
    custom: Sequence[str] = (),
    output: str | None = None,
) -> LoadedModel:
    """Read a forecaster: Sequential or Functional, input (W, F), whose output is read as reading.read_output says.

    Several inputs (W, F1), (W, F2), ... are one window, their channels side by side; ends.py says what else an input
    may be. output: names one of several outputs.

    recurrence: "auto" is "stateful" if the Keras layers are, else "windowed"; a model without recurrent layers has
    recurrence "none", or is streamed (streaming.py) if "stateful" is asked for. window: W, needed when the model
    leaves it open or flat; for a stateful model, how many samples are pushed before the first forecast. said: what was
    said of its inputs and outputs. custom: module:name of each class or function of the user's own.

    Raises ModelError (what cannot be read or built), UsageError (window), ToolError (no TensorFlow), CheckError (the
    graph differs from Keras).
    """
    try:
        file = _check_file(path, custom)
        with quiet():
            model = open_keras(file, custom)
            ends = read_ends(model, output, window)
            nodes = behind_output(read_nodes(model), ends.output)
            layers = _of_samples(_read_layers(nodes), nodes, ends)
            _check_whole_numbers(layers, nodes, ends)
            said = with_static(said or Said(), ends.static)
            masked = tuple(_masked(layers, nodes, ends))
            chosen = choose_recurrence(layers, recurrence, said.last_only, ends)
            streamed = chosen == "none" and recurrence == "stateful"
            size = choose_window(ends.window, None if streamed and ends.window else window, chosen)
            if chosen == "none":
                _refuse_early(layers, ends, size, said)
            whole, read = rolled_out(_build(path.stem, nodes, layers, ends, size, chosen), said)
            graph, notes = settle(whole, window, streamed)
            largest = _compare(model, graph, ends, said.last_only)
    except (ModelError, CheckError) as error:
        raise type(error)(f"{path}: {error.message}", hint=error.hint) from error.__cause__
    return LoadedModel(
        graph,
        largest,
        file_hash(path),
        sum({id(layer.weights): layer.parameters for layer in layers}.values()),
        tuple(_describe(layers)),
        (*ends.notes, *(_mask_note(mask) for mask in masked), *read, *notes, *filter(None, [file.half_note()])),
        whole if chosen == "none" else None,
        unrolled_by(layers) if chosen == "none" else "",
        ends.channels,
        masked,
        ends.newest,
    )


def _check_file(path: Path, custom: Sequence[str]) -> KerasFile:
    """Refuse by what the file says, before TensorFlow is imported: at once, and with the layer's name."""
    file = read_config(path)
    own = {name.partition(":")[2] for name in custom}
    try:
        kind, items = file.config["class_name"], items_of(file.config["config"])
        layers = [(kind_of(item), item.get("registered_name"), dict(item["config"])) for item in items]
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        raise ModelError(f"is not a Keras 3 .keras file ({one_line(error)})", hint=SAVE_HINT) from error
    if kind not in ("Sequential", "Functional", "Model") or not layers:
        raise ModelError(f"is a model of class {kind}", hint="Supported: Sequential and Functional.")
    if any(name == "Masking" for name, _, _ in layers):  # its mask is computed beside it, and nodes.py leaves it out
        layers = [layer for layer in layers if layer[0] not in MASK_OPS]
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
        if name == "Embedding":
            check_embedding(layer)
        for part in parts_of(layer) or (layer,):
            if part.kind in RECURRENT:
                check_gates(part)
            else:
                check_activation(part, part.config.get("activation"))
    return file


def load_keras(path: Path, custom: Sequence[str] = ()) -> Any:
    """The Keras model itself, for what needs no graph. Raises ModelError, naming the file; UsageError; ToolError."""
    try:
        file = read_config(path)
        with quiet():
            return open_keras(file, custom)
    except ModelError as error:
        raise ModelError(f"{path}: {error.message}", hint=error.hint) from error.__cause__


def _read_layers(nodes: Nodes) -> list[KerasLayer]:
    """The layers, as often as they are applied, each behind those that it reads.

    Raises ModelError for what a layer cannot be applied to.
    """
    extracted: dict[int, KerasLayer] = {}
    times = Counter(id(node.operation) for node in nodes.nodes)
    layers = []
    for node in nodes.nodes:
        if node.kind in MASK_OPS:
            raise ModelError(f"operation {node.name} ({node.kind}) is not supported", hint=SUPPORTED_OPS)
        if len(node.sources) != 1 and node.kind not in MERGING | RECURRENT:
            raise ModelError(
                f"layer {node.name} ({node.kind}) is applied to {len(node.sources)} values, which is not supported",
                hint=f"Layers of several inputs: {', '.join(sorted(k for k in MERGING if not k.startswith(OPS)))}.",
            )
        if any(len(shape) > 3 for shape in node.shapes) and node.kind not in OF_IMAGES:
            raise ModelError(
                f"layer {node.name} ({node.kind}) is applied to an image {node.shapes[0]}, which is not supported",
                hint="Flatten or Reshape it to a sequence (W, C) first, or use the layer of one axis.",
            )
        count = times[id(node.operation)]
        if id(node.operation) not in extracted:
            extracted[id(node.operation)] = _extract(node.operation)
        plain = extracted[id(node.operation)]
        if count > 1 and is_stateful(plain):
            raise plain.refuse(
                f"it is stateful and applied {count} times: each would change the states of the others",
                hint="Give each place a layer of its own.",
            )
        ranks = tuple(len(shape) for shape in node.shapes)
        layers.append(
            replace(
                plain,
                name=node.name,
                ranks=ranks,
                shapes=tuple(shape[1:] for shape in node.shapes),
                inputs=tuple(source.key for source in node.sources),
                # A wrapper's parts are named <layer>/<inner>: by this application too.
                parts=tuple(
                    replace(part, name=node.name + part.name.removeprefix(plain.name), ranks=ranks)
                    for part in plain.parts
                ),
                call=node.given,
                shared=count > 1,
            )
        )
    return layers


def _of_samples(layers: list[KerasLayer], nodes: Nodes, ends: Ends) -> list[KerasLayer]:
    """``layers``, with those marked that read one value of each sample, which in a step graph is one value."""
    found = {given.source.key for given, entry in zip(nodes.inputs, ends.entries, strict=True) if entry.by_sample}
    made = []
    for layer in layers:
        reads = bool(found.intersection(layer.inputs))
        if gives_samples(layer) or (reads and layer.kind == "ops.Cast"):
            found.add(layer.name)
        made.append(replace(layer, of_samples=reads))
    return made


def _check_whole_numbers(layers: list[KerasLayer], nodes: Nodes, ends: Ends) -> None:
    """Raise ModelError where anything but a lookup of rows is made of whole numbers."""
    whole = {given.source.key for given, entry in zip(nodes.inputs, ends.entries, strict=True) if entry.whole}
    for layer in layers:
        if layer.kind == "ops.Cast":
            if "int" in str(layer.config["dtype"]):
                whole.add(layer.name)
        elif whole.intersection(layer.inputs) and layer.kind != "Embedding":
            if layer.kind not in OF_WHOLE_NUMBERS:
                raise layer.refuse(
                    "it works on whole numbers, and only Embedding does that here",
                    hint="Take them as float32, or put keras.ops.cast(x, 'float32') in front of it.",
                )
            whole.add(layer.name)


def _masked(layers: list[KerasLayer], nodes: Nodes, ends: Ends) -> Iterator[Masked]:
    """What the Masking layers skip. Raises ModelError for one that does not read the samples as they come in."""
    entries = {given.source.key: entry for given, entry in zip(nodes.inputs, ends.entries, strict=True)}
    for layer in layers:
        if layer.kind == "Masking":
            entry = entries.get(layer.inputs[0])
            if entry is None or entry.static or entry.newest or layer.ranks != (3,):
                raise layer.refuse(
                    "it skips samples by what other layers make of them, and a recurrent layer here runs over all",
                    hint="Let it read the input itself: padding in front of a window is then no sample of the stream.",
                )
            channels = tuple(range(entry.begin, entry.begin + entry.channels))
            yield Masked(channels, float(layer.config["mask_value"]))


def _mask_note(mask: Masked) -> str:
    return (
        f"Its Masking skips samples that are {mask.value:g} in all channels, as padding is: a full window has none. "
        "With --recurrence stateful the first forecast comes after the first --window samples, from states of 0."
    )


def _extract(layer: Any) -> KerasLayer:
    weights: dict[str, Weight] = {}
    kind = kind_of({"module": type(layer).__module__, "class_name": type(layer).__name__})
    plain = KerasLayer(layer.name, kind, layer.get_config(), weights)
    own = getattr(layer, "weights", ())
    names = Counter(variable.name for variable in own)
    for variable in own:
        if kind == "Normalization" and variable.name == "count":
            continue  # how many values it was adapted to
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


def _refuse_early(layers: list[KerasLayer], ends: Ends, window: int, said: Said) -> None:
    """Raise ModelError for a sequence that can be read in several ways before its recurrent layers are unrolled."""
    made = tuple(size for size in ends.shape[1:] if size is not None)
    classes = layers[-1].kind == "Softmax" or layers[-1].config.get("activation") == "softmax"
    if any(layer.kind in RECURRENT for layer in layers) and len(made) == 2 == len(ends.shape) - 1 and not classes:
        read_output(made, window, sum(ends.channels), said)


def _build(name: str, nodes: Nodes, layers: list[KerasLayer], ends: Ends, window: int, recurrence: Recurrence) -> Graph:
    builder = GraphBuilder(name, window=window, channels=sum(ends.channels), recurrence=recurrence)
    builder.kept = {path for layer in layers if layer.shared for path in layer.paths()}
    last = max((index for index, layer in enumerate(layers) if layer.kind in RECURRENT), default=-1)
    readers = Counter(source for layer in layers for source in layer.inputs)
    values = {}
    for given, entry in zip(nodes.inputs, ends.entries, strict=True):
        key = given.source.key
        values[key] = _entered(builder, given.name, entry, alone=len(nodes.inputs) == 1) if readers[key] else "x"
    for index, layer in enumerate(layers):
        builder.inputs = tuple(
            as_sequence(builder, values[source], shape) if len(shape) == 3 else values[source]
            for source, shape in zip(layer.inputs, layer.shapes, strict=True)
        )
        builder.value, builder.outputs = builder.inputs[0], ()
        READERS[layer.kind](replace(layer, last_recurrent=index == last), builder)
        for number, value in enumerate((builder.value, *builder.outputs[1:])):
            key = Source(layer.name, number).key
            values[key] = value
            if readers[key] > 1:
                builder.shared.add(value)
    (made,) = nodes.outputs
    if made.source.tensor:
        raise ModelError(
            f"its output is output {made.source.tensor} of layer {made.source.node}, a state",
            hint="Forecast from the layer's first output, or put a Dense layer behind the state.",
        )
    if len(ends.shape) == 4:
        raise ModelError(
            f"its output is the image {ends.shape[1:]}, not one sample or a block of samples",
            hint="Put a Reshape to (steps, outputs) behind it, the oldest sample first.",
        )
    builder.value = values[made.source.key]
    graph = builder.finish()
    if not graph.weights():
        raise ModelError("it has no weights to quantise", hint=SUPPORTED)
    return graph


def _entered(builder: GraphBuilder, name: str, entry: Entry, *, alone: bool) -> str:
    """What the layers behind an input read of the window or the sample."""
    x = "x"
    count = 1 if entry.static and builder.recurrence == "none" else entry.newest
    if count:
        attrs = {"axis": 1, "begin": builder.window - count, "size": count}
        x = builder.op("slice", f"x/{name}/newest", [x], (1, count, builder.channels), attrs=attrs)
    if not alone:
        x = builder.slice(f"x/{name}", x, entry.begin, entry.channels)
    if len(entry.shape) == 1 and len(builder.shape(x)) == 3 and not entry.by_sample:
        x = builder.op("reshape", f"x/{name}/flat" if name else "x/flat", [x], (1, math.prod(builder.shape(x))))
    return x


def _compare(model: Any, graph: Graph, ends: Ends, last_only: bool) -> float:
    """Largest difference of the graph's forecasts from Keras' own; CheckError beyond TOLERANCE.

    A Keras model that carries its states is fed one sequence piece by piece, any other one separate windows.
    """
    forecast = graph.forecast
    length = ends.window or forecast.window
    batch = ends.batch or CHECK_WINDOWS
    rng = np.random.default_rng(0)
    samples = rng.standard_normal((batch, length * -(-CHECK_WINDOWS // batch), forecast.channels)).astype(np.float32)
    for channel, numbers in forecast.whole_values().items():
        samples[..., channel] = rng.choice(numbers, samples.shape[:2])
    carried = forecast.recurrence == "stateful" and any(_stateful_layers(model))
    expected, found = [], []
    step, states = float_step(graph), zero_states(graph, batch)
    _reset(model)
    for begin in range(0, samples.shape[1], length):
        window = samples[:, begin : begin + length]
        if not carried:
            _reset(model)
            states = zero_states(graph, batch)
        made = np.asarray(ends.forecast_of(model(ends.given(window), training=False)))
        expected.append((made[:, -1] if last_only else made).reshape(batch, -1))
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
    for layer in _stateful_layers(model):
        if hasattr(getattr(layer, "cell", None), "cells"):  # its states lie in lists, which reset_states cannot take
            for state in (state for states in layer.states for state in states):
                state.assign(np.zeros(state.shape, np.float32))
        else:
            layer.reset_states()


def _stateful_layers(model: Any) -> list[Any]:
    """Those of models inside the model among them."""
    return [layer for layer in model._flatten_layers(include_self=False) if getattr(layer, "stateful", False)]


def _describe(layers: list[KerasLayer]) -> Iterator[str]:
    """A line each; what is applied again shares the weights of its first place."""
    seen: set[int] = set()
    for layer in layers:
        inside = f" of {' and '.join(_titled(part) for part in layer.parts)}" if layer.parts else ""
        size = f", {layer.parameters:,} parameters" if layer.parameters else ""
        again = ", shared" if size and id(layer.weights) in seen else size
        yield f"{layer.name}: {_titled(layer)}{inside}{again}"
        seen.add(id(layer.weights))


def _titled(layer: KerasLayer) -> str:
    return f"{layer.kind}({layer.config['units']})" if "units" in layer.config else layer.kind
