"""The C of the operators in edge_tqs/operators against their integer functions, on extremes, traps set."""

from __future__ import annotations

import ctypes
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from c_library import BATCH, BUILDS, calls, kernel_library, layers
from c_structs import structs
from graphs import quant

from edge_tqs.errors import ModelError
from edge_tqs.graph.graph import Forecast, Graph, Op, Quant, Tensor
from edge_tqs.graph.shapes import conv_length, pool_length
from edge_tqs.operators import OPERATORS, Call, Table, softmax
from edge_tqs.operators.arithmetic import int8 as integer
from edge_tqs.quantization.quantize import Activations

NAMES = ("tqs_depthwise", "tqs_avg_pool", "tqs_max_pool", "tqs_transpose")
#: whose int8 forms are in test_c_kernels
WIDE = ("tqs_matmul_s16", "tqs_matmul_s8_s16", "tqs_softmax_s16", "tqs_curve_s16")

Depthwise = structs()["tqs_depthwise_t"]
Pool = structs()["tqs_pool_t"]
Transpose = structs()["tqs_transpose_t"]
Matmul = structs()["tqs_matmul_t"]
Softmax16 = structs()["tqs_softmax_s16_t"]
Curve = structs()["tqs_curve_s16_t"]


@pytest.fixture(scope="module")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    names = [*(f"{name}_{code}" for name in NAMES for code in ("s8", "s16")), *WIDE]
    (*_, flags) = BUILDS.values()
    return kernel_library(names, tmp_path_factory.mktemp("operators"), flags)


def codes_of(rng: np.random.Generator, shape: tuple[int, ...], kind: str) -> np.ndarray:
    """Random codes; a third of the draws are all at one of the limits, or at both."""
    limits = np.iinfo(kind)
    draw = rng.integers(0, 6)
    if draw == 0:
        return np.full(shape, rng.choice([limits.min, limits.max]), kind)
    if draw == 1:
        return rng.choice([limits.min, limits.max], shape).astype(kind)
    return rng.integers(limits.min, limits.max + 1, shape).astype(kind)


def graph_of(op: Op, x: Tensor, y: Tensor, *constants: Tensor) -> Graph:
    tensors = {tensor.name: tensor for tensor in (x, *constants, y)}
    samples, channels = x.shape[1:]
    return Graph("one", tensors, (op,), "x", "y", (), Forecast(samples, channels, "none", (0,) * channels)).check()


def batch_of(rng: np.random.Generator, tensor: Tensor) -> np.ndarray:
    return np.concatenate([codes_of(rng, tensor.shape, tensor.dtype) for _ in range(BATCH)])


def run(kernels: ctypes.CDLL, graph: Graph, struct: type[ctypes.Structure], *inputs: np.ndarray) -> np.ndarray:
    """The C of the graph's only operator for each of a batch; its tables are of exact size."""
    call = OPERATORS[graph.ops[0].kind].call(graph, graph.ops[0])
    assert isinstance(call, Call)
    assert [name for name, *_ in struct._fields_] == list(call.fields)
    held: list[np.ndarray] = []
    fields: dict[str, Any] = {}
    for name, value in call.fields.items():
        if isinstance(value, Table):
            held.append(np.array(value.values, value.c_type.removesuffix("_t"), order="C"))
            fields[name] = held[-1].ctypes.data
        else:
            fields[name] = value
    y = graph.tensors["y"]
    return calls(getattr(kernels, call.kernel), struct(**fields), *inputs, size=y.size).reshape(-1, *y.shape[1:])


def depthwise(rng: np.random.Generator, activations: Activations, width: int) -> Graph:
    samples, channels, multiplicity = (int(n) for n in rng.integers(1, [12, 6, 4]))
    taps, stride, dilation = (int(n) for n in rng.integers(1, [6, 4, 4]))
    left = int(rng.integers(0, 9))
    right = int(rng.integers(0, 5)) + max(0, dilation * (taps - 1) + 1 - samples - left)
    attrs: dict[str, Any] = {"stride": stride, "dilation": dilation, "left": left, "right": right}
    rows, limit, wide = channels * multiplicity, integer.WEIGHT_LIMIT[width], activations == "int16"
    weight = rng.integers(-limit, limit + 1, (rows, taps)).astype(np.int8)
    if rng.random() < 0.3:
        weight[:] = limit * rng.choice([-1, 1])
    bias = rng.integers(-(1 << 29), 1 << 29, rows).astype("int64" if wide else "int32")
    scale = quant(1e-4, 0) if wide else quant(0.02, int(rng.choice([-128, 127, 0, 11])))
    out = quant(3e-4, 0) if wide else quant(float(rng.uniform(0.02, 0.9)), int(rng.choice([-128, 127, -5])))
    scales = rng.uniform(0.001, 0.1, rows).astype(np.float32)
    length = conv_length(samples, taps, attrs)
    attrs |= {"activation": str(rng.choice(["none", "relu", "relu6"]))}
    return graph_of(
        Op("depthwise_1d", ("x", "w", "b")[: int(rng.integers(2, 4))], ("y",), attrs),
        Tensor("x", (1, samples, channels), activations, None, scale),
        Tensor("y", (1, length, rows), activations, None, out),
        Tensor("w", weight.shape, "int4" if width == 4 else "int8", weight, Quant(scales)),
        Tensor("b", bias.shape, "int64" if wide else "int32", bias, Quant(scales)),
    )


@pytest.mark.parametrize("width", [8, 4])
@pytest.mark.parametrize("activations", ["int8", "int16"])
def test_depthwise(kernels: ctypes.CDLL, activations: Activations, width: int) -> None:
    """Runs kernels.tqs_depthwise_s8 and kernels.tqs_depthwise_s16."""
    rng = np.random.default_rng(width)
    for _ in layers(150, BATCH):
        graph = depthwise(rng, activations, width)
        x = batch_of(rng, graph.tensors["x"])
        expected = OPERATORS["depthwise_1d"].integer(graph, graph.ops[0])(x)
        np.testing.assert_array_equal(run(kernels, graph, Depthwise, x), expected)


def test_a_depthwise_layer_whose_sum_leaves_32_bits_is_refused() -> None:
    graph = depthwise(np.random.default_rng(0), "int8", 8)
    far = graph.with_tensors({"y": Tensor("y", graph.tensors["y"].shape, "int8", None, quant(1e-9, 0))})
    with pytest.raises(ModelError, match="can overflow"):
        OPERATORS["depthwise_1d"].call(far, far.ops[0])


@pytest.mark.parametrize("kind", ["avg_pool_1d", "max_pool_1d"])
@pytest.mark.parametrize("activations", ["int8", "int16"])
def test_pooling(kernels: ctypes.CDLL, activations: Activations, kind: str) -> None:
    """Runs kernels.tqs_avg_pool_s8, kernels.tqs_avg_pool_s16, kernels.tqs_max_pool_s8 and kernels.tqs_max_pool_s16."""
    rng = np.random.default_rng(3)
    for _ in layers(150, BATCH):
        samples, channels, size, stride = (int(n) for n in rng.integers(1, [14, 5, 8, 6]))
        padding = "same" if size > samples else str(rng.choice(["same", "valid"]))
        attrs = {"size": size, "stride": stride, "padding": padding}
        shape = (1, pool_length(samples, attrs), channels)
        graph = graph_of(
            Op(kind, ("x",), ("y",), attrs),
            Tensor("x", (1, samples, channels), activations, None, quant(0.1, 0)),
            Tensor("y", shape, activations, None, quant(0.1, 0)),
        )
        x = batch_of(rng, graph.tensors["x"])
        expected = OPERATORS[kind].integer(graph, graph.ops[0])(x)
        np.testing.assert_array_equal(run(kernels, graph, Pool, x), expected)


@pytest.mark.parametrize("activations", ["int8", "int16"])
def test_transpose(kernels: ctypes.CDLL, activations: Activations) -> None:
    """Runs kernels.tqs_transpose_s8 and kernels.tqs_transpose_s16."""
    rng = np.random.default_rng(4)
    for _ in layers(40, BATCH):
        rows, columns = (int(n) for n in rng.integers(1, 9, 2))
        graph = graph_of(
            Op("transpose", ("x",), ("y",)),
            Tensor("x", (1, rows, columns), activations, None, quant(0.1, 0)),
            Tensor("y", (1, columns, rows), activations, None, quant(0.1, 0)),
        )
        x = batch_of(rng, graph.tensors["x"])
        np.testing.assert_array_equal(run(kernels, graph, Transpose, x), x.swapaxes(1, 2))


@pytest.mark.parametrize("transposed", [False, True])
def test_matmul_of_int16_codes(kernels: ctypes.CDLL, transposed: bool) -> None:
    """kernels.tqs_matmul_s16: any shapes and factors; sums beyond 32 bits where the codes are at their limits."""
    rng = np.random.default_rng(5)
    for _ in layers(200, BATCH):
        rows, inner, columns = (int(n) for n in rng.integers(1, 20, 3))
        right = (1, columns, inner) if transposed else (1, inner, columns)
        graph = graph_of(
            Op("batch_matmul", ("x", "b"), ("y",), {"transposed": transposed}),
            Tensor("x", (1, rows, inner), "int16", None, quant(float(rng.uniform(1e-4, 1e-3)), 0)),
            Tensor("y", (1, rows, columns), "int16", None, quant(float(10 ** rng.uniform(-4, 0)), 0)),
            Tensor("b", right, "int16", np.zeros(right, np.int16), quant(float(rng.uniform(1e-4, 1e-3)), 0)),
        )
        a, b = batch_of(rng, graph.tensors["x"]), batch_of(rng, graph.tensors["b"])
        expected = OPERATORS["batch_matmul"].integer(graph, graph.ops[0])(a, b)
        np.testing.assert_array_equal(run(kernels, graph, Matmul, a, b), expected)
        exact = a.astype(float) @ (b.swapaxes(1, 2) if transposed else b)
        factor = np.prod([float(graph.tensors[n].quant.scale[0]) for n in ("x", "b")])
        exact = np.clip(exact * factor / float(graph.tensors["y"].quant.scale[0]), -32768, 32767)
        assert np.abs(exact - expected).max() <= 1 + 2**-15 * np.abs(exact).max()  # a multiplier has 15 bits


@pytest.mark.parametrize("transposed", [False, True])
def test_matmul_of_int8_codes_to_int16_ones(kernels: ctypes.CDLL, transposed: bool) -> None:
    """kernels.tqs_matmul_s8_s16: what the int16 product makes of the same codes less their zero points."""
    rng = np.random.default_rng(8)
    for _ in layers(200, BATCH):
        rows, inner, columns = (int(n) for n in rng.integers(1, 20, 3))
        right = (1, columns, inner) if transposed else (1, inner, columns)
        points = {name: int(rng.integers(-128, 128)) for name in ("x", "b")}
        graph = graph_of(
            Op("batch_matmul", ("x", "b"), ("y",), {"transposed": transposed}),
            Tensor("x", (1, rows, inner), "int8", None, quant(float(rng.uniform(1e-3, 1e-2)), points["x"])),
            Tensor("y", (1, rows, columns), "int16", None, quant(float(10 ** rng.uniform(-6, -2)), 0)),
            Tensor("b", right, "int8", np.zeros(right, np.int8), quant(float(rng.uniform(1e-3, 1e-2)), points["b"])),
        )
        copies = {n: graph.tensors[n] for n in points}
        copies = {n: replace(t, dtype="int16", quant=Quant(graph.quant(n).scale)) for n, t in copies.items()}
        wide = graph.with_tensors(copies)
        a, b = batch_of(rng, graph.tensors["x"]), batch_of(rng, graph.tensors["b"])
        wider = (codes.astype(np.int16) - points[name] for name, codes in (("x", a), ("b", b)))
        expected = OPERATORS["batch_matmul"].integer(wide, wide.ops[0])(*wider)
        np.testing.assert_array_equal(run(kernels, graph, Matmul, a, b), expected)


def softmax16(rng: np.random.Generator, columns: int, scale: float) -> Graph:
    shape = (1, int(rng.integers(1, 5)), columns)
    return graph_of(
        Op("softmax", ("x",), ("y",), {"beta": float(np.float32(rng.uniform(0.1, 1)))}),
        Tensor("x", shape, "int16", None, quant(scale, 0)),
        Tensor("y", shape, "int16", None, quant(*softmax.OUTPUT_16)),
    )


def test_softmax_of_int16_codes(kernels: ctypes.CDLL) -> None:
    """kernels.tqs_softmax_s16: rows all alike, at the limits and drawn; scales from flat to one-hot."""
    rng = np.random.default_rng(6)
    for number in layers(300, BATCH):
        columns = (1, 2, 3000)[number] if number < 3 else int(rng.integers(1, 60))
        graph = softmax16(rng, columns, float(10 ** rng.uniform(-7, 0)))
        x = batch_of(rng, graph.tensors["x"])
        if number < 3:
            x[:] = 0
        expected = OPERATORS["softmax"].integer(graph, graph.ops[0])(x)
        np.testing.assert_array_equal(run(kernels, graph, Softmax16, x), expected)
        real = OPERATORS["softmax"].compute(graph, graph.ops[0])(x * np.float64(graph.tensors["x"].quant.scale[0]))
        # exp(-10), two codes in the table, stands for all that is less, in each of the columns
        assert np.abs(expected / 32768 - real).max() < 1e-4 + columns * 2 / 32768


def test_a_softmax_of_int16_codes_that_lie_too_far_apart_is_refused() -> None:
    graph = softmax16(np.random.default_rng(6), 9, 10.0)
    with pytest.raises(ModelError, match="too far"):
        OPERATORS["softmax"].call(graph, graph.ops[0])


@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize("bits", [4, 5, 6, 7, 8])
def test_curve(kernels: ctypes.CDLL, bits: int, positive: bool) -> None:
    """kernels.tqs_curve_s16: every code, whatever the tables hold and however steep they are."""
    rng = np.random.default_rng(bits)
    cells = (1 << (15 - bits)) * (1 if positive else 2) + 1
    every = np.arange(-32768, 32768).astype(np.int16)
    for steepness in (1e-12, 1e-3, 0.1, 1.0, 30.0, 1000.0):
        tables = rng.choice([-128, 127], (3, cells)) if steepness == 0.1 else rng.integers(-128, 128, (3, cells))
        tables[2] = 0 if steepness == 1e-3 else np.maximum(tables[2], -127)
        scales = 256 * 1e-3, 1e-3, steepness
        named = [
            Tensor(name, (cells,), "int8", values.astype(np.int8), quant(scale, 0))
            for name, values, scale in zip("hls", tables, scales, strict=True)
        ]
        op = Op("curve", ("x", "h", "l", "s"), ("y",), {"bits": bits, "positive": positive})
        x, y = (Tensor(name, (1, 1, 32768), "int16", None, quant(1e-3, 0)) for name in "xy")
        graph = graph_of(op, x, y, *named)
        for half in (every[:32768], every[32768:]):
            expected = OPERATORS["curve"].integer(graph, op)(half, *tables)
            np.testing.assert_array_equal(run(kernels, graph, Curve, half[None]).reshape(-1), expected)


def test_a_mean_of_codes_is_rounded_to_the_nearest_halves_away_from_zero() -> None:
    attrs = {"size": 2, "stride": 2, "padding": "valid"}
    x = np.array([[[1], [2], [-1], [-2], [0], [-1], [0], [0]]], np.int8)
    graph = graph_of(
        Op("avg_pool_1d", ("x",), ("y",), attrs),
        Tensor("x", (1, 8, 1), "int8", None, quant(0.1, 0)),
        Tensor("y", (1, 4, 1), "int8", None, quant(0.1, 0)),
    )
    assert OPERATORS["avg_pool_1d"].integer(graph, graph.ops[0])(x).reshape(-1).tolist() == [2, -2, -1, 0]
