"""Which constants of a foreign TensorFlow Lite model are weights, and along which axes each channel has a scale."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

import numpy as np

from edge_tqs.errors import ModelError
from edge_tqs.flatbuffer.tables import (
    CONVERT_HINT,
    DAMAGE,
    DAMAGED_HINT,
    FileGraph,
    FileModel,
    FileOperator,
    FileTensor,
)
from edge_tqs.system.system import Part

#: Axes of the output channels of a weight, of which the operator and the weight's rank are given.
Axes = Callable[[FileOperator, int], tuple[int, ...]]

#: Types that values of a float model never have.
QUANTISED = frozenset({"INT2", "INT4", "UINT4", "INT8", "UINT8", "INT16", "UINT16", "FLOAT16", "BFLOAT16"})
VARIABLES = frozenset({"VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE"})
#: Operators that hand their input on, so that what is added before is added to their output.
MOVING = frozenset({"RESHAPE", "SQUEEZE", "EXPAND_DIMS"})


def _first(op: FileOperator, rank: int) -> tuple[int, ...]:
    return (0,)


def _last(op: FileOperator, rank: int) -> tuple[int, ...]:
    return (rank - 1,)


def _left(op: FileOperator, rank: int) -> tuple[int, ...]:
    """The left operand (..., M, K) of a product: its rows, or its columns where it is read transposed."""
    return (rank - 1 if op.options.adjX else rank - 2,)


def _right(op: FileOperator, rank: int) -> tuple[int, ...]:
    """The right operand (..., K, N): its columns, or its rows where it is read transposed."""
    return (rank - 2 if op.options.adjY else rank - 1,)


def _of_lstm(first: int) -> dict[int, Axes]:
    """Four matrices for the input and four for the state (units, ...), and the projection, counted from ``first``."""
    return {first + place: _first for place in (*range(8), 15)}


#: kind -> input that may be a weight -> axes of its output channels
OPERANDS: dict[str, dict[int, Axes]] = {
    "FULLY_CONNECTED": {1: _first},  # (out, in)
    "CONV_2D": {1: _first},  # (out, height, width, in)
    "DEPTHWISE_CONV_2D": {1: _last},  # (1, height, width, out)
    "TRANSPOSE_CONV": {1: _first},  # (out, height, width, in)
    "CONV_3D": {1: _last},  # (depth, height, width, in, out)
    "BATCH_MATMUL": {0: _left, 1: _right},
    "UNIDIRECTIONAL_SEQUENCE_LSTM": _of_lstm(1),
    "LSTM": _of_lstm(1),
    "BIDIRECTIONAL_SEQUENCE_LSTM": _of_lstm(1) | _of_lstm(18),
    "UNIDIRECTIONAL_SEQUENCE_RNN": {1: _first, 2: _first},
    "RNN": {1: _first, 2: _first},
    "SVDF": {1: _first, 2: _first},
}


def check_float(model: FileModel) -> None:
    """Raise ModelError for a model that is quantised, has variables, or holds constants that are no numbers."""
    for graph in model.graphs:
        for op in graph.operators:
            if op.kind in VARIABLES:
                raise ModelError(
                    f"keeps its weights in variables ({op.kind}), not in constants",
                    hint="Freeze it first (convert_variables_to_constants_v2), or convert an exported SavedModel.",
                )
        for tensor in graph.tensors:
            if tensor.dtype in QUANTISED:
                raise ModelError(
                    f"is quantised: its tensor {tensor.name} is {tensor.dtype}; only a float model can be scored",
                    hint=CONVERT_HINT,
                )
            if tensor.dtype == "FLOAT32" and tensor.data is not None and np.isnan(tensor.data).any():
                raise ModelError(
                    f"its constant {tensor.name} holds NaN",
                    hint="The training diverged, or the variables were not frozen before conversion: convert it again.",
                )


def find_weights(model: FileModel) -> dict[str, tuple[Part, int]]:
    """The weights by name, in the order in which operators read them: the constant and its buffer.

    Constants that share a buffer are one weight. A name that two have is numbered. Raises ModelError for infinite ones.
    """
    found: dict[int, tuple[FileTensor, tuple[int, ...]]] = {}
    try:
        for op, place, tensor in _operands(model):
            if tensor.buffer not in found:
                found[tensor.buffer] = tensor, OPERANDS[op.kind][place](op, len(tensor.shape))
    except DAMAGE as error:  # without the options that its kind has
        raise ModelError(f"is damaged ({type(error).__name__}: {error})", hint=DAMAGED_HINT) from error
    names = Counter(tensor.name for tensor, _ in found.values())
    weights: dict[str, tuple[Part, int]] = {}
    for buffer, (tensor, channel_axes) in found.items():
        name = tensor.name if names[tensor.name] == 1 and tensor.name else f"{tensor.name}#{len(weights)}"
        assert tensor.data is not None
        if not np.isfinite(tensor.data).all():
            raise ModelError(f"its weight {name} holds infinite values", hint="Load an earlier checkpoint.")
        weights[name] = Part(name, tensor.data, channel_axes), buffer
    return weights


def _operands(model: FileModel) -> Iterator[tuple[FileOperator, int, FileTensor]]:
    """Each constant that is read as a weight, with its reader; the loops' bodies after the model itself."""
    handed_on = _handed_on(model)
    for number, graph in enumerate(model.graphs):
        for op in graph.operators:
            for place in OPERANDS.get(op.kind, ()):
                if place >= len(op.inputs) or op.inputs[place] < 0:
                    continue
                tensor = graph.tensors[op.inputs[place]]
                tensor = handed_on.get((number, op.inputs[place]), tensor)
                if tensor.data is not None and tensor.dtype == "FLOAT32" and len(tensor.shape) > 1:
                    yield op, place, tensor


def _handed_on(model: FileModel) -> dict[tuple[int, int], FileTensor]:
    """Constants that a WHILE hands to its body unchanged: (subgraph of the body, tensor in it) -> the constant."""
    found: dict[tuple[int, int], FileTensor] = {}
    for number, graph in enumerate(model.graphs):
        for op in graph.operators:
            if op.kind != "WHILE" or not 0 <= op.options.bodySubgraphIndex < len(model.graphs):
                continue
            body = model.graphs[op.options.bodySubgraphIndex]
            for outer, inner, after in zip(op.inputs, body.inputs, body.outputs, strict=False):
                tensor = found.get((number, outer), graph.tensors[outer])
                if inner == after and tensor.data is not None:
                    found[op.options.bodySubgraphIndex, inner] = tensor
    return found


def maker_of_output(model: FileModel) -> FileOperator | None:
    """The operator that computes the forecast, behind those that only give it another shape."""
    graph = model.graphs[0]
    made_by = {output: op for op in graph.operators for output in op.outputs}
    last = graph.outputs[0]
    while last in made_by and made_by[last].kind in MOVING:
        last = made_by[last].inputs[0]
    return made_by.get(last)


def find_output_bias(model: FileModel) -> tuple[Part, int] | None:
    """What is added to the forecast itself, and its buffer; None where nothing is, or where others read it too."""
    graph, op = model.graphs[0], maker_of_output(model)
    if op is None:
        return None
    made = graph.tensors[op.outputs[0]]
    for index in _added(op):
        tensor = graph.tensors[index]
        size = made.shape[-1] if made.shape else 0
        if tensor.data is not None and tensor.shape == (size,) and _readers(model, tensor.buffer) == 1:
            return Part(tensor.name, tensor.data, (0,)), tensor.buffer
    return None


def _added(op: FileOperator) -> tuple[int, ...]:
    """Inputs that ``op`` adds to its result, where nothing follows within it."""
    if op.options is None or getattr(op.options, "fusedActivationFunction", None):
        return ()
    if op.kind == "ADD":
        return op.inputs
    bias = op.inputs[2:3] if op.kind in ("FULLY_CONNECTED", "CONV_2D") else ()
    return tuple(index for index in bias if index >= 0)


def _readers(model: FileModel, buffer: int) -> int:
    def read(graph: FileGraph) -> Iterator[int]:
        return (index for op in graph.operators for index in op.inputs if index >= 0)

    return sum(graph.tensors[index].buffer == buffer for graph in model.graphs for index in read(graph))
