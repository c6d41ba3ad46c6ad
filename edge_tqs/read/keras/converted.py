"""A Keras model with layers that no Graph knows, by way of TensorFlow's own converter: the second road.

The converter takes apart what a layer computes, one of the user's own too, and a float .tflite file is read operator by
operator. Weights have the names of the Keras variables that they equal.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from edge_tqs.errors import ModelError
from edge_tqs.graph.graph import Array, Graph, Op, Tensor
from edge_tqs.read.keras.files import file_hash, read_config
from edge_tqs.read.keras.model import load_keras
from edge_tqs.read.loaded import LoadedModel
from edge_tqs.read.tflite.model import load_tflite
from edge_tqs.read.tflite.system import tflite_system
from edge_tqs.system.reading import Said
from edge_tqs.system.tensorflow import import_tensorflow, quiet

#: How a refusal names a layer.
_LAYER = re.compile(r"layer ([^\s]+ \([^)]*\))")
#: Samples that recurrent layers are unrolled over: 168 take twenty seconds, 720 three minutes.
MOST_UNROLLED = 256
#: Random windows that the file and the model are compared on, and their largest difference, over 1 + max|y|.
CHECK_WINDOWS, TOLERANCE = 8, 1e-4


def through_converter(path: Path, said: Said | None, custom: tuple[str, ...], refusal: ModelError) -> LoadedModel:
    """The model of ``path``, which load refused with ``refusal``, as its converted file is read.

    Recurrent layers are unrolled for it, and become a step again where the file allows it.
    Raises ModelError: ``refusal`` for several inputs or outputs, an open window, states that are carried on, more than
    MOST_UNROLLED samples of recurrent layers, a file that the converter cannot make or that computes something else; or
    what the file's reader says.
    """
    model = load_keras(path, custom)
    ends = (getattr(model, "inputs", None), getattr(model, "outputs", None))  # a subclassed model has none
    if any(not end or len(end) != 1 for end in ends) or None in model.input_shape[1:]:
        raise refusal
    recurrent = [layer for layer in model._flatten_layers() if hasattr(layer, "unroll")]
    if any(layer.stateful for layer in recurrent) or (recurrent and model.input_shape[1] > MOST_UNROLLED):
        raise refusal
    for layer in recurrent:
        layer.unroll = True
    content = _converted(model, refusal)
    box = replace(tflite_system(content, str(path), said), name=path.stem)
    shape = (CHECK_WINDOWS, *model.input_shape[1:])
    windows = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    loaded = load_tflite(content, box, str(path))
    with quiet():
        expected = np.asarray(model(windows, training=False)).reshape(CHECK_WINDOWS, -1)
    seeds = windows.reshape(CHECK_WINDOWS, box.window, box.channels)
    ahead = np.zeros((CHECK_WINDOWS, box.seed_length(box.steps) - box.window, box.channels), np.float32)
    found = box.roll(np.concatenate([seeds, ahead], axis=1), box.steps).reshape(CHECK_WINDOWS, -1)
    if not np.abs(found - expected[:, -found.shape[1] :]).max() <= TOLERANCE * (1 + np.abs(expected).max()):
        raise refusal
    layer = _LAYER.search(refusal.message)
    what = "It" if layer is None else f"L{layer[0][1:]}"
    unrolled_by = layer[1] if layer is not None and recurrent and not loaded.graph.states else ""
    return replace(
        loaded,
        graph=_with_names(loaded.graph, model),
        source_hash=file_hash(path, custom),
        parameters=int(model.count_params()),
        unrolled_by=unrolled_by,
        notes=(
            *loaded.notes,
            *filter(None, [read_config(path).half_note()]),
            f"{what} is read as TensorFlow's converter takes it apart.",
        ),
    )


def _converted(model: Any, refusal: ModelError) -> bytes:
    """The float file. Raises ``refusal`` where the converter fails, whatever it raises then."""
    tf = import_tensorflow()
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    try:
        with quiet():
            function = tf.function(lambda x: model(x, training=False), autograph=False)
            concrete = function.get_concrete_function(tf.TensorSpec((1, *model.input_shape[1:]), tf.float32))
            frozen = convert_variables_to_constants_v2(concrete)
            return bytes(tf.lite.TFLiteConverter.from_concrete_functions([frozen], model).convert())
    except Exception as error:
        raise refusal from error


def _with_names(graph: Graph, model: Any) -> Graph:
    """``graph`` with the weights that equal a variable named as it."""
    known: dict[bytes, list[str]] = {}
    for variable in model.variables:
        for rows in _as_rows(np.asarray(variable.numpy(), np.float32)):
            known.setdefault(_key(rows), []).append(str(variable.path))
    names: dict[str, str] = {}
    for source, tensors in graph.weights().items():
        (first, *others), data = tensors, tensors[0].data
        assert data is not None
        paths = dict.fromkeys(known.get(_key(data.reshape(len(data), -1)), ()))
        if not others and len(paths) == 1 and first.name == source and (path := next(iter(paths))) not in graph.tensors:
            names[source] = path
    return _renamed(graph, {old: new for old, new in names.items() if [*names.values()].count(new) == 1})


def _as_rows(data: Array) -> Iterator[Array]:
    """A variable as rows of a weight: of Dense, convolutions and recurrent layers, and of depthwise ones."""
    if data.ndim < 2:
        return
    yield np.moveaxis(data, -1, 0).reshape(data.shape[-1], -1)
    if data.ndim == 3:  # depthwise: (taps, channels, 1)
        yield data.reshape(len(data), -1).T


def _key(rows: Array) -> bytes:
    return repr(rows.shape).encode() + np.ascontiguousarray(rows, np.float32).tobytes()


def _renamed(graph: Graph, names: dict[str, str]) -> Graph:
    def new(name: str) -> str:
        return names.get(name, name)

    tensors: dict[str, Tensor] = {}
    for name, tensor in graph.tensors.items():
        source = tensor.source and new(tensor.source)
        tensors[new(name)] = replace(tensor, name=new(name), source=source)
    ops = tuple(Op(op.kind, tuple(map(new, op.inputs)), op.outputs, op.attrs) for op in graph.ops)
    return replace(graph, tensors=tensors, ops=ops).check()
