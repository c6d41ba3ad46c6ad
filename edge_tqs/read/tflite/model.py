"""A float TensorFlow Lite file, whoever wrote it, as a float Graph, compared with LiteRT. TensorFlow is not needed."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator

import numpy as np

from edge_tqs.errors import CheckError, ModelError
from edge_tqs.flatbuffer.tables import DAMAGE, DAMAGED_HINT, FileGraph, FileModel, parse, with_output
from edge_tqs.graph.graph import Forecast, Graph
from edge_tqs.passes.interpret import float_rollout, float_step
from edge_tqs.passes.positions import only_needed
from edge_tqs.passes.rolling import rolled_up
from edge_tqs.read.loaded import LoadedModel
from edge_tqs.read.tflite.centring import centred_first
from edge_tqs.read.tflite.operators import SHAPE_TYPES, TABLE, import_operator
from edge_tqs.read.tflite.placing import read
from edge_tqs.read.tflite.system import ends_in_softmax
from edge_tqs.read.tflite.views import ImportedGraph, View
from edge_tqs.read.tflite.weights import find_weights
from edge_tqs.read.windows import flat_note
from edge_tqs.system.blocks import SOFTMAX_NOTE
from edge_tqs.system.system import System

#: Random windows that the graph and LiteRT are compared on.
CHECK_WINDOWS = 16
#: Largest difference from LiteRT, relative to 1 + max|y|: float32 rounding.
TOLERANCE = 1e-4
#: What a recurrent layer becomes that the converter does not unroll.
LOOPS = frozenset({"WHILE", "UNIDIRECTIONAL_SEQUENCE_LSTM", "UNIDIRECTIONAL_SEQUENCE_RNN"})
UNROLLED = (
    "It is a recurrent layer as the converter leaves it: give the .keras file, which is built as a step with states, "
    "or convert the model again with unroll=True in its recurrent layers. "
)
IDLE = "No forecast depends on {}, as in a backward layer of which the last sample is read: it is left out."
SUPPORTED = (
    f"Supported operators: {', '.join(sorted(TABLE))}. `edge-tqs score` and `edge-tqs plan` take any float model."
)


def load_tflite(model: bytes, system: System, name: str, output: str | None = None) -> LoadedModel:
    """The float graph of a ``model``, as ``system`` (what tflite_system makes of it) runs it in LiteRT.

    The window goes in, the forecast comes out (recurrence "none"), but where the file applies one cell to each sample:
    that becomes a step ("windowed"). A weight's source is its name in ``system``.
    output: which of several, as tflite_system takes it.
    Raises ModelError for an operator that a graph cannot hold, naming it, and for a forecaster that does not predict
    all its inputs; CheckError where the graph differs from LiteRT. Messages begin with ``name``.
    """
    try:
        whole = _import(model, system, output)
        graph, largest = _as_step(whole, system) or (whole, _compare(whole, system))
    except (ModelError, CheckError) as error:
        raise type(error)(f"{name}: {error.message}", hint=error.hint) from error.__cause__
    kinds = Counter(op.kind for op in graph.ops)
    parsed = with_output(parse(model), output)
    idle = sorted(system.weights.keys() - whole.weights().keys())
    return LoadedModel(
        graph,
        largest,
        hashlib.sha256(model).hexdigest(),
        _parameters(parsed.graphs[0]),
        tuple(f"{kind}: {count}" for kind, count in kinds.items()),
        (*_notes(parsed, system), *(IDLE.format(", ".join(idle)) for _ in idle[:1])),
    )


def _as_step(whole: Graph, system: System) -> tuple[Graph, float] | None:
    """The step of a cell that the file applies to each sample, and its largest difference from LiteRT; None where it
    applies none, or the step would not do the same from states of zero."""
    step = rolled_up(whole)
    if step is None:
        return None
    try:
        return step, _compare(step, system)
    except CheckError:
        return None


def _notes(parsed: FileModel, system: System) -> Iterator[str]:
    """What was read out of the file without being said, in sentences."""
    graph = parsed.graphs[0]
    if len(graph.tensors[graph.inputs[0]].shape) == 2:
        yield flat_note(system.window, system.channels)
    if ends_in_softmax(parsed) and system.reading.task == "classes":
        yield SOFTMAX_NOTE


def _import(model: bytes, system: System, output: str | None) -> Graph:
    parsed = with_output(parse(model), output)
    reading = system.reading
    size = system.steps * system.outputs
    imported, last = _import_graph(parsed, size, (1, system.window, system.channels))
    ops = imported.needed_operators(last)
    used = {imported.input, last, *(name for op in ops for name in (*op.inputs, *op.outputs))}
    tensors = {name: tensor for name, tensor in imported.tensors.items() if name in used}
    forecast = Forecast(
        system.window,
        system.channels,
        "none",
        reading.feedback,
        steps=reading.steps,
        outputs=reading.outputs,
        held=reading.held,
        predicted=reading.predicted,
        task=reading.task,
    )
    forecast.check(system.name, system.steps * system.outputs)
    return only_needed(Graph(system.name, tensors, ops, imported.input, last, (), forecast).check())


def _import_graph(parsed: FileModel, size: int, window: tuple[int, ...] = ()) -> tuple[ImportedGraph, str]:
    """All operators of a file, and the tensor of its forecast: the last ``size`` values. ModelError also for damage.

    window: (1, W, F), as the graph takes it; () for the shape that the file takes.
    """
    file = parsed.graphs[0]
    _check_kinds(file)
    try:
        imported = ImportedGraph(file, {buffer: source for source, (_, buffer) in find_weights(parsed).items()}, window)
        for op in file.operators:
            import_operator(op, imported)
        centred_first(imported)
        made = imported.views[file.outputs[0]]
        return imported, read(imported, View(made.names, made.index.reshape(-1)[-size:]), (1, size))
    except ModelError as error:
        raise ModelError(error.message, hint=error.hint or SUPPORTED) from error
    except DAMAGE as error:  # without operands or options that a kind of operator cannot do without
        raise ModelError(f"is damaged ({type(error).__name__}: {error})", hint=DAMAGED_HINT) from error


def _check_kinds(file: FileGraph) -> None:
    """Raise ModelError that names every kind of operator that no graph holds."""
    kinds = {op.kind for op in file.operators if not {file.tensors[index].dtype for index in op.outputs} <= SHAPE_TYPES}
    unknown = sorted(kinds - TABLE.keys())
    if unknown:
        raise ModelError(
            f"it cannot be built: {', '.join(unknown)} {'is' if len(unknown) == 1 else 'are'} not supported",
            hint=(UNROLLED if LOOPS & {*unknown} else "") + SUPPORTED,
        )


def _parameters(file: FileGraph) -> int:
    """Values of the constants that operators compute with, each buffer once; single ones are rarely trained."""
    read = {index for op in file.operators for index in op.inputs if index >= 0}
    constants = {tensor.buffer: tensor for tensor in (file.tensors[index] for index in sorted(read))}.values()
    return sum(t.data.size for t in constants if t.data is not None and t.dtype == "FLOAT32" and t.shape)


def _compare(graph: Graph, system: System) -> float:
    """Largest difference of the graph's forecasts from LiteRT's; CheckError beyond TOLERANCE."""
    shape = (CHECK_WINDOWS, system.window, system.channels)
    windows = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    ahead = np.zeros((CHECK_WINDOWS, system.seed_length(system.steps) - system.window, system.channels), np.float32)
    seeds = np.concatenate([windows, ahead], axis=1)
    expected = system.roll(seeds, system.steps).reshape(CHECK_WINDOWS, -1)
    if graph.states:
        found = float_rollout(graph, seeds, system.steps).outputs.reshape(CHECK_WINDOWS, -1)
    else:
        found, _ = float_step(graph)(windows, ())
    largest = float(np.max(np.abs(expected - found)))
    limit = TOLERANCE * (1.0 + float(np.max(np.abs(expected))))
    if not largest <= limit:
        raise CheckError(
            f"the float graph differs from LiteRT by {largest:.3g}, more than {limit:.3g}",
            hint="This is a defect of edge-tqs: please report it with the model.",
        )
    return largest
