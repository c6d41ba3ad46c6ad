"""A Keras 3 ``.keras`` file as a float Graph, compared with Keras itself."""

from __future__ import annotations

import hashlib
import json
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from edge_tqs.errors import CheckError, ModelError, UsageError
from edge_tqs.graph import Graph, Op, Recurrence
from edge_tqs.interpret import float_step, zero_states
from edge_tqs.layers import MERGING, READERS, RECURRENT, GraphBuilder, KerasLayer, Weight, is_over_time
from edge_tqs.layers.activation import check_activation
from edge_tqs.layers.recurrent import check_gates
from edge_tqs.loaded import LoadedModel
from edge_tqs.positions import only_needed
from edge_tqs.system import checked_feedback, read_block
from edge_tqs.tensorflow_import import import_tensorflow, quiet

Array = npt.NDArray[Any]

#: Random windows that the float graph and Keras are compared on.
CHECK_WINDOWS = 16
#: Largest difference from Keras, relative to 1 + max|y|: float32 rounding, summed over a window.
TOLERANCE = 1e-4
SAVE_HINT = "Save the model with Keras 3: model.save('model.keras')."
ZIP_ERRORS = (zipfile.BadZipFile, zlib.error)
SUPPORTED = f"Supported layers: {', '.join(name for name in READERS if name != 'InputLayer')}."


def load(
    path: Path,
    *,
    recurrence: Literal["auto", "windowed", "stateful"] = "auto",
    window: int | None = None,
    feedback: Sequence[int | None] | None = None,
    steps: int | None = None,
) -> LoadedModel:
    """Read a forecaster: Sequential or Functional, input (W, F), output one sample or a block (system.read_block).

    recurrence: "auto" is "stateful" if the Keras layers are, else "windowed"; a model without recurrent layers has
    recurrence "none" whatever is asked. window: W, needed when the model leaves it open; for a stateful model, how
    many samples are pushed before the first forecast. feedback: for each input the output that becomes it, None for one
    known ahead; None altogether: in order, inputs beyond the last output known ahead. steps: samples that a flat output
    holds.

    Raises ModelError (what cannot be read or built), UsageError (window), ToolError (no TensorFlow), CheckError (the
    graph differs from Keras).
    """
    try:
        _check_file(path)
        with quiet():
            model = _load_keras(path)
            layers = [
                replace(_extract(model.get_layer(name)), inputs=sources) for name, sources in _sorted_layers(model)
            ]
            chosen = _choose_recurrence(layers, recurrence)
            _, model_window, channels = _input_shape(model)
            graph = _build(path.stem, layers, _choose_window(model_window, window, chosen), channels, chosen)
            graph = _rolled_out(graph, feedback, steps)
            largest = _compare(model, graph)
    except (ModelError, CheckError) as error:
        raise type(error)(f"{path}: {error.message}", hint=error.hint) from error.__cause__
    return LoadedModel(
        graph,
        largest,
        hashlib.sha256(path.read_bytes()).hexdigest(),
        sum(weight.data.size for layer in layers for weight in layer.weights.values()),
        tuple(_describe(layer) for layer in layers),
    )


def _check_zip(path: Path) -> Any:
    """The model's config in a .keras file. Raises ModelError for anything else, before TensorFlow is imported."""
    if not path.exists():
        raise ModelError("there is no such file", hint="Check the path of the .keras file.")
    if path.is_dir():
        raise ModelError("is a directory, not a .keras file", hint=SAVE_HINT)
    try:
        with path.open("rb") as file:
            if file.read(8) == b"\x89HDF\r\n\x1a\n":
                raise ModelError("is an HDF5 file, the format of Keras 2", hint=f"Load it in Keras. {SAVE_HINT}")
        with zipfile.ZipFile(path) as archive:
            return json.loads(archive.read("config.json"))
    except (OSError, ValueError, LookupError, RuntimeError, *ZIP_ERRORS) as error:
        raise ModelError(f"is not a Keras 3 .keras file ({_one_line(error)})", hint=SAVE_HINT) from error


def _check_file(path: Path) -> None:
    """Refuse by what the file says, before TensorFlow is imported: at once, and with the layer's name."""
    model = _check_zip(path)
    try:
        kind, items = model["class_name"], model["config"].get("layers")
        layers = [(item["class_name"], item.get("registered_name"), dict(item["config"])) for item in items or ()]
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        raise ModelError(f"is not a Keras 3 .keras file ({_one_line(error)})", hint=SAVE_HINT) from error
    if kind not in ("Sequential", "Functional", "Model") or not layers:
        raise ModelError(f"is a model of class {kind}", hint="Supported: Sequential and Functional.")
    for name, registered, config in layers:
        layer = KerasLayer(str(config.get("name", "?")), name, config, {})
        if name not in READERS or registered is not None:
            others = sorted({other for other, _, _ in layers if other not in READERS} - {name})
            more = f"; nor are {', '.join(others)}" if others else ""
            raise layer.refuse(f"this layer is not supported{more}", hint=SUPPORTED)
        if name in RECURRENT:
            check_gates(layer)
        else:
            check_activation(layer, config.get("activation"))


def load_keras(path: Path) -> Any:
    """The Keras model itself, for what needs no graph. Raises ModelError, naming the file; ToolError."""
    try:
        _check_zip(path)
        with quiet():
            return _load_keras(path)
    except ModelError as error:
        raise ModelError(f"{path}: {error.message}", hint=error.hint) from error.__cause__


def _load_keras(path: Path) -> Any:
    keras = import_tensorflow().keras
    try:
        return keras.models.load_model(path, compile=False)
    except Exception as error:
        raise ModelError(
            f"Keras {keras.__version__} cannot load it: {_one_line(error)}",
            hint=f"The file is damaged or comes from Keras 2: then rebuild the model in Keras 3. {SAVE_HINT}",
        ) from error


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
        name, kind, nodes = item["config"]["name"], item["class_name"], item["inbound_nodes"]
        if kind == "InputLayer":
            inputs[name] = ()
            continue
        if len(nodes) != 1:
            raise ModelError(
                f"layer {name} ({kind}) is applied {len(nodes)} times: sharing a layer is not supported",
                hint="Give each place a layer of its own.",
            )
        inputs[name] = tuple(_sources(nodes[0]))
        if len(inputs[name]) != 1 and kind not in MERGING:
            raise ModelError(
                f"layer {name} ({kind}) is applied to {len(inputs[name])} values, which is not supported",
                hint=f"Layers of several inputs: {', '.join(sorted(MERGING))}.",
            )
    ordered: dict[str, tuple[str, ...]] = {}
    pending = [next(_ends(config["output_layers"]))]
    while pending:
        missing = [source for source in inputs[pending[-1]] if source not in ordered]
        if missing:
            pending.append(missing[0])
        else:
            name = pending.pop()
            ordered[name] = tuple(source if inputs[source] else "" for source in inputs[name])
    return [(name, sources) for name, sources in ordered.items() if inputs[name]]


def _ends(entry: Any) -> Iterator[str]:
    """Layer names in ``input_layers``/``output_layers``: [name, node, tensor], or a list of such."""
    if isinstance(entry, list | tuple) and entry and isinstance(entry[0], str):
        yield entry[0]
    else:
        for item in entry:
            yield from _ends(item)


def _sources(node: Any) -> Iterator[str]:
    """Names of the layers whose outputs a node reads."""
    if isinstance(node, dict) and node.get("class_name") == "__keras_tensor__":
        yield node["config"]["keras_history"][0]
    elif isinstance(node, dict | list | tuple):
        for item in node.values() if isinstance(node, dict) else node:
            yield from _sources(item)


def _extract(layer: Any) -> KerasLayer:
    weights: dict[str, Weight] = {}
    plain = KerasLayer(layer.name, type(layer).__name__, layer.get_config(), weights, ranks=_ranks(layer))
    for variable in layer.weights:
        if str(variable.dtype) != "float32" or layer.compute_dtype != "float32":
            raise plain.refuse(
                f"{variable.name} is {variable.dtype}, computed in {layer.compute_dtype}",
                hint="Save the model with the dtype policy float32.",
            )
        weights[variable.name] = Weight(variable.path, np.array(variable.numpy()))
    return plain


def _ranks(layer: Any) -> tuple[int, ...]:
    """Of the layer's inputs."""
    sources = layer.input
    return tuple(len(source.shape) for source in (sources if isinstance(sources, list | tuple) else [sources]))


def _choose_recurrence(layers: list[KerasLayer], wanted: str) -> Recurrence:
    recurrent = [layer for layer in layers if layer.kind in RECURRENT]
    if not recurrent:
        return "none"
    stateful = [bool(layer.config["stateful"]) for layer in recurrent]
    if wanted == "auto" and len(set(stateful)) > 1:
        raise ModelError("some recurrent layers are stateful and some are not", hint="Set stateful on all or on none.")
    carried = wanted == "stateful" or (wanted == "auto" and stateful[0])
    over_time = next(filter(is_over_time, layers), None)
    if over_time is None:
        return "stateful" if carried else "windowed"
    if carried:
        raise over_time.refuse(
            "it looks at the window as a whole, so no state can be carried from one sample to the next",
            hint="Use the model as windowed, or take this layer out.",
        )
    return "none"


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
        builder.value = builder.inputs[0]
        READERS[layer.kind](replace(layer, last_recurrent=index == last), builder)
        values[layer.name] = builder.value
        if readers[layer.name] > 1:
            builder.shared.add(builder.value)
    graph = builder.finish()
    if not graph.weights():
        raise ModelError("it has no weights to quantise", hint=SUPPORTED)
    return graph


def _rolled_out(graph: Graph, feedback: Sequence[int | None] | None, steps: int | None) -> Graph:
    """``graph``, whose output is as the last layer left it, with what its values are and what becomes of them."""
    forecast = graph.forecast
    made, outputs = read_block(
        graph.tensors[graph.output].shape[1:], forecast.window, forecast.channels, feedback, steps
    )
    sources = checked_feedback(graph.name, feedback, forecast.channels, outputs)
    forecast = replace(forecast, feedback=sources, steps=made, outputs=outputs)
    forecast.check(graph.name, graph.tensors[graph.output].size)
    return only_needed(replace(_flat_output(graph), forecast=forecast).check())


def _flat_output(graph: Graph) -> Graph:
    """``graph`` with its output as (1, values): without a reshape that only gave it another shape, or with one more."""
    output = graph.tensors[graph.output]
    flat = (1, output.size)
    if output.shape == flat:
        return graph
    maker = next((op for op in graph.ops if graph.output in op.outputs), None)
    read = {name for op in graph.ops for name in op.inputs} | {state.output for state in graph.states}
    if maker is not None and maker.kind == "reshape" and graph.output not in read:
        before = graph.tensors[maker.inputs[0]]
        if before.shape == flat and before.data is None:
            tensors = {name: tensor for name, tensor in graph.tensors.items() if name != graph.output}
            ops = tuple(op for op in graph.ops if op is not maker)
            return replace(graph, tensors=tensors, ops=ops, output=before.name)
    name = f"{graph.output}/samples"
    tensors = {**graph.tensors, name: replace(output, name=name, shape=flat, group="")}
    return replace(graph, tensors=tensors, ops=(*graph.ops, Op("reshape", (graph.output,), (name,))), output=name)


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
            layer.reset_states()


def _describe(layer: KerasLayer) -> str:
    units = f"({layer.config['units']})" if "units" in layer.config else ""
    count = sum(weight.data.size for weight in layer.weights.values())
    return f"{layer.name}: {layer.kind}{units}" + (f", {count:,} parameters" if count else "")


def _one_line(error: Exception) -> str:
    """The innermost thing that a foreign exception says, short enough for one line."""
    text = " ".join(str(error).split("Exception encountered:")[-1].split()) or type(error).__name__
    return text if len(text) <= 200 else f"{text[:197]}..."
