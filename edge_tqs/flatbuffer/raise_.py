"""A TensorFlow Lite model, as the objects of the schema's Python API, back to the integer Graph it was lowered from."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from edge_tqs.errors import ModelError
from edge_tqs.flatbuffer.lower import (
    BUILTINS,
    FUSED_ACTIVATIONS,
    IMAGE_RANK,
    NO_BIAS,
    SIGNATURE_KEY,
    TENSOR_TYPES,
    VECTOR_IMAGE,
    implied_biases,
)
from edge_tqs.graph.graph import Array, DType, Forecast, Graph, Op, Quant, State, Tensor
from edge_tqs.operators import OPERATORS
from edge_tqs.operators.arithmetic.int8 import unpack_int4
from edge_tqs.operators.unary import curve

_NUMPY_TYPES: dict[str, Any] = {"int8": np.int8, "int16": np.int16, "int32": np.int32, "int64": np.int64}


def raise_graph(model: Any, schema: Any, forecast: Forecast, source_of: Callable[[str], str]) -> Graph:
    """The checked Graph of a ModelT that tflite_lower wrote.

    ``source_of`` names the variable that a weight is, or is a part of, by the weight's name. Raises ModelError for what
    this tool never writes; a damaged ``model`` may raise anything that indexing and conversion raise.
    """
    return _Raising(model, schema).graph(forecast, source_of)


class _Raising:
    def __init__(self, model: Any, schema: Any) -> None:
        self.model = model
        self.subgraph = model.subgraphs[0]
        self.types: dict[int, DType] = {getattr(schema.TensorType, name): dtype for dtype, name in TENSOR_TYPES.items()}
        self.kinds = {getattr(schema.BuiltinOperator, known.builtin): kind for kind, known in BUILTINS.items()}
        self.activations = {
            getattr(schema.ActivationFunctionType, name): fused for fused, name in FUSED_ACTIVATIONS.items()
        }
        self._graph = _text(self.subgraph.name)
        self.tensors = [self._tensor(tensor) for tensor in self.subgraph.tensors]
        self.own = {name: operator for operator in OPERATORS.values() for name in operator.builtins}
        self.steps = [(self._kind(operator), operator) for operator in self.subgraph.operators]
        self._makers = {int(op.outputs[0]): op for _, op in self.steps}
        #: an image that lower added -> what it is an image of
        self._images = dict(pair for kind, op in self.steps if kind == "reshape" for pair in self._image(op))

    def graph(self, forecast: Forecast, source_of: Callable[[str], str]) -> Graph:
        ops: list[Op] = []
        for kind, op in self.steps:
            x, out = int(op.inputs[0]), int(op.outputs[0])
            if kind == "reshape" and (self._images.get(out) == x or self._images.get(x) == out):
                continue  # between a tensor and an image of it, which is read as that tensor
            if kind == "add" and self.tensors[_checked(out, len(self.tensors))].dtype == "int32":
                continue  # the index of a lookup, which its reader asks for
            if self._is_part_of_curve(out):
                continue  # raised with the sum that is its last operator
            if kind == "add" and self._is_part_of_curve(x):
                ops.append(curve.read(self, op))
                continue
            read = self.own[kind].read(self, kind, op)
            ops += [] if read is None else [read]
        readers = {op.inputs[1]: op for op in ops if OPERATORS[op.kind].filter is not None}
        for index, tensor in enumerate(self.tensors):
            reader = readers.get(tensor.name)
            self.tensors[index] = self._without_height(tensor) if reader is None else self._rows(tensor, reader)
        used = {name for op in ops for name in (*op.inputs, *op.outputs)}
        weights = {op.inputs[1] for op in ops if op.signature.is_weighted}
        inputs, outputs = self._signature()
        used |= {*inputs.values(), *outputs.values()}
        tensors = {
            t.name: replace(t, source=source_of(t.name)) if t.name in weights else t
            for t in self.tensors
            if t.name in used
        }
        states = tuple(State(name, inputs[name], outputs[name]) for name in inputs if name != "x")
        graph = Graph(self._graph, tensors, tuple(ops), inputs["x"], outputs["y"], states, forecast).check()
        implied = implied_biases(graph, written=False)
        return graph.with_tensors({name: replace(graph.tensors[name], quant=quant) for name, quant in implied.items()})

    def _signature(self) -> tuple[dict[str, str], dict[str, str]]:
        for signature in self.model.signatureDefs or ():
            if _text(signature.signatureKey) == SIGNATURE_KEY:
                inputs = {_text(entry.name): self._name(entry.tensorIndex) for entry in signature.inputs}
                outputs = {_text(entry.name): self._name(entry.tensorIndex) for entry in signature.outputs}
                if inputs.keys() - {"x"} == outputs.keys() - {"y"} and "x" in inputs and "y" in outputs:
                    return inputs, outputs
        raise ModelError(f"{self._graph}: no signature {SIGNATURE_KEY} with x, y and each state on both sides")

    # --- for operators that read themselves: operators.Reader ---------------------------------------------------------

    def name(self, index: int) -> str:
        return self._name(self._base(index))

    def operand(self, index: int) -> Array:
        return self._operand(index)

    def shape(self, index: int) -> tuple[int, ...]:
        return self.tensors[self._base(index)].shape

    def inputs(self, op: Any) -> tuple[str, ...]:
        names = tuple(self.name(index) for index in op.inputs if index != -1)
        return names[:2] if len(names) == 3 and names[2].startswith(f"{NO_BIAS}/") else names

    def activation(self, op: Any) -> str:
        activation = self.activations.get(op.builtinOptions.fusedActivationFunction)
        if activation is None:
            raise ModelError(f"{self._graph}: {self._name(op.inputs[1])} has an unsupported fused activation")
        return activation

    def made_by(self, index: int) -> Any:
        return self._makers.get(int(index))

    # --- images -----------------------------------------------------------------------------------------------------

    def _image(self, reshape: Any) -> list[tuple[int, int]]:
        """(image, what it is an image of), where lower added this RESHAPE: names say so."""
        x, out = int(reshape.inputs[0]), int(reshape.outputs[0])
        if self._name(out) in (f"{self._name(x)}/in", f"{self._name(x)}/image"):
            return [(out, x)]
        return [(x, out)] if self._name(x) == f"{self._name(out)}/out" else []

    def _is_part_of_curve(self, index: int) -> bool:
        """Whether a tensor is computed on the way to a curve: its name says so."""
        return self._name(index).rpartition("/")[2].startswith(curve.PART)

    def _base(self, index: int) -> int:
        """What ``index`` is an image of, or itself."""
        return self._images.get(int(index), int(index))

    def _without_height(self, tensor: Tensor) -> Tensor:
        """A tensor written as an image, (N, 1, W, C), as the sequence or filter that it is."""
        shape = tensor.shape
        if len(shape) != IMAGE_RANK:
            return tensor
        if shape[1] != 1:
            raise ModelError(f"{self._graph}: {tensor.name} {shape} is no sequence: its height is not 1")
        flat = (shape[0], *shape[2:])
        data = None if tensor.data is None else tensor.data.reshape(flat)
        return Tensor(tensor.name, flat, tensor.dtype, data, tensor.quant)

    def _rows(self, tensor: Tensor, op: Op) -> Tensor:
        """The weight of ``op`` as rows, one an output channel."""
        layout = OPERATORS[op.kind].filter
        assert layout is not None
        data = None if tensor.data is None else layout.read(tensor.data)
        if data is None:
            raise ModelError(f"{self._graph}: {tensor.name} {tensor.shape} is no weight of a {op.kind}")
        return Tensor(tensor.name, data.shape, tensor.dtype, data, tensor.quant)

    # --- tensors ----------------------------------------------------------------------------------------------------

    def _name(self, index: int) -> str:
        return self.tensors[_checked(index, len(self.tensors))].name

    def _tensor(self, tensor: Any) -> Tensor:
        name = _text(tensor.name)
        is_vector = name.endswith(VECTOR_IMAGE)
        name = name.removesuffix(VECTOR_IMAGE)
        if tensor.type not in self.types:
            raise ModelError(f"{self._graph}: tensor {name} has the unsupported type {tensor.type}")
        dtype: DType = self.types[tensor.type]
        shape = () if tensor.shape is None else tuple(int(size) for size in tensor.shape)
        if any(size < 1 for size in shape):
            raise ModelError(f"{self._graph}: tensor {name} has the shape {shape}")
        if is_vector and len(shape) == IMAGE_RANK:
            shape = shape[2:]
        raw = self.model.buffers[_checked(tensor.buffer, len(self.model.buffers))].data
        data = None if tensor.buffer == 0 else self._data(name, dtype, shape, raw)
        return Tensor(name, shape, dtype, data, self._quant(name, tensor.quantization))

    def _data(self, name: str, dtype: str, shape: tuple[int, ...], raw: Any) -> Array:
        size = math.prod(shape)
        stored = np.frombuffer(bytes(raw), np.uint8)
        expected = (size + 1) // 2 if dtype == "int4" else size * np.dtype(_NUMPY_TYPES[dtype]).itemsize
        if stored.size != expected:
            raise ModelError(f"{self._graph}: tensor {name} {shape} {dtype} holds {stored.size} bytes, not {expected}")
        flat = unpack_int4(stored, size) if dtype == "int4" else stored.view(_NUMPY_TYPES[dtype])
        return flat.reshape(shape).copy()

    def _quant(self, name: str, quantization: Any) -> Quant | None:
        if quantization is None or quantization.scale is None:
            return None
        scale = np.array(quantization.scale, np.float32)
        zero_points = {int(value) for value in quantization.zeroPoint}
        if not (np.isfinite(scale).all() and (scale > 0).all()) or len(zero_points) != 1:
            raise ModelError(f"{self._graph}: tensor {name} has an impossible scale or zero point")
        zero_point = zero_points.pop()
        if not -128 <= zero_point <= 127:
            raise ModelError(f"{self._graph}: tensor {name} has the zero point {zero_point}")
        return Quant(scale, zero_point)

    # --- operators --------------------------------------------------------------------------------------------------

    def _kind(self, operator: Any) -> str:
        code = self.model.operatorCodes[_checked(operator.opcodeIndex, len(self.model.operatorCodes))]
        number = max(code.builtinCode, code.deprecatedBuiltinCode)
        if number not in self.kinds:
            raise ModelError(
                f"{self._graph}: operator {number} is not one that edge-tqs writes",
                hint="Build the model again from its .keras file.",
            )
        return self.kinds[number]

    def _operand(self, index: int) -> Array:
        data = self.tensors[_checked(index, len(self.tensors))].data
        if data is None:
            raise ModelError(f"{self._graph}: operand {self._name(index)} is not a constant")
        return data


def _text(value: Any) -> str:
    return bytes(value).decode()


def _checked(index: Any, length: int) -> int:
    """``index`` as an int; a negative one is damage, not "from the end"."""
    if not 0 <= int(index) < length:
        raise ModelError(f"index {index} leaves a table of {length}")
    return int(index)
