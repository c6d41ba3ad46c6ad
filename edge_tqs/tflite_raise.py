"""A TensorFlow Lite model, as the objects of the schema's Python API, back to the integer Graph it was lowered from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from edge_tqs.errors import ModelError
from edge_tqs.graph import Array, DType, Forecast, Graph, Op, Quant, State, Tensor
from edge_tqs.integer import unpack_int4
from edge_tqs.tflite_lower import FUSED_ACTIVATIONS, NO_BIAS, OPERATORS, SIGNATURE_KEY, TENSOR_TYPES

_NUMPY_TYPES: dict[str, Any] = {"int8": np.int8, "int16": np.int16, "int32": np.int32, "int64": np.int64}


def raise_graph(model: Any, schema: Any, forecast: Forecast, sources: Mapping[str, str]) -> Graph:
    """The checked Graph of a ModelT that tflite_lower wrote.

    ``sources`` names the variable of each constant where that is not the tensor's own name. Raises ModelError for what
    this tool never writes; a damaged ``model`` may raise anything that indexing and conversion raise.
    """
    return _Raising(model, schema).graph(forecast, sources)


class _Raising:
    def __init__(self, model: Any, schema: Any) -> None:
        self.model = model
        self.subgraph = model.subgraphs[0]
        self.types: dict[int, DType] = {getattr(schema.TensorType, name): dtype for dtype, name in TENSOR_TYPES.items()}
        self.kinds = {getattr(schema.BuiltinOperator, known.builtin): kind for kind, known in OPERATORS.items()}
        self.activations = {
            getattr(schema.ActivationFunctionType, name): fused for fused, name in FUSED_ACTIVATIONS.items()
        }
        self.name = _text(self.subgraph.name)
        self.tensors = [self._tensor(tensor) for tensor in self.subgraph.tensors]

    def graph(self, forecast: Forecast, sources: Mapping[str, str]) -> Graph:
        steps = [(self._kind(operator), operator) for operator in self.subgraph.operators]
        producers = {int(index): (kind, op) for kind, op in steps for index in op.outputs}
        images = {int(op.inputs[0]) for kind, op in steps if kind == "conv_2d"}
        convolved = {int(op.outputs[0]): op for kind, op in steps if kind == "conv_2d"}
        ops: list[Op] = []
        for kind, op in steps:
            if kind == "conv_2d" or (kind == "reshape" and int(op.outputs[0]) in images):
                continue
            if kind == "reshape" and int(op.inputs[0]) in convolved:
                layer = convolved[int(op.inputs[0])]
                flat = producers[int(layer.inputs[0])][1].inputs[0]
                self._flatten_weight(int(layer.inputs[1]))
                ops.append(self._dense([flat, *layer.inputs[1:]], op.outputs, layer.builtinOptions))
            else:
                ops.append(self._operator(kind, op))
        used = {name for op in ops for name in (*op.inputs, *op.outputs)}
        weights = {op.inputs[1] for op in ops if op.kind == "fully_connected"}
        inputs, outputs = self._signature()
        used |= {*inputs.values(), *outputs.values()}
        tensors = {t.name: self._with_source(t, sources, weights) for t in self.tensors if t.name in used}
        states = tuple(State(name, inputs[name], outputs[name]) for name in inputs if name != "x")
        return Graph(self.name, tensors, tuple(ops), inputs["x"], outputs["y"], states, forecast).check()

    def _signature(self) -> tuple[dict[str, str], dict[str, str]]:
        for signature in self.model.signatureDefs or ():
            if _text(signature.signatureKey) == SIGNATURE_KEY:
                inputs = {_text(entry.name): self._name(entry.tensorIndex) for entry in signature.inputs}
                outputs = {_text(entry.name): self._name(entry.tensorIndex) for entry in signature.outputs}
                if inputs.keys() - {"x"} == outputs.keys() - {"y"} and "x" in inputs and "y" in outputs:
                    return inputs, outputs
        raise ModelError(f"{self.name}: no signature {SIGNATURE_KEY} with x, y and each state on both sides")

    # --- tensors ----------------------------------------------------------------------------------------------------

    def _name(self, index: int) -> str:
        return self.tensors[_checked(index, len(self.tensors))].name

    def _tensor(self, tensor: Any) -> Tensor:
        name = _text(tensor.name)
        if tensor.type not in self.types:
            raise ModelError(f"{self.name}: tensor {name} has the unsupported type {tensor.type}")
        dtype: DType = self.types[tensor.type]
        shape = () if tensor.shape is None else tuple(int(size) for size in tensor.shape)
        if any(size < 1 for size in shape):
            raise ModelError(f"{self.name}: tensor {name} has the shape {shape}")
        raw = self.model.buffers[_checked(tensor.buffer, len(self.model.buffers))].data
        data = None if tensor.buffer == 0 else self._data(name, dtype, shape, raw)
        return Tensor(name, shape, dtype, data, self._quant(name, tensor.quantization))

    def _data(self, name: str, dtype: str, shape: tuple[int, ...], raw: Any) -> Array:
        size = math.prod(shape)
        stored = np.frombuffer(bytes(raw), np.uint8)
        expected = (size + 1) // 2 if dtype == "int4" else size * np.dtype(_NUMPY_TYPES[dtype]).itemsize
        if stored.size != expected:
            raise ModelError(f"{self.name}: tensor {name} {shape} {dtype} holds {stored.size} bytes, not {expected}")
        flat = unpack_int4(stored, size) if dtype == "int4" else stored.view(_NUMPY_TYPES[dtype])
        return flat.reshape(shape).copy()

    def _quant(self, name: str, quantization: Any) -> Quant | None:
        if quantization is None or quantization.scale is None:
            return None
        scale = np.array(quantization.scale, np.float32)
        zero_points = {int(value) for value in quantization.zeroPoint}
        if not (np.isfinite(scale).all() and (scale > 0).all()) or len(zero_points) != 1:
            raise ModelError(f"{self.name}: tensor {name} has an impossible scale or zero point")
        zero_point = zero_points.pop()
        if not -128 <= zero_point <= 127:
            raise ModelError(f"{self.name}: tensor {name} has the zero point {zero_point}")
        return Quant(scale, zero_point)

    def _with_source(self, tensor: Tensor, sources: Mapping[str, str], weights: set[str]) -> Tensor:
        source = sources.get(tensor.name, tensor.name if tensor.name in weights else None)
        return Tensor(tensor.name, tensor.shape, tensor.dtype, tensor.data, tensor.quant, source)

    def _flatten_weight(self, index: int) -> None:
        weight = self.tensors[_checked(index, len(self.tensors))]
        if len(weight.shape) == 4 and weight.shape[1:3] == (1, 1) and weight.data is not None:
            shape = (weight.shape[0], weight.shape[3])
            self.tensors[index] = Tensor(weight.name, shape, weight.dtype, weight.data.reshape(shape), weight.quant)
        elif len(weight.shape) != 2:  # two readers share a weight: the first has flattened it
            raise ModelError(f"{self.name}: convolution {weight.name} {weight.shape} is not 1x1")

    # --- operators --------------------------------------------------------------------------------------------------

    def _kind(self, operator: Any) -> str:
        code = self.model.operatorCodes[_checked(operator.opcodeIndex, len(self.model.operatorCodes))]
        number = max(code.builtinCode, code.deprecatedBuiltinCode)
        if number not in self.kinds:
            raise ModelError(
                f"{self.name}: operator {number} is not one that edge-tqs writes",
                hint="Build the model again from its .keras file.",
            )
        return self.kinds[number]

    def _operator(self, kind: str, op: Any) -> Op:
        options = op.builtinOptions
        if kind == "fully_connected":
            return self._dense(op.inputs, op.outputs, options)
        names = [self._name(index) for index in op.inputs]
        outputs = tuple(self._name(index) for index in op.outputs)
        if kind == "split":
            return Op(kind, (names[1],), outputs, {"parts": int(options.numSplits)})
        if kind == "slice":
            begin, size = (self._operand(index) for index in op.inputs[1:3])
            return Op(kind, (names[0],), outputs, {"begin": int(begin[1]), "size": int(size[1])})
        if kind == "leaky_relu":
            return Op(kind, (names[0],), outputs, {"alpha": float(options.alpha)})
        return Op(kind, tuple(names), outputs)

    def _dense(self, inputs: Any, outputs: Any, options: Any) -> Op:
        names = tuple(self._name(index) for index in inputs if index != -1)
        if len(names) == 3 and names[2].startswith(f"{NO_BIAS}/"):
            names = names[:2]
        activation = self.activations.get(options.fusedActivationFunction)
        if activation is None:
            raise ModelError(f"{self.name}: {names[1]} has an unsupported fused activation")
        return Op("fully_connected", names, (self._name(outputs[0]),), {"activation": activation})

    def _operand(self, index: int) -> Array:
        data = self.tensors[_checked(index, len(self.tensors))].data
        if data is None:
            raise ModelError(f"{self.name}: operand {self._name(index)} is not a constant")
        return data


def _text(value: Any) -> str:
    return bytes(value).decode()


def _checked(index: Any, length: int) -> int:
    """``index`` as an int; a negative one is damage, not "from the end"."""
    if not 0 <= int(index) < length:
        raise ModelError(f"index {index} leaves a table of {length}")
    return int(index)
