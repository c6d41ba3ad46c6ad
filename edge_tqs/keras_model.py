"""A Keras 3 ``.keras`` file as a float Graph, compared with Keras itself."""

from __future__ import annotations

import hashlib
import json
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from edge_tqs.errors import CheckError, ModelError, UsageError
from edge_tqs.graph import Graph, Recurrence
from edge_tqs.interpret import float_step, zero_states
from edge_tqs.keras_nodes import Source, items_of, kind_of, read_nodes
from edge_tqs.layers import MERGING, READERS, RECURRENT, GraphBuilder, KerasLayer, Weight, is_over_time
from edge_tqs.layers.activation import check_activation
from edge_tqs.layers.recurrent import check_gates
from edge_tqs.loaded import LoadedModel
from edge_tqs.positions import only_needed
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
    path: Path, *, recurrence: Literal["auto", "windowed", "stateful"] = "auto", window: int | None = None
) -> LoadedModel:
    """Read a forecaster: Sequential or Functional, input (W, F), output (F,) one step ahead.

    recurrence: "auto" is "stateful" if the Keras layers are, else "windowed"; a model without recurrent layers has
    recurrence "none" whatever is asked. window: W, needed when the model leaves it open; for a stateful model, how
    many samples are pushed before the first forecast.

    Raises ModelError (what cannot be read or built), UsageError (window), ToolError (no TensorFlow), CheckError (the
    graph differs from Keras).
    """
    try:
        _check_file(path)
        with quiet():
            model = _load_keras(path)
            layers = _read_layers(model)
            chosen = _choose_recurrence(layers, recurrence)
            _, model_window, channels = _input_shape(model)
            graph = _build(path.stem, layers, _choose_window(model_window, window, chosen), channels, chosen)
            largest = _compare(model, graph)
    except (ModelError, CheckError) as error:
        raise type(error)(f"{path}: {error.message}", hint=error.hint) from error.__cause__
    return LoadedModel(
        graph,
        largest,
        hashlib.sha256(path.read_bytes()).hexdigest(),
        sum(weight.data.size for weight in {id(w): w for layer in layers for w in layer.weights.values()}.values()),
        tuple(_describe(layers)),
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
        kind = model["class_name"]
        layers = [(kind_of(item), _custom(item), dict(item["config"])) for item in items_of(model["config"])]
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        raise ModelError(f"is not a Keras 3 .keras file ({_one_line(error)})", hint=SAVE_HINT) from error
    if kind not in ("Sequential", "Functional", "Model") or not layers:
        raise ModelError(f"is a model of class {kind}", hint="Supported: Sequential and Functional.")
    for name, custom, config in layers:
        layer = KerasLayer(str(config.get("name", "?")), name, config, {})
        if name not in READERS or custom:
            others = sorted({other for other, _, _ in layers if other not in READERS} - {name})
            more = f"; nor are {', '.join(others)}" if others else ""
            raise layer.refuse(f"this layer is not supported{more}", hint=SUPPORTED)
        if name in RECURRENT:
            check_gates(layer)
        else:
            check_activation(layer, config.get("activation"))


def _custom(item: Mapping[str, Any]) -> bool:
    """Whether a layer is not Keras' own."""
    return item.get("registered_name") is not None and not kind_of(item).startswith("ops.")


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


def _read_layers(model: Any) -> list[KerasLayer]:
    """The layers, as often as they are applied, each behind those that it reads; the last one is the output.

    Raises ModelError where the model has several inputs or outputs, or for what a layer cannot be applied to.
    """
    nodes = read_nodes(model)
    hint = "A forecaster has one input (W, F) and one output (F,)."
    for what, ends, keyed in (
        ("inputs", nodes.inputs, nodes.keyed_inputs),
        ("outputs", nodes.outputs, nodes.keyed_outputs),
    ):
        if keyed:
            raise ModelError(f"its {what} are a dict", hint=hint)
        if len(ends) != 1:
            raise ModelError(f"has {len(ends)} {what}", hint=hint)
    extracted: dict[int, KerasLayer] = {}
    layers = []
    for node in nodes.nodes:
        if len(node.sources) != 1 and node.kind not in MERGING:
            raise ModelError(
                f"layer {node.name} ({node.kind}) is applied to {len(node.sources)} values, which is not supported",
                hint=f"Layers of several inputs: {', '.join(sorted(MERGING))}.",
            )
        if id(node.operation) not in extracted:
            extracted[id(node.operation)] = _extract(node.operation)
        plain = extracted[id(node.operation)]
        if node.call and plain.config.get("stateful"):
            raise plain.refuse(
                f"it is stateful and applied {node.call + 1} times: each would change the states of the others",
                hint="Give each place a layer of its own.",
            )
        layers.append(
            replace(
                plain,
                name=node.name,
                kind=node.kind,
                ranks=tuple(len(shape) for shape in node.shapes),
                inputs=tuple("" if source == nodes.inputs[0].source else source.key for source in node.sources),
                args=node.args,
                kwargs=node.kwargs,
            )
        )
    return layers


def _extract(layer: Any) -> KerasLayer:
    weights: dict[str, Weight] = {}
    plain = KerasLayer(layer.name, type(layer).__name__, layer.get_config(), weights)
    for variable in getattr(layer, "weights", ()):  # an operation has none
        if str(variable.dtype) != "float32" or layer.compute_dtype != "float32":
            raise plain.refuse(
                f"{variable.name} is {variable.dtype}, computed in {layer.compute_dtype}",
                hint="Save the model with the dtype policy float32.",
            )
        weights[variable.name] = Weight(variable.path, np.array(variable.numpy()))
    return plain


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
    builder.values[""] = builder.value
    for index, layer in enumerate(layers):
        builder.inputs = tuple(builder.values[source] for source in layer.inputs)
        builder.value, builder.outputs = builder.inputs[0], ()
        READERS[layer.kind](replace(layer, last_recurrent=index == last), builder)
        for number, value in enumerate(builder.outputs or (builder.value,)):
            key = Source(layer.name, number).key
            builder.values[key] = value
            if readers[key] > 1:
                builder.shared.add(value)
    shape = builder.shape(builder.value)
    if shape != (1, channels):
        raise ModelError(
            f"it predicts {' x '.join(map(str, shape[1:]))} values from {channels} channels: "
            "its output cannot be fed back as its next input",
            hint=f"Train it to predict all {channels} channels one step ahead.",
        )
    graph = only_needed(builder.finish())
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
    carried = forecast.recurrence == "stateful" and any(_stateful_layers(model))
    expected, found = [], []
    step, states = float_step(graph), zero_states(graph, batch)
    _reset(model)
    for begin in range(0, samples.shape[1], length):
        window = samples[:, begin : begin + length]
        if not carried:
            _reset(model)
            states = zero_states(graph, batch)
        expected.append(np.asarray(model(window, training=False)))
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
        layer.reset_states()


def _stateful_layers(model: Any) -> list[Any]:
    """Those of models inside the model among them."""
    return [layer for layer in model._flatten_layers(include_self=False) if getattr(layer, "stateful", False)]


def _describe(layers: list[KerasLayer]) -> Iterator[str]:
    """A line each; what is applied again shares the weights of its first place."""
    seen: set[int] = set()
    for layer in layers:
        units = f"({layer.config['units']})" if "units" in layer.config else ""
        count = sum(weight.data.size for weight in layer.weights.values())
        size = f", {count:,} parameters" if count else ""
        yield f"{layer.name}: {layer.kind}{units}" + (", shared" if size and id(layer.weights) in seen else size)
        seen.add(id(layer.weights))


def _one_line(error: Exception) -> str:
    """The innermost thing that a foreign exception says, short enough for one line."""
    text = " ".join(str(error).split("Exception encountered:")[-1].split()) or type(error).__name__
    return text if len(text) <= 200 else f"{text[:197]}..."
