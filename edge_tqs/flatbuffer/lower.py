"""Integer Graph to a TensorFlow Lite model, as the objects of the schema's Python API.

Only what every runtime computes right is emitted (kernels.py): an int4 fully_connected becomes RESHAPE, a 1x1 CONV_2D
and RESHAPE, because tflite-micro and tflite-runtime 2.14 refuse FULLY_CONNECTED with int4 weights per channel. With
int16 activations, which neither runs beside int4 weights in any form, it stays FULLY_CONNECTED.
Sequences (1, W, C) are written as images (1, 1, W, C) of height 1 throughout, which is what CONV_2D takes: only a
sequence that is the model's input needs a RESHAPE. docs/format.md names the tensors that this adds.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import numpy as np

from edge_tqs.errors import ModelError
from edge_tqs.graph.graph import Array, DType, Graph, Op, Quant, Tensor
from edge_tqs.operators import OPERATORS, Builtin
from edge_tqs.operators.arithmetic.int8 import pack_int4

SIGNATURE_KEY = "serving_default"
METADATA_NAME = "edge_tqs"
SCHEMA_VERSION = 3
PADDING_VALID = 1
IMAGE_RANK = 4
NO_BIAS = "no bias"  # begins the name of the zeros that a convolution reads where the layer has no bias

TENSOR_TYPES: dict[DType, str] = {"int8": "INT8", "int4": "INT4", "int16": "INT16", "int32": "INT32", "int64": "INT64"}
FUSED_ACTIVATIONS = {"none": "NONE", "relu": "RELU", "relu6": "RELU6"}


#: By what kernels and operators call them.
BUILTINS: dict[str, Builtin] = {
    "fully_connected": Builtin("FULLY_CONNECTED", 4, "FullyConnectedOptions", 7),
    "conv_2d": Builtin("CONV_2D", 3, "Conv2DOptions", 4),
    "pad": Builtin("PAD", 2, "PadOptions", 3),
    **{name: builtin for operator in OPERATORS.values() for name, builtin in operator.builtins.items()},
}


def schema() -> Any:
    """The generated schema module, imported when a flatbuffer is first touched."""
    from ai_edge_litert import schema_py_generated

    return schema_py_generated


def is_convolved(graph: Graph, op: Op) -> bool:
    """Whether ``op`` is written as a convolution: dense layers with int4 weights beside int8 activations.

    Beside int16 activations the convolution would be silently wrong in tflite-runtime 2.14, which refuses the
    FULLY_CONNECTED; LiteRT computes both right.
    """
    int4 = op.kind == "fully_connected" and graph.tensors[op.inputs[1]].dtype == "int4"
    return int4 and graph.activations == "int8"


def lower(graph: Graph, metadata: bytes) -> Any:
    """The ModelT of an integer ``graph``; ``metadata`` goes into the entry ``edge_tqs``. Raises ModelError."""
    return _Lowering(graph).model(metadata)


class _Lowering:
    """Numbers tensors, buffers and operator codes while one model is being written; an operators.Writer."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.schema = schema()
        self.buffers = [self.schema.BufferT()]  # buffer 0 is empty: the tensors that are computed
        self.codes: list[Any] = []
        self.code_of: dict[str, int] = {}
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
        convolved = {op.inputs[1] for op in graph.ops if self._is_int4(op)}
        depthwise = {op.inputs[1] for op in graph.ops if op.kind == "depthwise_1d"}
        for name, tensor in graph.tensors.items():
            if name in depthwise:
                self._depthwise_filter(tensor)
            elif name in used:
                shape = (tensor.shape[0], 1, 1, tensor.shape[1]) if name in convolved else self.written_shape(name)
                self._tensor(tensor, shape)
        for op in graph.ops:
            self._int4_layer(op) if self._is_int4(op) else self._operator(op)

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

    def _is_int4(self, op: Op) -> bool:
        return is_convolved(self.graph, op)

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
        """A sequence or a filter (rank 3) as an image; what the signature names keeps its shape."""
        graph, shape = self.graph, self.graph.tensors[name].shape
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

    def _depthwise_filter(self, tensor: Tensor) -> None:
        """Rows (M, K), one an output channel, as the filter (1, 1, K, M) with one scale a channel along axis 3."""
        assert tensor.data is not None
        shape = (1, 1, *reversed(tensor.shape))
        data = np.ascontiguousarray(tensor.data.T).reshape(shape)
        index = self._tensor(replace(tensor, shape=shape, data=data), shape)
        if tensor.quant is not None and tensor.quant.per_channel:
            self.tensors[index].quantization.quantizedDimension = 3

    def _tensor(self, tensor: Tensor, shape: tuple[int, ...]) -> int:
        if tensor.dtype not in TENSOR_TYPES:
            raise ModelError(
                f"{self.graph.name}: tensor {tensor.name} is {tensor.dtype}; only an integer graph is written"
            )
        written = self.schema.TensorT()
        written.name, written.shape, written.hasRank = tensor.name.encode(), list(shape), True
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
        written.zeroPoint = np.full(quant.scale.size, quant.zero_point, np.int64)
        return written

    def helper(self, name: str, shape: tuple[int, ...], like: str, dtype: str = "", quant: Quant | None = None) -> int:
        """A reshaped copy of activation ``like``, or a tensor of ``dtype``; one a name, which readers share."""
        if name in self.index_of:
            return self.index_of[name]
        if dtype:
            return self._tensor(Tensor(name, shape, cast(DType, dtype), None, quant), shape)
        return self._tensor(Tensor(name, shape, self.graph.activations, None, self.graph.tensors[like].quant), shape)

    def known(self, name: str) -> bool:
        return name in self.index_of

    def constant(self, *values: int, scalar: bool = False) -> int:
        """An int32 operand such as a split's axis; equal ones are shared."""
        name = f"i32/{values[0] if scalar else list(values)}"
        shape = () if scalar else (len(values),)
        if name in self.index_of:
            return self.index_of[name]
        return self._tensor(Tensor(name, shape, "int32", np.array(values, np.int32).reshape(shape)), shape)

    # --- operators --------------------------------------------------------------------------------------------------

    def append(self, builtin: str, inputs: list[int], outputs: list[int], **options: Any) -> None:
        known, s = BUILTINS[builtin], self.schema
        if builtin not in self.code_of:
            code = s.OperatorCodeT()
            code.builtinCode = getattr(s.BuiltinOperator, known.builtin)
            code.deprecatedBuiltinCode = code.builtinCode  # all are below 127
            code.version = known.version_int16 if self.graph.activations == "int16" else known.version
            self.code_of[builtin] = len(self.codes)
            self.codes.append(code)
        operator = s.OperatorT()
        operator.opcodeIndex, operator.inputs, operator.outputs = self.code_of[builtin], inputs, outputs
        if known.options is not None:
            operator.builtinOptionsType = getattr(s.BuiltinOptions, known.options)
            operator.builtinOptions = getattr(s, f"{known.options}T")()
            for name, value in options.items():
                setattr(operator.builtinOptions, name, value)
        self.operators.append(operator)

    def _operator(self, op: Op) -> None:
        read = self.index_of.__getitem__ if op.kind == "reshape" else self._read
        inputs = [read(name) for name in op.inputs]
        outputs = [self.index_of[name] for name in op.outputs]
        if op.kind in OPERATORS:
            OPERATORS[op.kind].write(self, op, inputs, outputs)
        elif op.kind == "fully_connected":
            self.append(op.kind, [*inputs, -1][:3], outputs, fusedActivationFunction=self._activation(op))
        else:
            self.convolution("conv_2d", op, inputs[0], outputs)

    def convolution(self, builtin: str, op: Op, x: int, outputs: list[int], **options: Any) -> None:
        left, right = op.attrs["left"], op.attrs["right"]
        if left or right:
            name = op.inputs[0]
            _, length, channels = self.graph.tensors[name].shape
            count = len(self.tensors)
            padded = self.helper(f"{name}/pad {left} {right}", (1, 1, left + length + right, channels), name)
            if padded == count:  # the first reader of this padding makes it
                self.append("pad", [x, self._padding(left, right)], [padded])
            x = padded
        self.append(
            builtin,
            [x, self.index_of[op.inputs[1]], self.bias(op)],
            outputs,
            padding=PADDING_VALID,
            strideW=op.attrs["stride"],
            strideH=1,
            dilationWFactor=op.attrs["dilation"],
            fusedActivationFunction=self._activation(op),
            **options,
        )

    def _padding(self, left: int, right: int) -> int:
        """The operand of a PAD along the width of an image."""
        name = f"i32/pad {left} {right}"
        if name in self.index_of:
            return self.index_of[name]
        data = np.array([[0, 0], [0, 0], [left, right], [0, 0]], np.int32)
        return self._tensor(Tensor(name, data.shape, "int32", data), data.shape)

    def _int4_layer(self, op: Op) -> None:
        rows, columns = self.graph.tensors[op.inputs[1]].shape
        x, y = op.inputs[0], op.outputs[0]
        count = len(self.tensors)
        x_image = self.helper(f"{x}/in", (1, 1, 1, columns), x)
        if x_image == count:  # the first reader of this image makes it
            self.append("reshape", [self.index_of[x]], [x_image], newShape=[1, 1, 1, columns])
        y_image = self.helper(f"{y}/out", (1, 1, 1, rows), y)
        self.append(
            "conv_2d",
            [x_image, self.index_of[op.inputs[1]], self.bias(op)],
            [y_image],
            padding=PADDING_VALID,
            strideW=1,
            strideH=1,
            fusedActivationFunction=self._activation(op),
        )
        self.append("reshape", [y_image], [self.index_of[y]], newShape=[1, rows])

    def bias(self, op: Op) -> int:
        """The bias of a convolution: LiteRT wants one, so a layer without gets zeros."""
        if len(op.inputs) == 3:
            return self.index_of[op.inputs[2]]
        rows = self.graph.tensors[op.inputs[1]].shape[0]
        name = f"{NO_BIAS}/{rows}"
        if name in self.index_of:
            return self.index_of[name]
        dtype: DType = "int64" if self.graph.activations == "int16" else "int32"
        return self._tensor(Tensor(name, (rows,), dtype, np.zeros(rows, dtype)), (rows,))

    def _activation(self, op: Op) -> Any:
        return getattr(self.schema.ActivationFunctionType, FUSED_ACTIVATIONS[op.attrs["activation"]])
