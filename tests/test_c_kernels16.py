"""The kernels for int16 activations against arithmetic/int16.py, plain and with undefined behaviour trapped."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from c_library import BATCH, BUILDS, KERNELS, call, calls, count, kernel_library, layers
from c_structs import struct
from graphs import quant, single_op

from edge_tqs.emit_c.dense_kernels import DENSE_KERNELS, DenseKernel, pack_rows
from edge_tqs.emit_c.packing import pad_rows
from edge_tqs.errors import ModelError
from edge_tqs.graph.graph import DType, Forecast, Graph, Op, Quant, Tensor
from edge_tqs.operators import OPERATORS, Call, add, dense, mul
from edge_tqs.operators.arithmetic import int8 as integer
from edge_tqs.operators.arithmetic import int16 as integer16
from edge_tqs.quantization.quantize import SCHEMES
from edge_tqs.quantization.simulate import integer_operator

NAMES = sorted(path.stem for path in KERNELS.glob("*_s16*.c"))
ALL_CODES = np.arange(-32768, 32768).astype(np.int16)

Pointer = ctypes.c_void_p
Fc = struct("tqs_fc_s16_t")
Add = struct("tqs_add_s16_t")
Scale = struct("tqs_scale_s16_t")
Requant = struct("tqs_requant_t")
Mean = struct("tqs_mean_s16_t")
Sigmoid = struct("tqs_sigmoid_s16_t")
LeakyRelu = struct("tqs_leaky_relu_s16_t")


@pytest.fixture(scope="module", params=list(BUILDS.values()), ids=list(BUILDS))
def kernels(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    return kernel_library(NAMES, tmp_path_factory.mktemp("kernels16"), request.param)


def codes_of(rng: np.random.Generator, size: int) -> np.ndarray:
    """Random codes; a third of the draws are all at one of the limits, or at both."""
    limits = [-32768, 32767]
    kind = rng.integers(0, 6)
    if kind == 0:
        return np.full(size, rng.choice(limits), np.int16)
    if kind == 1:
        return rng.choice(limits, size).astype(np.int16)
    return rng.integers(-32768, 32768, size).astype(np.int16)


def batch_of(rng: np.random.Generator, size: int) -> np.ndarray:
    return np.stack([codes_of(rng, size) for _ in range(BATCH)])


def portable(width: int) -> DenseKernel:
    return next(kernel for kernel in DENSE_KERNELS if kernel.name == f"tqs_fc_s16w{width}")


@pytest.mark.parametrize("width", [8, 4])
def test_dense(kernels: ctypes.CDLL, width: int) -> None:
    """Any weights, biases and factors; up to 1,300 inputs, which are three blocks of 32-bit sums."""
    rng = np.random.default_rng(width)
    kernel = kernels.tqs_fc_s16w8 if width == 8 else kernels.tqs_fc_s16w4
    limit = integer.WEIGHT_LIMIT[width]
    for number in layers(200, BATCH):
        rows, inputs = int(rng.integers(1, 14)), int(rng.choice([rng.integers(1, 40), rng.integers(500, 1300)]))
        weight = rng.integers(-limit, limit + 1, (rows, inputs)).astype(np.int8)
        if number % 4 == 0:
            weight[:] = limit * rng.choice([-1, 1])
        bias = rng.integers(-integer.BIAS_LIMIT, integer.BIAS_LIMIT + 1, rows)
        low, high = (0, 20000) if rng.random() < 0.3 else (-32768, 32767)
        params = integer16.FullyConnectedParams(
            rng.integers(0, 1 << 15, rows), rng.choice([8, 15, 24, 30, 46], rows).astype(np.int64), low, high
        )
        x = batch_of(rng, inputs)
        packed = portable(width).pack(pad_rows(weight.astype(np.int64)))
        table = pack_rows(portable(width), bias, params.multiplier, params.shift)
        struct = Fc(packed.ctypes.data, table.ctypes.data, inputs, rows, low, high)
        accumulators = x.astype(np.int64) @ weight.astype(np.int64).T + bias
        expected = integer16.rescale_accumulators(params, accumulators)
        np.testing.assert_array_equal(calls(kernel, struct, x, size=rows), expected)


@pytest.mark.parametrize("width", [8, 4])
def test_dense_at_the_edge_of_the_accumulator(kernels: ctypes.CDLL, width: int) -> None:
    """65535 inputs at the limits with the largest bias, signs all the same."""
    inputs, limit = 65535, integer.WEIGHT_LIMIT[width]
    kernel = kernels.tqs_fc_s16w8 if width == 8 else kernels.tqs_fc_s16w4
    for sign, code in ((1, 32767), (1, -32768), (-1, 32767), (-1, -32768)):
        weight = np.full((1, inputs), sign * limit, np.int64)
        bias = np.array([integer.BIAS_LIMIT * (sign if code > 0 else -sign)])
        sum_ = bias + inputs * limit * sign * code
        for multiplier, shift in ((32767, 8), (32767, 46), (16384, 24)):
            params = integer16.FullyConnectedParams(np.array([multiplier]), np.array([shift]), -32768, 32767)
            packed = portable(width).pack(pad_rows(weight))
            table = pack_rows(portable(width), bias, params.multiplier, params.shift)
            struct = Fc(packed.ctypes.data, table.ctypes.data, inputs, 1, -32768, 32767)
            expected = integer16.rescale_accumulators(params, sum_[None])[0]
            found = call(kernel, struct, np.full(inputs, code, np.int16), size=1)
            np.testing.assert_array_equal(found, expected)


def fields_of(graph: Graph) -> Mapping[str, object]:
    """What is in the struct of an operator."""
    op = graph.ops[0]
    call = OPERATORS[op.kind].call(graph, op)
    assert isinstance(call, Call)
    return call.fields


def ratio(rng: np.random.Generator) -> float:
    return float(2.0 ** rng.uniform(-5, 4))


@pytest.mark.parametrize("kind", ["add", "sub"])
def test_add(kernels: ctypes.CDLL, kind: str) -> None:
    rng = np.random.default_rng(3)
    for _ in layers(60, 400):
        a, b = codes_of(rng, 400), codes_of(rng, 400)
        scales = 1e-4 * ratio(rng), 1e-4 * ratio(rng)
        graph = single_op(
            kind, tuple(quant(s, 0) for s in scales), quant(1e-4 * ratio(rng), 0), size=400, dtype="int16"
        )
        expected = add.add(add.params(graph, graph.ops[0]), a, b)
        struct = Add(**fields_of(graph))
        np.testing.assert_array_equal(call(kernels.tqs_add_s16, struct, a, b, size=400), expected)
        kernels.tqs_add_s16(ctypes.byref(struct), *(v.ctypes.data_as(Pointer) for v in (a, b, b)))
        np.testing.assert_array_equal(b, expected)  # in place


def test_mul(kernels: ctypes.CDLL) -> None:
    rng = np.random.default_rng(4)
    for _ in layers(60, 300):
        a, b = codes_of(rng, 300), codes_of(rng, 300)
        inputs = quant(1e-4 * ratio(rng), 0), quant(1e-3 * ratio(rng), 0)
        graph = single_op("mul", inputs, quant(1e-4 * ratio(rng), 0), size=300, dtype="int16")
        expected = mul.mul(mul.params(graph, graph.ops[0]), a, b)
        struct = Scale(**fields_of(graph))
        np.testing.assert_array_equal(call(kernels.tqs_mul_s16, struct, a, b, size=300), expected)


@pytest.mark.parametrize("kind", ["quantize", "leaky_relu", "logistic", "tanh"])
def test_every_code_of_one_input(kernels: ctypes.CDLL, kind: str) -> None:
    rng = np.random.default_rng(5)
    kernel, struct_type = {
        "quantize": (kernels.tqs_requant_s16, Scale),
        "leaky_relu": (kernels.tqs_leaky_relu_s16, LeakyRelu),
        "logistic": (kernels.tqs_sigmoid_s16, Sigmoid),
        "tanh": (kernels.tqs_sigmoid_s16, Sigmoid),
    }[kind]
    attrs: dict[str, Any] = {"alpha": 0.2} if kind == "leaky_relu" else {}
    # 1 / 4096 and 1 / 2048 are the powers of two that logistic and tanh treat apart; 5.33 is the largest they take
    for scale in (1 / 4096, 1 / 2048, 5.33, 1e-9, *(3e-4 * ratio(rng) for _ in range(8))):
        out = quant(*SCHEMES["int16"].fixed_outputs.get(kind, (scale * ratio(rng), 0)))
        graph = single_op(kind, (quant(scale, 0),), out, dtype="int16", **attrs)
        expected = integer_operator(graph, graph.ops[0])(ALL_CODES)
        fields = dict(fields_of(graph))
        for half in (ALL_CODES[:32768], ALL_CODES[32768:]):  # a size has 16 bits
            struct = struct_type(**(fields | {"size": 32768}))
            np.testing.assert_array_equal(call(kernel, struct, half, size=32768), expected[half.astype(int) + 32768])


@pytest.mark.parametrize("name", ["tqs_requant_s8_s16", "tqs_requant_s16_s8"])
def test_every_code_between_the_types(kernels: ctypes.CDLL, name: str) -> None:
    rng, reached = np.random.default_rng(6), list[int]()
    types: tuple[DType, DType] = ("int8", "int16") if name == "tqs_requant_s8_s16" else ("int16", "int8")
    kernel = {"int16": kernels.tqs_requant_s8_s16, "int8": kernels.tqs_requant_s16_s8}[types[1]]
    codes = ALL_CODES[::2] if types[0] == "int16" else np.arange(-128, 128).astype(np.int8)
    for _ in range(12):
        zeros = [int(rng.integers(-128, 128)) if dtype == "int8" else 0 for dtype in types]
        scales = [(1e-2 if dtype == "int8" else 1e-4) * ratio(rng) for dtype in types]
        x, y = (
            Tensor(n, (1, codes.size), t, None, quant(s, z))
            for n, t, s, z in zip("xy", types, scales, zeros, strict=True)
        )
        forecast = Forecast(1, codes.size, "stateful", tuple(range(codes.size)))
        op = Op("quantize", ("x",), ("y",))
        graph = Graph("one_quantize", {"x": x, "y": y}, (op,), "x", "y", (), forecast)
        expected = integer_operator(graph, op)(codes)
        made = OPERATORS["quantize"].call(graph, op)
        assert isinstance(made, Call)
        assert made.kernel == name
        reached.append(int(np.ptp(expected.astype(int))))
        found = np.zeros(codes.size, expected.dtype)
        struct = Requant(**made.fields)
        kernel(ctypes.byref(struct), *(values.ctypes.data_as(Pointer) for values in (codes.copy(), found)))
        count(kernel, codes.size)
        np.testing.assert_array_equal(found, expected)
    assert max(reached) > 200


def test_every_kernel_is_named_after_its_file_and_tested_here() -> None:
    beside = Path(__file__).with_name("test_c_operators.py")
    tested = Path(__file__).read_text(encoding="utf-8") + beside.read_text(encoding="utf-8")
    for name in NAMES:
        text = (KERNELS / f"{name}.c").read_text(encoding="ascii")
        assert re.findall(r"^void (\w+)\(", text, re.MULTILINE) == [name]
        assert f"kernels.{name}" in tested


def test_a_bias_beyond_32_bits_has_no_kernel() -> None:
    tensors = {
        "x": Tensor("x", (1, 2), "int16", None, quant(1e-3, 0)),
        "w": Tensor("w", (1, 2), "int8", np.ones((1, 2), np.int8), Quant(np.ones(1, np.float32))),
        "b": Tensor("b", (1,), "int64", np.array([1 << 31]), Quant(np.ones(1, np.float32))),
        "y": Tensor("y", (1, 1), "int16", None, quant(1e-3, 0)),
    }
    op = Op("fully_connected", ("x", "w", "b"), ("y",), {"activation": "none"})
    graph = Graph("g", tensors, (op,), "x", "y", (), Forecast(1, 1, "stateful", (0,)))
    with pytest.raises(ModelError, match="larger than the C kernels take"):
        dense.layer(graph, op)


def test_mean(kernels: ctypes.CDLL) -> None:
    rng = np.random.default_rng(12)
    for _ in layers(100, BATCH):
        samples, channels = (int(n) for n in rng.integers(1, 70, 2))
        quants = {"x": quant(1e-4 * ratio(rng), 0), "y": quant(1e-4 * ratio(rng), 0)}
        shapes = {"x": (1, samples, channels), "y": (1, 1, channels)}
        tensors = {name: Tensor(name, shape, "int16", None, quants[name]) for name, shape in shapes.items()}
        forecast = Forecast(samples, channels, "none", (0,) * channels)
        graph = Graph("mean", tensors, (Op("mean", ("x",), ("y",)),), "x", "y", (), forecast).check()
        struct = Mean(**fields_of(graph))
        x = batch_of(rng, samples * channels)
        expected = integer_operator(graph, graph.ops[0])(x.reshape(BATCH, samples, channels))[:, 0]
        np.testing.assert_array_equal(calls(kernels.tqs_mean_s16, struct, x, size=channels), expected)
