"""TensorFlow Lite files made operator by operator, for what TensorFlow's converter does not write."""

from __future__ import annotations

from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

Array = np.ndarray[Any, Any]


class Maker:
    """Collects tensors and operators; ``file`` packs them. A tensor is known by its index."""

    def __init__(self) -> None:
        self.buffers: list[Any] = [schema.BufferT()]
        self.codes: list[Any] = []
        self.subgraph = schema.SubGraphT()
        self.subgraph.name = b"main"
        self.subgraph.tensors, self.subgraph.operators = [], []

    def value(
        self, name: str, shape: tuple[int, ...], dtype: str = "FLOAT32", *, buffer: int = 0, variable: bool = False
    ) -> int:
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.type = name.encode(), list(shape), getattr(schema.TensorType, dtype)
        tensor.buffer, tensor.isVariable = buffer, variable
        self.subgraph.tensors.append(tensor)
        return len(self.subgraph.tensors) - 1

    def constant(self, name: str, data: Array, dtype: str | None = None) -> int:
        types = {np.dtype(np.float32): "FLOAT32", np.dtype(np.int32): "INT32", np.dtype(np.int8): "INT8"}
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(np.ascontiguousarray(data).tobytes(), np.uint8)
        self.buffers.append(buffer)
        return self.value(name, data.shape, dtype or types[data.dtype], buffer=len(self.buffers) - 1)

    def op(self, kind: str, inputs: list[int], outputs: list[int], table: str = "", **options: Any) -> int:
        code = schema.OperatorCodeT()
        code.builtinCode = getattr(schema.BuiltinOperator, kind)
        code.deprecatedBuiltinCode, code.version = min(code.builtinCode, 127), 1
        self.codes.append(code)
        operator = schema.OperatorT()
        operator.opcodeIndex, operator.inputs, operator.outputs = len(self.codes) - 1, inputs, outputs
        if table:
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, table)
            operator.builtinOptions = getattr(schema, f"{table}T")()
            for name, given in options.items():
                assert hasattr(operator.builtinOptions, name), name
                setattr(operator.builtinOptions, name, given)
        self.subgraph.operators.append(operator)
        return outputs[0]

    def reshape(self, x: int, name: str, shape: tuple[int, ...]) -> int:
        wanted = self.constant(f"{name} shape", np.array(shape, np.int32))
        return self.op("RESHAPE", [x, wanted], [self.value(name, shape)], "ReshapeOptions", newShape=list(shape))

    def dense(self, x: int, name: str, weight: Array, bias: Array) -> int:
        operands = [x, self.constant(f"{name} weight", weight), self.constant(f"{name} bias", bias)]
        return self.op("FULLY_CONNECTED", operands, [self.value(name, (1, len(bias)))], "FullyConnectedOptions")

    def file(self, inputs: list[int], outputs: list[int]) -> bytes:
        self.subgraph.inputs, self.subgraph.outputs = inputs, outputs
        model = schema.ModelT()
        model.version, model.operatorCodes = 3, self.codes
        model.subgraphs, model.buffers = [self.subgraph], self.buffers
        builder = _Aligned(1024)
        builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
        return bytes(builder.Output())


class _Aligned(flatbuffers.Builder):
    """Constants are aligned to 16 bytes, as runtimes expect them."""

    def StartVector(self, elemSize: int, numElems: int, alignment: int) -> Any:  # noqa: N802
        return super().StartVector(elemSize, numElems, 16 if elemSize == 1 else alignment)


def normal(*shape: int, scale: float = 0.5, seed: int = 0) -> Array:
    return np.random.default_rng([seed, *shape]).normal(0, scale, shape).astype(np.float32)


def dense_model(window: int = 4, channels: int = 2, *, outputs: int = 1) -> bytes:
    """One dense layer over the flattened window; or several, each of which is an output."""
    made = Maker()
    x = made.value("x", (1, window, channels))
    flat = made.reshape(x, "flat", (1, window * channels))
    names = ["head", *(f"head {n}" for n in range(1, outputs))]
    weight = normal(channels, window * channels, scale=0.3)
    return made.file([x], [made.dense(flat, name, weight, normal(channels)) for name in names])


def lstm_model(window: int = 5, channels: int = 2, units: int = 3) -> bytes:
    """A fused LSTM and a dense layer over all that it says; gates in the file's order: input, forget, cell, output."""
    made = Maker()
    x = made.value("x", (1, window, channels))
    kernels = [made.constant(f"kernel {n}", normal(units, channels, seed=n)) for n in range(4)]
    recurrent = [made.constant(f"recurrent {n}", normal(units, units, seed=4 + n)) for n in range(4)]
    biases = [made.constant(f"bias {n}", normal(units, seed=8 + n)) for n in range(4)]
    states = [made.value(name, (1, units), variable=True) for name in ("h", "c")]
    operands = [x, *kernels, *recurrent, -1, -1, -1, *biases, -1, -1, *states, -1, -1, -1, -1]
    h = made.op(
        "UNIDIRECTIONAL_SEQUENCE_LSTM",
        operands,
        [made.value("all h", (1, window, units))],
        "UnidirectionalSequenceLSTMOptions",
        fusedActivationFunction=schema.ActivationFunctionType.TANH,
    )
    flat = made.reshape(h, "flat", (1, window * units))
    y = made.dense(flat, "head", normal(channels, window * units, scale=0.3), normal(channels))
    return made.file([x], [y])


def product_model(window: int = 4, channels: int = 2, *, transposed: bool = False, left: bool = False) -> bytes:
    """BATCH_MATMUL by a constant, on the right or the left, and a dense layer."""
    made = Maker()
    x = made.value("x", (1, window, channels))
    if left:  # (6, W) times (1, W, F)
        weight, shape = normal(6, window), (1, 6, channels)
    else:
        weight, shape = normal(channels, 5), (1, window, 5)
    flag = {"adjX" if left else "adjY": transposed}
    constant = made.constant("product weight", np.ascontiguousarray(weight.T) if transposed else weight)
    operands = [constant, x] if left else [x, constant]
    h = made.op("BATCH_MATMUL", operands, [made.value("h", shape)], "BatchMatMulOptions", **flag)
    flat = made.reshape(h, "flat", (1, shape[1] * shape[2]))
    y = made.dense(flat, "head", normal(channels, shape[1] * shape[2], scale=0.3), normal(channels))
    return made.file([x], [y])


def upsampling_model(window: int = 4, channels: int = 2) -> bytes:
    """TRANSPOSE_CONV with a stride of 2 and a dense layer."""
    made = Maker()
    x = made.value("x", (1, window, channels))
    image = made.reshape(x, "image", (1, 1, window, channels))
    weight = made.constant("upsampling weight", normal(3, 1, 2, channels))
    size = made.constant("size", np.array([1, 1, 2 * window, 3], np.int32))
    h = made.op(
        "TRANSPOSE_CONV",
        [size, weight, image],
        [made.value("h", (1, 1, 2 * window, 3))],
        "TransposeConvOptions",
        padding=schema.Padding.VALID,
        strideW=2,
        strideH=1,
    )
    flat = made.reshape(h, "flat", (1, 6 * window))
    y = made.dense(flat, "head", normal(channels, 6 * window, scale=0.3), normal(channels))
    return made.file([x], [y])
