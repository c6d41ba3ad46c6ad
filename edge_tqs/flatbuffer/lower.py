"""Integer Graph to a TensorFlow Lite model, as the objects of the schema's Python API.

Each operator writes itself (operators/), as what every runtime computes right (quantization.support).
Sequences (1, W, C) are written as images (1, 1, W, C) of height 1 throughout, which is what CONV_2D takes: only a
sequence that is the model's input needs a RESHAPE. docs/format.md names the tensors that this adds.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import numpy as np

from edge_tqs.errors import ModelError
from edge_tqs.flatbuffer.form import FileForm
from edge_tqs.graph.graph import Array, DType, Graph, Op, Quant, Tensor
from edge_tqs.operators import OPERATORS, Builtin, dense
from edge_tqs.operators.arithmetic.int8 import bias_scale, pack_int4

SIGNATURE_KEY = "serving_default"
METADATA_NAME = "edge_tqs"
SCHEMA_VERSION = 3
PADDING_VALID = 1
IMAGE_RANK = 4
#: ends the name of a vector that is written as an image
VECTOR_IMAGE = "/1x1"
NO_BIAS = "no bias"  # begins the name of the zeros that a convolution reads where the layer has no bias

TENSOR_TYPES: dict[DType, str] = {"int8": "INT8", "int4": "INT4", "int16": "INT16", "int32": "INT32", "int64": "INT64"}
FUSED_ACTIVATIONS = {"none": "NONE", "relu": "RELU", "relu6": "RELU6"}


#: By what kernels and operators call them.
BUILTINS: dict[str, Builtin] = {
    name: builtin for operator in OPERATORS.values() for name, builtin in operator.builtins.items()
}


def schema() -> Any:
    """The generated schema module, imported when a flatbuffer is first touched."""
    from ai_edge_litert import schema_py_generated

    return schema_py_generated


def lower(graph: Graph, metadata: bytes, form: FileForm) -> Any:
    """The ModelT of an integer ``graph``; ``metadata`` goes into the entry ``edge_tqs``. Raises ModelError."""
    return _Lowering(graph, form).model(metadata)


def implied_biases(graph: Graph, written: bool = True) -> dict[str, Quant]:
    """The quantisation of each bias whose scales follow from those of x and of the weight: as it is written, or is.

    Such a bias is written with its weight's scales, which are in the file already: runtimes take a bias as codes beside
    the products, and read no scale of it. One of a single scale is left alone: there they compare it.
    """
    found: dict[str, list[tuple[Quant, Array]]] = {}
    for op in graph.ops:
        if not op.signature.is_weighted or len(op.inputs) < 3:
            continue
        x, weight, bias = (graph.tensors[name].quant for name in op.inputs)
        if x is not None and weight is not None and weight.per_channel and bias is not None:
            found.setdefault(op.inputs[2], []).append((weight, bias_scale(float(x.scale[0]), weight.scale)))
    implied: dict[str, Quant] = {}
    for name, pairs in found.items():
        weight, products = pairs[0]
        known, shown = (products, weight.scale) if written else (weight.scale, products)
        same = all(np.array_equal(weight.scale, w.scale) and np.array_equal(products, p) for w, p in pairs[1:])
        if same and np.array_equal(graph.quant(name).scale, known):
            implied[name] = Quant(shown)
    return implied


def vector_images(graph: Graph) -> frozenset[str]:
    """The vectors (1, N) of an integer ``graph`` that need no RESHAPE where they are written as images (1, 1, 1, N).

    Dense layers with int4 weights are convolutions over such images. Between two of them, and through operators that
    take any shape, a vector stays one; not where anything else makes or reads it, or the signature names it.
    """
    named = {graph.input, graph.output, *(name for state in graph.states for name in (state.input, state.output))}
    found = {name for name, t in graph.tensors.items() if t.data is None and len(t.shape) == 2 and name not in named}
    while True:
        kept = set(found)
        for op in graph.ops:
            ends = {name for name in (*op.inputs, *op.outputs) if name in graph.tensors}
            if op.kind == "fully_connected" and dense.is_convolved(graph, op):
                continue  # which reads and writes either
            if not OPERATORS[op.kind].any_rank or not ends <= kept:
                kept -= ends
        if kept == found:
            made = {op.outputs[0] for op in graph.ops}
            return frozenset(found & made)
        found = kept


class _Lowering:
    """Numbers tensors, buffers and operator codes while one model is being written; an operators.Writer."""

    def __init__(self, graph: Graph, form: FileForm) -> None:
        self.graph, self.form = graph, form
        self.vector_images = vector_images(graph)
        self.schema = schema()
        self.buffers = [self.schema.BufferT()]  # buffer 0 is empty: the tensors that are computed
        self.codes: list[Any] = []
        self.code_of: dict[tuple[str, int], int] = {}
        #: whether what is being written reads or writes int16 codes
        self.wide = graph.activations == "int16"
        self.tensors: list[Any] = []
        self.index_of: dict[str, int] = {}
        self.operators: list[Any] = []
        self.types: dict[Any, int] = {
            dtype: getattr(self.schema.TensorType, name) for dtype, name in TENSOR_TYPES.items()
        }

    def model(self, metadata: bytes) -> Any:
        graph, s = self.graph, self.schema
        inputs = (graph.input, *(state.input for state in graph.states))
        outputs = (graph.output, *(state.output for state in graph.states))
        used = {*inputs, *outputs, *(name for op in graph.ops for name in (*op.inputs, *op.outputs))}
        readers = {op.inputs[1]: op for op in graph.ops if OPERATORS[op.kind].filter is not None}
        implied = implied_biases(graph)
        for name, tensor in graph.tensors.items():
            if name in readers:
                self._weight(tensor, readers[name])
            elif name in used:
                self._tensor(replace(tensor, quant=implied.get(name, tensor.quant)), self.written_shape(name))
        for op in graph.ops:
            self._operator(op)

        subgraph = s.SubGraphT()
        subgraph.name = graph.name.encode()
        subgraph.tensors, subgraph.operators = self.tensors, self.operators
        subgraph.inputs = [self.index_of[name] for name in inputs]
        subgraph.outputs = [self.index_of[name] for name in outputs]
        model = s.ModelT()
        model.version = SCHEMA_VERSION
        model.operatorCodes, model.subgraphs, model.buffers = self.codes, [subgraph], self.buffers
        model.signatureDefs = [self._signature(subgraph)]
        entry = s.MetadataT()
        entry.name, entry.buffer = METADATA_NAME.encode(), self._buffer(np.frombuffer(metadata, np.uint8))
        model.metadata = [entry]
        return model

    def _signature(self, subgraph: Any) -> Any:
        def name_all(first: str, indices: list[int]) -> list[Any]:
            entries = []
            for name, index in zip((first, *(state.name for state in self.graph.states)), indices, strict=True):
                entry = self.schema.TensorMapT()
                entry.name, entry.tensorIndex = name.encode(), index
                entries.append(entry)
            return entries

        signature = self.schema.SignatureDefT()
        signature.signatureKey = SIGNATURE_KEY.encode()
        signature.inputs, signature.outputs = name_all("x", subgraph.inputs), name_all("y", subgraph.outputs)
        return signature

    def written_shape(self, name: str) -> tuple[int, ...]:
        """A sequence or a filter (rank 3) as an image, and some vectors; what the signature names keeps its shape."""
        graph, shape = self.graph, self.graph.tensors[name].shape
        if name in self.vector_images:
            return (1, 1, *shape)
        if len(shape) != IMAGE_RANK - 1 or name == graph.input:
            return shape
        if name == graph.output or any(name in (state.input, state.output) for state in graph.states):
            raise ModelError(f"{graph.name}: {name} {shape} is an output or a state, which have the shape (1, N)")
        return (shape[0], 1, *shape[1:])

    def _read(self, name: str) -> int:
        """The tensor that an operator reads for ``name``: of a sequence that is the model's input, its image."""
        shape = self.graph.tensors[name].shape
        if name != self.graph.input or len(shape) != IMAGE_RANK - 1:
            return self.index_of[name]
        image, count = (shape[0], 1, *shape[1:]), len(self.tensors)
        index = self.helper(f"{name}/image", image, name)
        if index == count:  # the first reader of this image makes it
            self.append("reshape", [self.index_of[name]], [index], newShape=list(image))
        return index

    # --- tensors ----------------------------------------------------------------------------------------------------

    def _buffer(self, data: Array) -> int:
        buffer = self.schema.BufferT()
        buffer.data = data
        self.buffers.append(buffer)
        return len(self.buffers) - 1

    def _weight(self, tensor: Tensor, op: Op) -> None:
        """A weight that ``op`` has otherwise in a flatbuffer."""
        layout = OPERATORS[op.kind].filter
        assert layout is not None
        if tensor.data is None:
            raise ModelError(f"{self.graph.name}: the weight {tensor.name} is not a constant")
        data = layout.write(self.graph, op, tensor.data)
        index = self._tensor(replace(tensor, shape=data.shape, data=data), data.shape)
        if layout.axis and tensor.quant is not None and tensor.quant.per_channel:
            self.tensors[index].quantization.quantizedDimension = layout.axis

    def _tensor(self, tensor: Tensor, shape: tuple[int, ...]) -> int:
        if tensor.dtype not in TENSOR_TYPES:
            raise ModelError(
                f"{self.graph.name}: tensor {tensor.name} is {tensor.dtype}; only an integer graph is written"
            )
        written = self.schema.TensorT()
        name = tensor.name + VECTOR_IMAGE * (tensor.name in self.vector_images)
        written.name, written.shape, written.hasRank = name.encode(), list(shape), True
        written.type = getattr(self.schema.TensorType, TENSOR_TYPES[tensor.dtype])
        written.buffer = 0
        if tensor.data is not None:
            raw = pack_int4(tensor.data) if tensor.dtype == "int4" else np.ascontiguousarray(tensor.data)
            written.buffer = self._buffer(np.frombuffer(raw.tobytes(), np.uint8))
        if tensor.quant is not None:
            written.quantization = self._quantization(tensor.quant)
        self.index_of[tensor.name] = len(self.tensors)
        self.tensors.append(written)
        return self.index_of[tensor.name]

    def _quantization(self, quant: Quant) -> Any:
        written = self.schema.QuantizationParametersT()
        written.scale = np.asarray(quant.scale, np.float32)
        count = quant.scale.size if self.form.every_zero_point else 1
        written.zeroPoint = np.full(count, quant.zero_point, np.int64)
        return written

    def helper(self, name: str, shape: tuple[int, ...], like: str, dtype: str = "", quant: Quant | None = None) -> int:
        """A reshaped copy of activation ``like``, or a tensor of ``dtype``; one a name, which readers share."""
        if name in self.index_of:
            return self.index_of[name]
        if dtype:
            return self._tensor(Tensor(name, shape, cast(DType, dtype), None, quant), shape)
        made = self.graph.tensors[like]
        return self._tensor(Tensor(name, shape, made.dtype, None, made.quant), shape)

    def known(self, name: str) -> bool:
        return name in self.index_of

    def is_vector_image(self, name: str) -> bool:
        return name in self.vector_images

    def constant(self, *values: int, scalar: bool = False) -> int:
        """An int32 operand such as a split's axis; equal ones are shared."""
        data = np.array(values[0] if scalar else values, np.int32)
        return self.operand(f"i32/{data.tolist()}", data)

    def operand(self, name: str, data: Array) -> int:
        known = self.index_of.get(name)
        return self._tensor(Tensor(name, data.shape, "int32", data), data.shape) if known is None else known

    # --- operators --------------------------------------------------------------------------------------------------

    def append(self, builtin: str, inputs: list[int], outputs: list[int], **options: Any) -> None:
        known, s = BUILTINS[builtin], self.schema
        version = known.version_int16 if self.wide else known.version
        if (builtin, version) not in self.code_of:
            code = s.OperatorCodeT()
            code.builtinCode = getattr(s.BuiltinOperator, known.builtin)
            code.deprecatedBuiltinCode = code.builtinCode  # all are below 127
            code.version = version
            self.code_of[builtin, version] = len(self.codes)
            self.codes.append(code)
        operator = s.OperatorT()
        operator.opcodeIndex, operator.inputs, operator.outputs = self.code_of[builtin, version], inputs, outputs
        if known.options is not None:
            operator.builtinOptionsType = getattr(s.BuiltinOptions, known.options)
            operator.builtinOptions = getattr(s, f"{known.options}T")()
            for name, value in options.items():
                setattr(operator.builtinOptions, name, value)
        self.operators.append(operator)

    def _operator(self, op: Op) -> None:
        self.wide = "int16" in (self.graph.type_of(op), self.graph.tensors[op.outputs[0]].dtype)
        read = self.index_of.__getitem__ if op.kind == "reshape" else self._read
        inputs = [read(name) for name in op.inputs]
        outputs = [self.index_of[name] for name in op.outputs]
        OPERATORS[op.kind].write(self, op, inputs, outputs)

    def convolve(self, builtin: str, op: Op, inputs: list[int], outputs: list[int], **options: Any) -> None:
        options = {"strideW": 1, "strideH": 1, **options, "fusedActivationFunction": self.activation(op)}
        self.append(builtin, inputs, outputs, padding=PADDING_VALID, **options)

    def bias(self, op: Op) -> int:
        """The bias of a convolution: LiteRT wants one, so a layer without gets zeros."""
        if len(op.inputs) == 3:
            return self.index_of[op.inputs[2]]
        rows = self.graph.tensors[op.inputs[1]].shape[0]
        dtype: DType = "int64" if self.graph.type_of(op) == "int16" else "int32"
        usual = "int64" if self.graph.activations == "int16" else "int32"
        name = f"{NO_BIAS}/{rows}" if dtype == usual else f"{NO_BIAS}/{rows}/{dtype}"
        if name in self.index_of:
            return self.index_of[name]
        return self._tensor(Tensor(name, (rows,), dtype, np.zeros(rows, dtype)), (rows,))

    def activation(self, op: Op) -> Any:
        return getattr(self.schema.ActivationFunctionType, FUSED_ACTIVATIONS[op.attrs["activation"]])
