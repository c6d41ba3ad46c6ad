"""A TensorFlow Lite file that anybody wrote, as plain tables: tensors, operators, and where the constants lie.

What this tool writes itself is read by tflite_model; here nothing is expected but the flatbuffer.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from edge_tqs.errors import ModelError, ToolError
from edge_tqs.graph.graph import Array
from edge_tqs.graph.outputs import chosen_output

FILE_IDENTIFIER = b"TFL3"
CONVERT_HINT = (
    "Convert the float model without quantisation, for example tf.lite.TFLiteConverter.from_keras_model(model)"
    ".convert() with no optimizations."
)
DAMAGED_HINT = "The file is damaged or was not copied completely: copy or convert it again."
#: what the flatbuffers package and numpy raise on damaged files
DAMAGE = (
    struct.error, IndexError, KeyError, ValueError, TypeError, AttributeError, OverflowError, MemoryError,
    RecursionError, AssertionError,
)  # fmt: skip
#: No tensor of a forecaster has so many axes; a damaged file claims anything.
MOST_AXES = 8
#: The slot of Buffer.data in the schema.
DATA_SLOT = 4
#: Constants of these types are values; tensors of any other type, integer codes of something.
DTYPES: dict[str, Any] = {
    "FLOAT32": np.dtype("<f4"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "BOOL": np.dtype("?"),
}


@dataclass(frozen=True, eq=False)
class FileTensor:
    """A tensor. shape: an axis that is left open counts 1; open_axes says which are. dtype: as the schema names it,
    "FLOAT32". buffer: which one holds its data; data: None if computed. variable: it keeps its value between runs.
    """

    name: str
    shape: tuple[int, ...]
    open_axes: tuple[int, ...]
    dtype: str
    buffer: int
    data: Array | None
    variable: bool


@dataclass(frozen=True, eq=False)
class FileOperator:
    """An operator. kind: as the schema names it, "CONV_2D"; options: the schema's object for it, or None.

    inputs, outputs: indices into the tensors of its subgraph; an optional input that is left out is -1.
    """

    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Any


@dataclass(frozen=True, eq=False)
class FileGraph:
    """A subgraph, its operators in the order in which they run."""

    tensors: tuple[FileTensor, ...]
    operators: tuple[FileOperator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class FileModel:
    """A whole file. graphs: the first is the model, others are bodies of its control flow. places: buffer -> offset in
    the file and length of its data, both in bytes, of each constant.
    """

    graphs: tuple[FileGraph, ...]
    places: Mapping[int, tuple[int, int]]


def parse(model: bytes) -> FileModel:
    """Read a flatbuffer. Raises ModelError for what is none or is damaged, ToolError without ai-edge-litert."""
    try:
        from ai_edge_litert import schema_py_generated as schema
    except ImportError as error:
        raise ToolError(
            "The Python package ai-edge-litert is not installed", hint="pip install ai-edge-litert"
        ) from error
    if len(model) < len(FILE_IDENTIFIER) + 4 or model[4:8] != FILE_IDENTIFIER:
        raise ModelError("is not a TensorFlow Lite model", hint="Name a .tflite file, or a .keras file.")
    try:
        root = schema.Model.GetRootAsModel(model, 0)
        check_counts(root, len(model))
        return _Parsing(schema, root, model).model()
    except DAMAGE as error:
        raise ModelError(f"is damaged ({type(error).__name__}: {error})", hint=DAMAGED_HINT) from error


def with_output(model: FileModel, wanted: str | None) -> FileModel:
    """``model`` with one of its outputs, by the name of its tensor or its number from 0, and what that depends on.

    Raises ModelError where none is asked for and there are several, UsageError for one that there is not.
    """
    graph = model.graphs[0]
    names = [(graph.tensors[index].name, str(number)) for number, index in enumerate(graph.outputs)]
    if len(names) < 2 and wanted is None:
        return model
    output = graph.outputs[chosen_output(names, wanted)]
    needed, kept = {output}, list[FileOperator]()
    for op in reversed(graph.operators):
        if needed & set(op.outputs):
            kept.append(op)
            needed |= set(op.inputs)
    chosen = replace(graph, operators=tuple(reversed(kept)), outputs=(output,))
    return replace(model, graphs=(chosen, *model.graphs[1:]))


def check_counts(root: Any, size: int) -> None:
    """For every reader of the schema's ``root``, before it unpacks a file of ``size`` bytes.

    ValueError for more tables than have room in the file: damaged offsets let many lists read the same bytes, and
    unpacking them all would have no end.
    """
    total = root.SubgraphsLength() + root.BuffersLength() + root.OperatorCodesLength() + root.MetadataLength()
    for index in range(min(root.SubgraphsLength(), size)):
        graph = root.Subgraphs(index)
        total += graph.TensorsLength() + graph.OperatorsLength()
        if total > size // 4:
            break
    if total > size // 4:  # each is referred to by four bytes
        raise ValueError(f"it claims more tables than its {size} bytes hold")


class _Parsing:
    def __init__(self, schema: Any, root: Any, content: bytes) -> None:
        self.content = content
        self.parsed = schema.ModelT.InitFromObj(root)
        self.types = _names(schema.TensorType)
        self.kinds = _names(schema.BuiltinOperator)
        self.places = {
            index: place
            for index in range(root.BuffersLength())
            if (place := self._place(root.Buffers(index))) is not None
        }

    def model(self) -> FileModel:
        graphs = tuple(self._graph(graph) for graph in self.parsed.subgraphs)
        if not graphs or not graphs[0].outputs:
            raise ValueError("it holds no graph with an output")
        return FileModel(graphs, self.places)

    def _place(self, buffer: Any) -> tuple[int, int] | None:
        if not buffer.DataLength():
            return None
        start, length = int(buffer._tab.Vector(buffer._tab.Offset(DATA_SLOT))), int(buffer.DataLength())
        if start + length > len(self.content):
            raise ValueError("a constant lies beyond its end")
        return start, length

    def _graph(self, graph: Any) -> FileGraph:
        tensors = tuple(self._tensor(tensor) for tensor in graph.tensors)
        operators = tuple(self._operator(operator, len(tensors)) for operator in _some(graph.operators))
        ends = [_indices(values, 0, len(tensors)) for values in (graph.inputs, graph.outputs)]
        return FileGraph(tensors, operators, ends[0], ends[1])

    def _tensor(self, tensor: Any) -> FileTensor:
        shape = tuple(int(size) for size in _some(tensor.shape))
        if len(shape) > MOST_AXES or any(size < 0 for size in shape):
            raise ValueError(f"a tensor has the shape {shape}")
        dtype, name = self.types[int(tensor.type)], bytes(tensor.name or b"").decode()
        data = None
        if tensor.buffer in self.places and dtype in DTYPES:
            start, length = self.places[int(tensor.buffer)]
            count = math.prod(shape)
            if count * DTYPES[dtype].itemsize != length:
                raise ValueError(f"tensor {name} {shape} has {length} bytes")
            data = np.frombuffer(self.content, DTYPES[dtype], count, start).reshape(shape)
        open_axes = tuple(axis for axis, size in enumerate(_some(tensor.shapeSignature)) if size < 0)
        return FileTensor(name, shape, open_axes, dtype, int(tensor.buffer), data, bool(tensor.isVariable))

    def _operator(self, operator: Any, tensors: int) -> FileOperator:
        (index,) = _indices([operator.opcodeIndex], 0, len(self.parsed.operatorCodes))
        code = self.parsed.operatorCodes[index]
        kind = self.kinds[max(int(code.builtinCode), int(code.deprecatedBuiltinCode))]
        if kind == "CUSTOM":
            kind = f"CUSTOM {bytes(code.customCode or b'?').decode()}"
        inputs, outputs = _indices(operator.inputs, -1, tensors), _indices(operator.outputs, 0, tensors)
        return FileOperator(kind, inputs, outputs, operator.builtinOptions)


def _names(enumeration: Any) -> dict[int, str]:
    return {value: name for name, value in vars(enumeration).items() if isinstance(value, int)}


def _some(values: Any) -> Any:
    return () if values is None else values


def _indices(values: Any, least: int, count: int) -> tuple[int, ...]:
    """``values`` as ints; one that leaves its table is damage, and never "from the end"."""
    found = tuple(int(value) for value in _some(values))
    if any(not least <= value < count for value in found):
        raise ValueError(f"an index of {found} leaves a table of {count}")
    return found
