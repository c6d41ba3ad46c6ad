"""The shipped kernels against arithmetic/int8.py, plain and with undefined behaviour trapped."""

from __future__ import annotations

import ctypes
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from c_library import BATCH, BUILDS, CASES, GUARD, KERNELS, call, calls, count, kernel_library, layers
from c_structs import names_of, struct
from graphs import quant, single_op

from edge_tqs.emit_c.dense_kernels import DENSE_KERNELS, DenseKernel, fold_bias, pack_rows
from edge_tqs.emit_c.packing import pad_rows
from edge_tqs.graph.graph import Forecast, Graph, Op, Quant, Tensor
from edge_tqs.operators import OPERATORS, Call, Table, add, conv_1d, mean, mul, softmax
from edge_tqs.operators.arithmetic import int8 as integer
from edge_tqs.quantization.simulate import integer_operator

#: those for int16 activations have a test of their own
NAMES = sorted(path.stem for path in KERNELS.glob("*.c") if "_s16" not in path.name)
MULTIPLIERS = (1 << 30, (1 << 31) - 1, 0)
ALL_CODES = np.arange(-128, 128).astype(np.int8)

Pointer = ctypes.c_void_p
Fc = struct("tqs_fc_t")
Add = struct("tqs_add_t")
Mul = struct("tqs_mul_t")
Mean = struct("tqs_mean_t")
Taps = struct("tqs_taps_t")
Matmul = struct("tqs_matmul_t")
Softmax = struct("tqs_softmax_t")
Transpose = struct("tqs_transpose_t")
Lut = struct("tqs_lut_t")
LeakyRelu = struct("tqs_leaky_relu_t")
Requant = struct("tqs_requant_t")
Sum = struct("tqs_sum_t")


@pytest.fixture(scope="module", params=list(BUILDS.values()), ids=list(BUILDS))
def kernels(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    return kernel_library(NAMES, tmp_path_factory.mktemp("kernels"), request.param)


def address(values: np.ndarray) -> int:
    return values.ctypes.data


def multiplier_of(rng: np.random.Generator, count: int) -> np.ndarray:
    drawn = rng.integers(1 << 30, 1 << 31, count)
    extreme = rng.choice(MULTIPLIERS, count)
    return np.where(rng.random(count) < 0.3, extreme, drawn).astype(np.int32)


def shift_of(rng: np.random.Generator, count: int, peak: int) -> np.ndarray:
    """-31 to the largest left shift that keeps ``peak`` within int32 (what integer.py admits)."""
    highest = 31 - peak.bit_length()
    likely = rng.integers(-12, 1, count)
    drawn = rng.integers(-31, highest + 1, count)
    edges = rng.choice([-31, 0, highest], count)
    return np.choose(rng.integers(0, 3, count), [likely, drawn, edges]).astype(np.int32)


def codes_of(rng: np.random.Generator, size: int, low: int = -128, high: int = 127) -> np.ndarray:
    """Random codes; a third of the draws are all at one of the limits, or at both."""
    kind = rng.integers(0, 6)
    if kind == 0:
        return np.full(size, rng.choice([low, high]), np.int8)
    if kind == 1:
        return rng.choice([low, high], size).astype(np.int8)
    return rng.integers(low, high + 1, size).astype(np.int8)


def batch_of(rng: np.random.Generator, size: int) -> np.ndarray:
    return np.stack([codes_of(rng, size) for _ in range(BATCH)])


def portable(width: int) -> DenseKernel:
    return next(kernel for kernel in DENSE_KERNELS if kernel.name == f"tqs_fc_s{width}")


def pack_weights(codes: np.ndarray, width: int) -> np.ndarray:
    return portable(width).pack(pad_rows(codes))


def zero_point_of(rng: np.random.Generator) -> int:
    return int(rng.choice([-128, 127, 0, int(rng.integers(-128, 128))]))


@pytest.mark.parametrize("width", [8, 4])
def test_dense(kernels: ctypes.CDLL, width: int) -> None:
    rng = np.random.default_rng(width)
    kernel = kernels.tqs_fc_s8 if width == 8 else kernels.tqs_fc_s4
    limit = integer.WEIGHT_LIMIT[width]
    for _ in layers(400, BATCH):
        rows, inputs = int(rng.integers(1, 14)), int(rng.integers(1, 70))
        weight = np.stack([codes_of(rng, inputs, -limit, limit) for _ in range(rows)])
        bias = rng.integers(-(1 << int(rng.integers(1, 28))), 1 << 27, rows).astype(np.int32)
        peak = int((np.abs(bias.astype(np.int64)) + 255 * np.abs(weight.astype(np.int64)).sum(axis=1)).max())
        low = int(rng.choice([-128, zero_point_of(rng)]))
        params = integer.FullyConnectedParams(
            multiplier_of(rng, rows),
            shift_of(rng, rows, peak),
            zero_point_of(rng),
            zero_point_of(rng),
            low,
            int(rng.integers(low, 128)),
        )
        x = batch_of(rng, inputs)
        tables = (
            pack_weights(weight, width),
            pack_rows(
                portable(width), fold_bias(bias, weight, params.input_zero_point), params.multiplier, params.shift
            ),
        )
        layer = Fc(*map(address, tables), inputs, rows, params.output_zero_point, params.low, params.high)
        expected = integer.fully_connected(params, x, weight, bias)
        np.testing.assert_array_equal(calls(kernel, layer, x, size=rows), expected)


@pytest.mark.parametrize("width", [8, 4])
def test_dense_at_the_edge_of_the_accumulator(kernels: ctypes.CDLL, width: int) -> None:
    """65535 inputs at the limits with the largest bias that integer.py admits, signs all the same."""
    inputs, limit = 65535, integer.WEIGHT_LIMIT[width]
    kernel = kernels.tqs_fc_s8 if width == 8 else kernels.tqs_fc_s4
    for sign, x_code, zero_point in ((1, 127, -128), (-1, 127, -128), (1, -128, 127)):
        weight = np.full((1, inputs), sign * limit, np.int8)
        bias = np.array([sign * ((1 << 31) - 1 - 255 * limit * inputs)], np.int32)
        params = integer.FullyConnectedParams(
            np.array([(1 << 31) - 1], np.int32), np.array([0], np.int32), zero_point, 127, -128, 127
        )
        x = np.full(inputs, x_code, np.int8)
        folded = fold_bias(bias, weight, zero_point)
        assert abs(int(folded[0])) < 1 << 31
        tables = (
            pack_weights(weight, width),
            pack_rows(portable(width), folded, params.multiplier, params.shift),
        )
        layer = Fc(*map(address, tables), inputs, 1, 127, -128, 127)
        expected = integer.fully_connected(params, x[None], weight, bias)[0]
        np.testing.assert_array_equal(call(kernel, layer, x, size=1), expected)


@pytest.mark.parametrize("subtract", [False, True])
def test_add(kernels: ctypes.CDLL, subtract: bool) -> None:
    rng = np.random.default_rng(subtract)
    for _ in layers(300, 50):
        # One operand has shift 0 (the larger scale is half of twice the maximum), the output is never shifted left.
        shifts = [0, int(rng.integers(-31, 1))]
        rng.shuffle(shifts)
        multipliers = [1 << 30 if shift == 0 else int(multiplier_of(rng, 1)[0]) for shift in shifts]
        params = add.Params(
            subtract,
            multipliers[0],
            shifts[0],
            zero_point_of(rng),
            multipliers[1],
            shifts[1],
            zero_point_of(rng),
            int(multiplier_of(rng, 1)[0]),
            int(rng.choice([0, -31, -18, int(rng.integers(-31, 1))])),
            zero_point_of(rng),
        )
        a, b = codes_of(rng, 50), codes_of(rng, 50)
        layer = Add(
            params.multiplier_1,
            params.multiplier_2,
            params.output_multiplier,
            params.shift_1,
            params.shift_2,
            params.output_shift,
            params.zero_point_1,
            params.zero_point_2,
            params.output_zero_point,
            subtract,
            50,
        )
        expected = add.add(params, a, b)
        np.testing.assert_array_equal(call(kernels.tqs_add_s8, layer, a, b, size=50), expected)
        kernels.tqs_add_s8(ctypes.byref(layer), *(v.ctypes.data_as(Pointer) for v in (a, b, b)))
        np.testing.assert_array_equal(b, expected, "in place over b")


def test_one_step_sums_equal_sums_for_every_pair(kernels: ctypes.CDLL) -> None:
    """Scales as layers have them: factors are found for nearly all, and then each of the 65536 pairs is right."""
    rng = np.random.default_rng(8)
    a, b = (side.reshape(-1)[:-1] for side in np.meshgrid(ALL_CODES, ALL_CODES, indexing="ij"))  # 65535 at most
    found = 0
    for _ in range(20):
        scales = [Quant(np.array([rng.uniform(0.01, 0.05)], np.float32), zero_point_of(rng)) for _ in range(3)]
        graph = single_op(str(rng.choice(["add", "sub"])), (scales[0], scales[1]), scales[2])
        params = add.params(graph, graph.ops[0])
        factors = add.sum_factors(params)
        if factors is None:
            continue
        found += 1
        layer = Sum(factors.a_factor, factors.b_factor, factors.offset, a.size)
        expected = add.add(params, a, b)
        np.testing.assert_array_equal(call(kernels.tqs_sum_s8, layer, a, b, size=a.size), expected)
    assert found >= 15


def test_mul(kernels: ctypes.CDLL) -> None:
    rng = np.random.default_rng(3)
    for _ in layers(300, 50):
        multiplier, shift = int(multiplier_of(rng, 1)[0]), int(shift_of(rng, 1, 255 * 255)[0])
        params = mul.Params(multiplier, shift, zero_point_of(rng), zero_point_of(rng), zero_point_of(rng))
        a, b = codes_of(rng, 50), codes_of(rng, 50)
        layer = Mul(multiplier, shift, params.zero_point_1, params.zero_point_2, params.output_zero_point, 50)
        expected = mul.mul(params, a, b)
        np.testing.assert_array_equal(call(kernels.tqs_mul_s8, layer, a, b, size=50), expected)
        kernels.tqs_mul_s8(ctypes.byref(layer), *(v.ctypes.data_as(Pointer) for v in (a, b, a)))
        np.testing.assert_array_equal(a, expected, "in place over a")


def test_lut(kernels: ctypes.CDLL) -> None:
    rng = np.random.default_rng(4)
    for _ in layers(1, 256):
        table, x = rng.permutation(ALL_CODES), rng.permutation(ALL_CODES)
        layer = Lut(address(table), 256)
        np.testing.assert_array_equal(call(kernels.tqs_lut_s8, layer, x, size=256), integer.look_up(table, x))


def rescaled(x: np.ndarray, multiplier: int, shift: int) -> np.ndarray:
    return integer.multiply_by_quantized_multiplier(x, multiplier, shift)


def test_leaky_relu(kernels: ctypes.CDLL) -> None:
    rng = np.random.default_rng(5)
    for _ in layers(200, 256):
        multipliers, shifts = multiplier_of(rng, 2).tolist(), shift_of(rng, 2, 255).tolist()
        zero_in, zero_out = zero_point_of(rng), zero_point_of(rng)
        layer = LeakyRelu(*multipliers, *shifts, zero_in, zero_out, 256)
        value = ALL_CODES.astype(np.int64) - zero_in
        positive, negative = (rescaled(value, m, s) for m, s in zip(multipliers, shifts, strict=True))
        expected = np.clip(np.where(value >= 0, positive, negative) + zero_out, -128, 127)
        np.testing.assert_array_equal(call(kernels.tqs_leaky_relu_s8, layer, ALL_CODES, size=256), expected)


def test_requant(kernels: ctypes.CDLL) -> None:
    rng = np.random.default_rng(6)
    for _ in layers(200, 256):
        multiplier, shift = int(multiplier_of(rng, 1)[0]), int(shift_of(rng, 1, 255)[0])
        zero_in, zero_out = zero_point_of(rng), zero_point_of(rng)
        layer = Requant(multiplier, shift, zero_in, zero_out, 256)
        expected = np.clip(rescaled(ALL_CODES.astype(np.int64) - zero_in, multiplier, shift) + zero_out, -128, 127)
        np.testing.assert_array_equal(call(kernels.tqs_requant_s8, layer, ALL_CODES, size=256), expected)


def test_mean(kernels: ctypes.CDLL) -> None:
    rng = np.random.default_rng(12)
    for _ in layers(200, BATCH):
        samples, channels = (int(n) for n in rng.integers(1, 70, 2))
        source, out = (
            quant(rng.uniform(0.01, 0.1), zero_point_of(rng)),
            quant(rng.uniform(0.01, 0.1), zero_point_of(rng)),
        )
        shapes = {"x": ((1, samples, channels), source), "y": ((1, 1, channels), out)}
        tensors = {name: Tensor(name, shape, "int8", None, q) for name, (shape, q) in shapes.items()}
        forecast = Forecast(samples, channels, "none", (0,) * channels)
        graph = Graph("mean", tensors, (Op("mean", ("x",), ("y",)),), "x", "y", (), forecast).check()
        params = mean.params(graph, graph.ops[0])
        offset = -params.count * params.x_zero_point
        layer = Mean(params.multiplier, offset, params.shift, params.y_zero_point, samples, channels)
        x = batch_of(rng, samples * channels).reshape(BATCH, samples, channels)
        expected = integer_operator(graph, graph.ops[0])(x)[:, 0]
        np.testing.assert_array_equal(calls(kernels.tqs_mean_s8, layer, x, size=channels), expected)


def one_operator(
    kind: str, shapes: tuple[tuple[int, ...], ...], quants: tuple[Quant, ...], **attrs: Any
) -> tuple[Graph, Op]:
    """An operator on sequences that is not checked as a whole forecaster: shapes of the inputs, then of the output."""
    names = ("x", "b", "y") if len(shapes) == 3 else ("x", "y")
    tensors = {n: Tensor(n, shape, "int8", None, q) for n, shape, q in zip(names, shapes, quants, strict=True)}
    op = Op(kind, names[:-1], ("y",), attrs)
    return Graph(kind, tensors, (op,), "x", "y", (), Forecast(1, 1, "none", (0,))), op


def fields_of(layer: type[ctypes.Structure], graph: Graph, op: Op) -> ctypes.Structure:
    """The struct that model.c holds for ``op``."""
    call = OPERATORS[op.kind].call(graph, op)
    assert isinstance(call, Call)
    fields = call.fields
    assert set(fields) == names_of(layer)
    return layer(**{name: address(v.values) if isinstance(v, Table) else v for name, v in fields.items()})


@pytest.mark.parametrize("transposed", [False, True])
def test_matmul(kernels: ctypes.CDLL, transposed: bool) -> None:
    rng = np.random.default_rng(14)
    for _ in layers(200, BATCH):
        rows, inner, columns = (int(n) for n in rng.integers(1, 20, 3))
        right = (1, columns, inner) if transposed else (1, inner, columns)
        quants = [quant(rng.uniform(0.01, 0.1), zero_point_of(rng)) for _ in range(3)]
        shapes = ((1, rows, inner), right, (1, rows, columns))
        graph, op = one_operator("batch_matmul", shapes, tuple(quants), transposed=transposed)
        a, b = batch_of(rng, rows * inner), batch_of(rng, inner * columns)
        compute = OPERATORS["batch_matmul"].integer(graph, op)
        expected = compute(a.reshape(-1, rows, inner), b.reshape(-1, *right[1:])).reshape(BATCH, -1)
        layer = fields_of(Matmul, graph, op)
        np.testing.assert_array_equal(calls(kernels.tqs_matmul_s8, layer, a, b, size=rows * columns), expected)


def test_softmax(kernels: ctypes.CDLL) -> None:
    """Rows of one value to the most, all alike, at the limits and drawn; scales from flat to one-hot; in place too."""
    rng = np.random.default_rng(15)
    for number in layers(300, BATCH):
        rows = int(rng.integers(1, 5))
        columns = (1, 2, softmax.MOST_VALUES)[number] if number < 3 else int(rng.integers(1, 60))
        quants = (quant(float(10 ** rng.uniform(-4, 1)), zero_point_of(rng)), quant(*softmax.OUTPUT))
        shape = (1, rows, columns)
        graph, op = one_operator("softmax", (shape, shape), quants, beta=float(np.float32(rng.uniform(0.1, 2))))
        x = np.zeros((BATCH, rows * columns), np.int8) if number < 3 else batch_of(rng, rows * columns)
        expected = OPERATORS["softmax"].integer(graph, op)(x.reshape(-1, rows, columns)).reshape(x.shape)
        call = OPERATORS["softmax"].call(graph, op)
        assert isinstance(call, Call)
        held = call.fields["table"]
        assert isinstance(held, Table)
        table = held.values.astype(np.int32)  # it must outlive the call
        layer = Softmax(address(table), table.size, rows, columns)
        np.testing.assert_array_equal(calls(kernels.tqs_softmax_s8, layer, x, size=rows * columns), expected)
        kernels.tqs_softmax_s8(ctypes.byref(layer), *[x[0].ctypes.data_as(Pointer)] * 2)
        np.testing.assert_array_equal(x[0], expected[0], "in place")


def test_transpose(kernels: ctypes.CDLL) -> None:
    x = np.arange(-60, 60).astype(np.int8)
    for rows, columns in ((1, 120), (120, 1), (8, 15)):
        found = call(kernels.tqs_transpose_s8, Transpose(rows, columns), x, size=x.size)
        np.testing.assert_array_equal(found, x.reshape(rows, columns).T.reshape(-1))


def test_taps(kernels: ctypes.CDLL) -> None:
    """Against conv_1d.taps; taps that lie side by side are read where they are."""
    rng = np.random.default_rng(13)
    find = kernels.tqs_taps_s8
    find.restype = Pointer
    for _ in layers(200, 4):
        samples, channels = (int(n) for n in rng.integers(1, 12, 2))
        taps, stride, dilation = (int(n) for n in rng.integers(1, 5, 3))
        left, right = int(rng.integers(0, 9)), int(rng.integers(0, 9)) + dilation * (taps - 1)
        zero_point = zero_point_of(rng)
        attrs = {"stride": stride, "dilation": dilation, "left": left, "right": right}
        x = rng.integers(-128, 128, (samples, channels)).astype(np.int8)
        expected = conv_1d.taps(x[None], (1, taps, channels), Op("conv_1d", (), (), attrs), zero_point)[0]
        layer = Taps(samples, channels, taps, stride, dilation, left, zero_point)
        for t, wanted in enumerate(expected):
            buffer = np.full(wanted.size + (0 if CASES else 1), GUARD, np.int8)
            at = find(ctypes.byref(layer), Pointer(address(x)), ctypes.c_uint32(t), Pointer(address(buffer)))
            np.testing.assert_array_equal(np.frombuffer(ctypes.string_at(at, wanted.size), np.int8), wanted)
            assert (buffer[wanted.size :] == GUARD).all()
            count(find, wanted.size)
            first = t * stride - left
            inside = first >= 0 and first + taps <= samples
            assert (at != address(buffer)) == (dilation == 1 and inside)


def test_packing_puts_four_rows_side_by_side() -> None:
    codes = np.array([[1, 2], [3, 4], [5, 6], [-7, -1], [7, 0]], np.int8)
    assert pack_weights(codes, 8).tolist() == [1, 3, 5, -7, 2, 4, 6, -1, 7, 0, 0, 0, 0, 0, 0, 0]
    assert pack_weights(codes, 4).view(np.uint8).tolist() == [0x31, 0x95, 0x42, 0xF6, 0x07, 0, 0, 0]


def test_every_kernel_is_named_after_its_file_and_tested_here() -> None:
    tested = "".join(path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("test_c_*.py"))
    for name in NAMES:
        text = (KERNELS / f"{name}.c").read_text(encoding="ascii")
        assert re.findall(r"^(?:void |const int8_t \*)(\w+)\(", text, re.MULTILINE) == [name]
        assert f"kernels.{name}" in tested
