"""Any file that Keras wrote, of Keras 3 or 2: its config without TensorFlow, its model with it.

Kinds: the .keras archive of either Keras, the HDF5 file and the SavedModel directory of Keras 2. What Keras 3 no longer
takes of a Keras 2 config is mended (keras_mending) before Keras 3 builds the model; the weights are then read from
the file by layer, never by position in the file.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from itertools import count
from pathlib import Path
from typing import Any, Literal

import numpy as np

from edge_tqs.errors import ModelError, ToolError, UsageError
from edge_tqs.graph.graph import Array
from edge_tqs.read.keras.mending import mended
from edge_tqs.read.keras.protobuf import bytes_fields, text_field
from edge_tqs.system.tensorflow import import_tensorflow

SAVE_HINT = "Save the model with Keras: model.save('model.keras')."
#: What the layers of a mixed policy compute in, on weights of float32.
HALVES = ("float16", "bfloat16")
MIXED = tuple(f"mixed_{half}" for half in HALVES)
CONVERT_HINT = (
    "Save the model itself with model.save('model.keras'), or convert it to a float .tflite file and give that."
)
#: What reading a damaged file raises; MemoryError and OverflowError by sizes that are nonsense.
DAMAGE = (
    OSError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    RuntimeError,
    MemoryError,
    OverflowError,
    zipfile.BadZipFile,
    zlib.error,
)
_HDF5 = b"\x89HDF\r\n\x1a\n"


@dataclass(frozen=True)
class KerasFile:
    """What a file says without TensorFlow.

    config: {"class_name", "config"} of the model, of Keras 2 mended already. legacy: whether Keras 2 wrote it.
    """

    path: Path
    kind: Literal["archive", "hdf5", "saved_model"]
    config: dict[str, Any]
    legacy: bool

    def half_note(self) -> str:
        """What is to be said where layers compute in half precision in Keras; "" where none does."""
        text = json.dumps(self.config)
        policies = [name for name in MIXED if f'"{name}"' in text]
        if not policies:
            return ""
        return (
            f"Layers of the policy {policies[0]} compute in {policies[0].removeprefix('mixed_')} in Keras. Here they "
            "compute in the float32 of their weights, and so does the model that the graph is compared with."
        )


def read_config(path: Path) -> KerasFile:
    """The config in a file of Keras. Raises ModelError for anything else, ToolError for HDF5 without h5py."""
    if not path.exists():
        raise ModelError("there is no such file", hint="Check the path of the model.")
    if path.is_dir():
        return KerasFile(path, "saved_model", _mended(_saved_model_config(path)), True)
    try:
        with path.open("rb") as file:
            is_hdf5 = file.read(len(_HDF5)) == _HDF5
    except OSError as error:
        raise ModelError(f"cannot be read: {error.strerror}", hint="Check the path of the model.") from error
    if is_hdf5:
        return KerasFile(path, "hdf5", _mended(_hdf5_config(path)), True)
    try:
        with zipfile.ZipFile(path) as archive:
            config = json.loads(archive.read("config.json"))
            names = archive.namelist()
            metadata = json.loads(archive.read("metadata.json")) if "metadata.json" in names else {}
        legacy = str(metadata.get("keras_version", "3")).startswith("2.")
        config["class_name"], config["config"]
    except DAMAGE as error:
        raise ModelError(f"is not a Keras 3 .keras file ({one_line(error)})", hint=SAVE_HINT) from error
    return KerasFile(path, "archive", _mended(config) if legacy else config, legacy)


def open_keras(file: KerasFile, custom: Sequence[str] = ()) -> Any:
    """The Keras 3 model, not compiled. custom: as ``custom_objects`` takes it.

    Raises ModelError (damaged, or a layer that Keras 3 does not have), UsageError (custom), ToolError (no TensorFlow).
    """
    keras = import_tensorflow().keras
    known = custom_objects(custom)
    known |= {name: known[short] for name in _packaged(file.config) if (short := name.rpartition(">")[2]) in known}
    try:
        if file.kind == "archive":
            return _in_float32(_open_archive(keras, file, known))
        kind = keras.Sequential if file.config["class_name"] == "Sequential" else keras.Model
        model = kind.from_config(file.config["config"], custom_objects=known)
        if not model.built:
            raise ModelError("its input shape is not in the file", hint="Save it after it was built or trained.")
        _assign(model, _hdf5_weights(file.path) if file.kind == "hdf5" else _saved_model_weights(file.path))
    except (ModelError, ToolError):
        raise
    except Exception as error:  # Keras raises what it likes on a config that it does not know
        raise ModelError(
            f"Keras {keras.__version__} cannot load it: {one_line(error)}",
            hint="The file is damaged, or holds a class of your own: then register it with --custom-objects "
            f"module:name. {SAVE_HINT}",
        ) from error
    return _in_float32(model)


def _in_float32(model: Any) -> Any:
    """``model``, whose layers compute in the float32 of their weights, where a policy says half of it."""
    for layer in model._flatten_layers():
        if layer.variable_dtype == "float32" and layer.compute_dtype in HALVES:
            layer.dtype_policy = "float32"
    return model


def custom_objects(names: Sequence[str]) -> dict[str, Any]:
    """name -> the layer class or function of each ``module:name``; modules are looked for in the current folder too.

    Raises UsageError for one that cannot be imported.
    """
    found: dict[str, Any] = {}
    for text in names:
        module, _, name = text.partition(":")
        hint = (
            "Write module:name, for a module.py in this folder or an installed package: --custom-objects blocks:Gate."
        )
        if not module or not name:
            raise UsageError(f"--custom-objects {text} is not module:name", hint=hint)
        here = str(Path.cwd())
        if here not in sys.path:
            sys.path.insert(0, here)
        try:
            found[name] = getattr(import_module(module), name)
        except Exception as error:  # the user's module may raise anything
            raise UsageError(f"--custom-objects {text}: {one_line(error)}", hint=hint) from error
        if not callable(found[name]):
            raise UsageError(f"--custom-objects {text} is neither a class nor a function", hint=hint)
    return found


def file_hash(path: Path, custom: Sequence[str] = ()) -> str:
    """SHA-256, hexadecimal, of a file, or of a directory's files in order; with the modules of ``custom``."""
    digest = hashlib.sha256()
    for member in [path] if path.is_file() else sorted(item for item in path.rglob("*") if item.is_file()):
        if member != path:
            digest.update(f"{member.relative_to(path).as_posix()}\0{member.stat().st_size}\0".encode())
        digest.update(member.read_bytes())
    for name in custom:
        source = getattr(sys.modules.get(name.partition(":")[0]), "__file__", None)
        digest.update(name.encode() + (Path(source).read_bytes() if source else b""))
    return digest.hexdigest()


def one_line(error: BaseException) -> str:
    """The innermost thing that a foreign exception says, short enough for one line."""
    text = " ".join(str(error).split("Exception encountered:")[-1].split()) or type(error).__name__
    return text if len(text) <= 200 else f"{text[:197]}..."


def _packaged(item: Any) -> set[str]:
    """Class names of the form package>Name, as register_keras_serializable makes them, in a config."""
    if isinstance(item, list):
        return set().union(*map(_packaged, item))
    if not isinstance(item, dict):
        return set()
    names = {name for key in ("class_name", "registered_name") if isinstance(name := item.get(key), str)}
    return {name for name in names if ">" in name}.union(*map(_packaged, item.values()))


def _mended(config: dict[str, Any]) -> dict[str, Any]:
    try:
        fixed: dict[str, Any] = mended(config)
        fixed["class_name"], fixed["config"]
    except DAMAGE as error:
        raise ModelError(f"holds no config of a Keras model ({one_line(error)})", hint=SAVE_HINT) from error
    return fixed


def _open_archive(keras: Any, file: KerasFile, known: dict[str, Any]) -> Any:
    if not file.legacy:
        return keras.models.load_model(file.path, custom_objects=known, compile=False)
    config = {key: value for key, value in file.config.items() if key != "compile_config"}
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "model.keras"
        with zipfile.ZipFile(file.path) as old, zipfile.ZipFile(copy, "w") as new:
            for name in old.namelist():
                new.writestr(name, json.dumps(config) if name == "config.json" else old.read(name))
        return keras.models.load_model(copy, custom_objects=known, compile=False)


def _h5py() -> Any:
    try:
        return import_module("h5py")
    except ImportError as error:
        raise ToolError(
            f"reading an HDF5 file needs h5py, which does not import: {error}",
            hint="Run: pip install 'edge-tqs[keras]'",
        ) from error


def _hdf5_config(path: Path) -> dict[str, Any]:
    h5py = _h5py()
    try:
        with h5py.File(path, "r") as file:
            text = file.attrs.get("model_config")
    except DAMAGE as error:
        raise ModelError(f"is a damaged HDF5 file ({one_line(error)})", hint="Copy or save it again.") from error
    if text is None:
        raise ModelError(
            "is an HDF5 file that holds no model_config: weights alone, not a model",
            hint="Build the model in Keras, load these weights into it, and save it with model.save('model.keras').",
        )
    try:
        config: dict[str, Any] = json.loads(text)
    except DAMAGE as error:
        raise ModelError(f"is a damaged HDF5 file ({one_line(error)})", hint="Copy or save it again.") from error
    return config


def _hdf5_weights(path: Path) -> dict[str, list[Array]]:
    """By layer, in Keras 2's order: those that are trained, then the others."""
    h5py = _h5py()

    def text(value: Any) -> str:
        return value.decode() if isinstance(value, bytes) else str(value)

    def listed(attributes: Any, name: str) -> list[str]:
        """An attribute, or the pieces name0, name1, ... of one that was too long for HDF5."""
        if name in attributes:
            return [text(item) for item in attributes[name]]
        pieces: list[str] = []
        for index in count():
            if f"{name}{index}" not in attributes:
                break
            pieces += [text(item) for item in attributes[f"{name}{index}"]]
        return pieces

    try:
        with h5py.File(path, "r") as file:
            root = file["model_weights"]
            return {
                layer: [np.array(root[layer][name]) for name in listed(root[layer].attrs, "weight_names")]
                for layer in listed(root.attrs, "layer_names")
            }
    except DAMAGE as error:
        raise ModelError(f"its weights are damaged ({one_line(error)})", hint="Copy or save it again.") from error


def _saved_model_nodes(path: Path) -> list[tuple[str, dict[str, Any]]]:
    """(path in the object graph, metadata) of each object that Keras 2 described; [] where it described none."""
    metadata = path / "keras_metadata.pb"
    if not metadata.is_file():
        return []
    # SavedMetadata.nodes = 1; SavedObject.node_path = 3, metadata = 5
    items = [(text_field(node, 3), text_field(node, 5)) for node in bytes_fields(metadata.read_bytes(), 1)]
    return [(where, json.loads(text)) for where, text in items if text]


def _saved_model_config(path: Path) -> dict[str, Any]:
    if not (path / "saved_model.pb").is_file():
        raise ModelError("is a directory without saved_model.pb, so no SavedModel of Keras", hint=SAVE_HINT)
    try:
        root = dict(_saved_model_nodes(path)).get("root", {})
    except DAMAGE as error:
        raise ModelError(f"is a damaged SavedModel ({one_line(error)})", hint="Copy or save it again.") from error
    if "class_name" not in root or "config" not in root:
        raise ModelError(
            "is a SavedModel without Keras' description of its layers (keras_metadata.pb, TensorFlow 2.5 to 2.15 and "
            "tf_keras): only a graph",
            hint=CONVERT_HINT,
        )
    if not (path / "variables" / "variables.index").is_file():
        raise ModelError(
            "is a SavedModel without variables/variables.index: its weights are missing",
            hint="Copy the whole directory, with its folder variables.",
        )
    return {"class_name": root["class_name"], "config": root["config"]}


def _saved_model_weights(path: Path) -> dict[str, list[Array]]:
    """By layer, those that are trained, then the others; found in the checkpoint's object graph."""
    tf = import_tensorflow()
    from tensorflow.core.protobuf import trackable_object_graph_pb2

    try:
        reader = tf.train.load_checkpoint(str(path / "variables" / "variables"))
        graph = trackable_object_graph_pb2.TrackableObjectGraph()
        graph.ParseFromString(reader.get_tensor("_CHECKPOINTABLE_OBJECT_GRAPH"))
        names = [(where, entry) for where, entry in _saved_model_nodes(path) if where.startswith("root.layer")]

        def child(node: int, name: str) -> int | None:
            return next((item.node_id for item in graph.nodes[node].children if item.local_name == name), None)

        def listed(layer: int, name: str) -> list[int]:
            group = child(layer, name)
            items = [] if group is None else [i for i in graph.nodes[group].children if i.local_name.isdecimal()]
            return [item.node_id for item in sorted(items, key=lambda item: int(item.local_name))]

        def variables(layer: int) -> list[Array]:
            trained = listed(layer, "trainable_variables")
            nodes = trained + [node for node in listed(layer, "variables") if node not in trained]
            return [np.array(reader.get_tensor(graph.nodes[node].attributes[0].checkpoint_key)) for node in nodes]

        weights: dict[str, list[Array]] = {}
        for where, entry in names:
            _, *parts = where.split(".")
            if len(parts) == 1 and (node := child(0, parts[0])) is not None:
                weights[entry["name"]] = variables(node)
    except (*DAMAGE, tf.errors.OpError) as error:
        raise ModelError(f"its variables are damaged ({one_line(error)})", hint="Copy or save it again.") from error
    return weights


def _assign(model: Any, weights: dict[str, list[Array]]) -> None:
    """Give each layer its weights. Raises ModelError where the number or the shape of them differs."""
    for layer in model.layers:
        variables = [*layer.trainable_weights, *layer.non_trainable_weights]
        arrays = weights.get(layer.name, [])
        wanted, found = [tuple(v.shape) for v in variables], [array.shape for array in arrays]
        if wanted != found:
            raise ModelError(
                f"layer {layer.name} ({type(layer).__name__}) holds weights of shapes {found}, Keras 3 needs {wanted}",
                hint=f"The file is damaged, or the layer changed since. {SAVE_HINT}",
            )
        for variable, array in zip(variables, arrays, strict=True):
            variable.assign(array)


__all__ = ["KerasFile", "custom_objects", "file_hash", "one_line", "open_keras", "read_config"]
