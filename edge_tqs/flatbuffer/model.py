"""model.tflite: integer Graph to bytes and back, its metadata and its hash. docs/format.md specifies the file.

Equal graphs and metadata give equal bytes. Data of buffers is 16-byte aligned from the start of the file, as the
runtimes that map it expect; what is equal is written once.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from edge_tqs.errors import ModelError
from edge_tqs.flatbuffer import lower as tflite_lower
from edge_tqs.flatbuffer.form import FOR_ALL, FileForm, without_names
from edge_tqs.flatbuffer.raise_ import raise_graph
from edge_tqs.flatbuffer.tables import DAMAGE, FILE_IDENTIFIER, check_counts
from edge_tqs.graph.graph import Forecast, Graph, Output, Scaling
from edge_tqs.graph.rescale import rescale_table

#: What is written: the least version that says all of a model, so that older readers read what they can.
FORMAT_VERSION = 2
#: The version of models that hold inputs, name their outputs, or feed nothing back.
KINDS_VERSION = 3
#: The version of models whose outputs are rescaled before they are fed back.
RESCALED_VERSION = 4
#: The version of models with a weight whose name says which variable it is a part of.
PARTS_VERSION = 5
#: Version 1 had neither steps nor outputs: one sample of all channels.
READABLE = (1, 2, 3, 4, 5)
NO_HASH = "0" * 64

_HASH_FIELD = re.compile(rb'"model_hash":"([0-9a-f]{64})"')
_GIVEN = frozenset({"generator", "plan", "source_hash"})
_HINT = "Build it again with `edge-tqs build`."


def write(graph: Graph, metadata: Mapping[str, Any], form: FileForm = FOR_ALL) -> bytes:
    """The flatbuffer of an integer ``graph``.

    Args:
        graph: What quantize gave.
        form: For whom it is written.
        metadata: source_hash (str), plan (source -> width) and generator (str); the rest of the entry ``edge_tqs`` is
            the graph's forecast and what format.md says.

    Raises:
        ModelError: The graph is not an integer graph, or ``metadata`` has other fields.
    """
    if set(metadata) != _GIVEN:
        raise ModelError(f"The metadata of {graph.name} must hold {sorted(_GIVEN)}, not {sorted(metadata)}")
    if form.strip:
        graph, numbers = without_names(graph)
        metadata = {**metadata, "plan": {numbers[source]: width for source, width in metadata["plan"].items()}}
    kinds = _describe_kind(graph.forecast)
    version = KINDS_VERSION if kinds else FORMAT_VERSION
    if rescale_table(graph) is not None:
        version = RESCALED_VERSION
    sources, by_name = _sources(graph, metadata["plan"])
    if by_name:
        version = PARTS_VERSION
    entry = _describe(graph) | kinds | dict(metadata) | {"format_version": version, "model_hash": NO_HASH}
    if sources:
        entry["sources"] = sources
    text = json.dumps(entry, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    data = _pack(tflite_lower.lower(graph, text.encode(), form))
    found = _HASH_FIELD.search(data)
    assert found is not None
    digest = hashlib.sha256(data).hexdigest().encode()
    return data[: found.start(1)] + digest + data[found.end(1) :]


def model_hash(model: bytes) -> str:
    """The 64 hex digits of ``model``: the SHA-256 of the file with these digits as zeros.

    Raises ModelError when the file has none, or was changed since they were written.
    """
    found = _HASH_FIELD.search(model)
    if found is None:
        raise ModelError("The file has no edge_tqs metadata: edge-tqs did not write it", hint=_HINT)
    zeroed = model[: found.start(1)] + NO_HASH.encode() + model[found.end(1) :]
    digits = found.group(1).decode()
    if hashlib.sha256(zeroed).hexdigest() != digits:
        raise ModelError(
            f"The model was changed after it was built: its hash is no longer {digits[:12]}...", hint=_HINT
        )
    return digits


def read(model: bytes) -> tuple[Graph, dict[str, Any]]:
    """The integer graph and the metadata of what ``write`` wrote.

    Raises ModelError for anything else: no flatbuffer, another writer's, a damaged or a changed one.
    """
    if len(model) < 8 or model[4:8] != FILE_IDENTIFIER:
        raise ModelError("The file is not a TensorFlow Lite model", hint=_HINT)
    model_hash(model)
    return _read(model)


def _read(model: bytes) -> tuple[Graph, dict[str, Any]]:
    schema = tflite_lower.schema()
    try:
        root = schema.Model.GetRootAsModel(model, 0)
        check_counts(root, len(model))
        parsed = schema.ModelT.InitFromObj(root)
        metadata = _metadata(parsed)
        given = {str(name): str(source) for name, source in metadata.get("sources", {}).items()}
        plan = metadata["plan"]

        def source_of(weight: str) -> str:
            return given.get(weight) or _source_by_name(weight, plan)

        return raise_graph(parsed, schema, _forecast(metadata), source_of), metadata
    except DAMAGE as error:
        raise ModelError(f"The model is damaged: {type(error).__name__}: {error}", hint=_HINT) from error


def _pack(model: Any) -> bytes:
    from edge_tqs.flatbuffer.sharing import SharingBuilder

    builder = SharingBuilder()
    builder.Finish(model.Pack(builder), file_identifier=FILE_IDENTIFIER)
    return bytes(builder.Output())


def _source_by_name(weight: str, plan: Mapping[str, Any]) -> str:
    """The variable that a weight is, or is a part of: itself, or what the plan has where /N is taken off its end."""
    whole = weight.rpartition("/")[0]
    return whole if weight not in plan and whole in plan else weight


def _sources(graph: Graph, plan: Mapping[str, Any]) -> tuple[dict[str, str], bool]:
    """The sources that names do not say, and whether there are parts of which they do."""
    pairs = {t.name: source for source, tensors in graph.weights().items() for t in tensors}
    told = {name: source for name, source in pairs.items() if _source_by_name(name, plan) != source}
    return told, any(name != source for name, source in pairs.items() if name not in told)


def _describe(graph: Graph) -> dict[str, Any]:
    forecast = graph.forecast
    scaling = forecast.scaling
    return {
        "window": forecast.window,
        "channels": forecast.channels,
        "outputs": forecast.outputs,
        "steps": forecast.steps,
        "recurrence": forecast.recurrence,
        "feedback": list(forecast.feedback),
        "columns": list(forecast.columns),
        "scaling": None if scaling is None else {"mean": list(scaling.mean), "std": list(scaling.std)},
    }


def _describe_kind(forecast: Forecast) -> dict[str, Any]:
    """What version 2 could not say of a forecast; empty where that said all."""
    said: dict[str, Any] = {}
    if forecast.held:
        said["held"] = list(forecast.held)
    if forecast.predicted:
        said["predicted"] = [
            {key: value for key, value in asdict(output).items() if value is not None} for output in forecast.predicted
        ]
    if forecast.output_scaling:
        said["output_scaling"] = asdict(forecast.output_scaling)
    if forecast.whole:
        said["whole"] = [list(one) for one in forecast.whole]
    if forecast.driven or said:
        said["task"] = forecast.task
    return said


def _metadata(parsed: Any) -> dict[str, Any]:
    for entry in parsed.metadata or ():
        if bytes(entry.name) == tflite_lower.METADATA_NAME.encode():
            metadata: dict[str, Any] = json.loads(bytes(parsed.buffers[entry.buffer].data).decode())
            version = metadata["format_version"]
            if version not in READABLE:
                raise ModelError(
                    f"The model has format version {version}; this edge-tqs reads 1 to {READABLE[-1]}",
                    hint="Use the edge-tqs that built it, or build it again.",
                )
            return metadata
    raise ModelError("The file has no edge_tqs metadata: edge-tqs did not write it", hint=_HINT)


def _forecast(metadata: Mapping[str, Any]) -> Forecast:
    scaling, of_outputs = metadata["scaling"], metadata.get("output_scaling")
    if metadata["recurrence"] not in ("none", "windowed", "stateful"):
        raise ModelError(f"The model's recurrence is {metadata['recurrence']!r}", hint=_HINT)
    return Forecast(
        int(metadata["window"]),
        int(metadata["channels"]),
        metadata["recurrence"],
        tuple(None if channel is None else int(channel) for channel in metadata["feedback"]),
        tuple(str(column) for column in metadata["columns"]),
        None if scaling is None else Scaling(tuple(scaling["mean"]), tuple(scaling["std"])),
        int(metadata.get("steps", 1)),
        int(metadata.get("outputs", metadata["channels"])),
        tuple(int(channel) for channel in metadata.get("held", ())),
        tuple(Output(**output) for output in metadata.get("predicted", ())),
        None if of_outputs is None else Scaling(tuple(of_outputs["mean"]), tuple(of_outputs["std"])),
        metadata.get("task", "forecast"),
        tuple((int(channel), int(count)) for channel, count in metadata.get("whole", ())),
    )
