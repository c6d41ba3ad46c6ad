"""Opening a model file: as a float Graph where one can be made of it, else as what can be scored alone.

A .keras file is scored by TensorFlow, a .tflite file by LiteRT alone, whether a Graph can be made of it or not.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

from edge_tqs.errors import CheckError, ModelError, UsageError
from edge_tqs.graph.graph import Centre, Graph, Target
from edge_tqs.passes.level import with_level
from edge_tqs.read.foreign import refuse_foreign
from edge_tqs.read.keras.converted import through_converter
from edge_tqs.read.keras.files import file_hash
from edge_tqs.read.keras.model import load, load_keras
from edge_tqs.read.keras.system import keras_system
from edge_tqs.read.loaded import LoadedModel
from edge_tqs.read.tflite.model import load_tflite
from edge_tqs.read.tflite.system import tflite_system
from edge_tqs.system.of_graph import graph_system
from edge_tqs.system.reading import Said
from edge_tqs.system.system import System

TFLITE_SUFFIX = ".tflite"
Recurrence = Literal["auto", "windowed", "stateful"]


@dataclass(frozen=True, eq=False)
class Opened:
    """A model that can be scored.

    system: what is scored. opener: opens the same system in another process. model_hash: SHA-256 of the file. loaded:
    the float graph and how far it is from the model; None for a model that cannot be built, ``refusal`` says why.
    in_litert: whether LiteRT rolls ``system`` out.
    """

    system: System
    opener: Callable[[], System]
    model_hash: str
    loaded: LoadedModel | None
    refusal: ModelError | None = None
    in_litert: bool = False

    def need_graph(self) -> tuple[LoadedModel, Graph]:
        """What `build` needs. Raises the ModelError that says why there is none."""
        if self.loaded is None:
            assert self.refusal is not None
            raise self.refusal
        return self.loaded, self.loaded.graph


def named(opened: Opened, name: str) -> Opened:
    """The model by another name than its file's."""
    loaded = opened.loaded
    if loaded is not None:
        loaded = replace(loaded, graph=replace(loaded.graph, name=name))
    return replace(opened, system=replace(opened.system, name=name), loaded=loaded)


def open_model(
    path: Path,
    *,
    recurrence: Recurrence = "auto",
    window: int | None = None,
    said: Said | None = None,
    custom: tuple[str, ...] = (),
    output: str | None = None,
    target: Target = "level",
    centre: Centre = "none",
) -> Opened:
    """Open a file of Keras or a .tflite file. said: what was said of its inputs and outputs.

    custom: module:name of each class or function of the user's own that a Keras model holds. output: names one of
    several outputs. target, centre: what the model predicts, and what is taken off its window: both become part of the
    graph (passes/level.py), after it was compared with the model.

    Raises ModelError for a file that is no model or cannot be rolled out, UsageError for options that it does not have,
    CheckError where the graph differs from the model, ToolError without TensorFlow (.keras) or LiteRT (.tflite).
    """
    if path.suffix == TFLITE_SUFFIX:
        opened = _open_tflite(path, recurrence, window, said, output)
        return _with_level(opened, path, target, centre)
    refuse_foreign(path)
    refusal: ModelError
    try:
        found = opened_graph(
            load(
                path,
                recurrence=recurrence,
                window=window,
                said=said,
                custom=custom,
                output=output,
            )
        )
    except ModelError as error:
        refusal = error
    else:
        return _with_level(found, path, target, centre)
    if recurrence != "stateful" and window is None and output is None:
        try:
            return _with_level(opened_graph(through_converter(path, said, custom, refusal)), path, target, centre)
        except (ModelError, CheckError):
            pass  # what the layers say is nearer to the user's model
    try:
        opener = partial(_keras_file_system, path, said, custom, output, window)
        system = opener()
    except ModelError as error:
        raise (error if custom else refusal) from error
    return _with_level(Opened(system, opener, file_hash(path, custom), None, refusal), path, target, centre)


def opened_graph(loaded: LoadedModel) -> Opened:
    """The graph of a loaded model as what is scored."""
    opener = partial(graph_system, loaded.graph)
    return Opened(opener(), opener, loaded.source_hash, loaded)


def _with_level(opened: Opened, path: Path, target: Target, centre: Centre) -> Opened:
    """``opened`` with what is added to its forecasts and taken off its window; scored as its graph then.

    Raises ModelError where there is no graph that could hold it, or none of the whole window for ``centre``.
    """
    if (target, centre) == ("level", "none"):
        return opened
    keys = {"target": target, "centre": centre}
    asked = " and ".join(f'{key} = "{value}"' for key, value in keys.items() if value not in ("level", "none"))
    if opened.loaded is None:
        assert opened.refusal is not None
        raise ModelError(
            f"{path}: {asked} becomes part of the float graph, and there is none: this model could "
            f"only be scored as a black box ({opened.refusal.message})",
            hint=f"Put it into the model itself, and leave {asked} out. {opened.refusal.hint}".strip(),
        )
    try:
        graph = with_level(opened.loaded.graph, target, centre)
    except ModelError as error:
        raise ModelError(f"{path}: {error.message}", hint=error.hint) from error
    return opened_graph(replace(opened.loaded, graph=graph))


def _keras_file_system(
    path: Path, said: Said | None, custom: tuple[str, ...], output: str | None, window: int | None
) -> System:
    return keras_system(load_keras(path, custom), said, output, window)


def _open_tflite(
    path: Path,
    recurrence: Recurrence,
    window: int | None,
    said: Said | None,
    output: str | None,
) -> Opened:
    opener = partial(_tflite_file_system, path, said, output, window)
    system = opener()
    if window not in (None, system.window):
        raise UsageError(
            f"--window {window}: {path} was converted for a window of {system.window}", hint="Leave --window out."
        )
    if recurrence == "stateful":
        raise UsageError(
            f"{path} takes a whole window and keeps no state", hint="Leave --recurrence out, or give the .keras file."
        )
    content = path.read_bytes()
    try:
        loaded, refusal = load_tflite(content, system, str(path), output), None
    except ModelError as error:
        loaded, refusal = None, error
    if loaded is not None and (idle := frozenset(system.weights.keys() - loaded.graph.weights().keys())):
        opener = partial(_tflite_file_system, path, said, output, window, idle)
        system = opener()
    return Opened(system, opener, hashlib.sha256(content).hexdigest(), loaded, refusal, in_litert=True)


def _tflite_file_system(
    path: Path, said: Said | None, output: str | None, window: int | None, idle: frozenset[str] = frozenset()
) -> System:
    """``idle``: weights that no forecast depends on."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: {error.strerror}", hint="Check the path of the .tflite file.") from error
    system = tflite_system(content, str(path), said, output, window)
    weights = {name: parts for name, parts in system.weights.items() if name not in idle}
    return replace(system, name=path.stem, weights=weights)
