"""The arithmetic of int16 activations and the fixed-point functions against whole numbers, and against tflite-micro."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from graphs import METADATA, needs_tflm, quant
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_tqs.errors import ModelError
from edge_tqs.flatbuffer import model as tflite_model
from edge_tqs.graph.graph import Forecast, Graph, Op, Quant, Tensor
from edge_tqs.operators.arithmetic import fixed_point
from edge_tqs.operators.arithmetic import int16 as integer16
from edge_tqs.operators.arithmetic.sigmoid_table import SIGMOID_TABLE
from edge_tqs.quantization.runtimes import tflm_step


def dense_graph(
    weight: np.ndarray, scale: list[float], bias: list[int] | None, x: float, y: float, activation: str = "none"
) -> Graph:
    rows = np.array(scale, np.float32)
    tensors = {
        "x": Tensor("x", (1, weight.shape[1]), "int16", None, quant(x, 0)),
        "w": Tensor("w", weight.shape, "int8", weight.astype(np.int8), Quant(rows)),
        "y": Tensor("y", (1, weight.shape[0]), "int16", None, quant(y, 0)),
    }
    if bias is not None:
        tensors["b"] = Tensor("b", (len(bias),), "int64", np.array(bias, np.int64), Quant(np.float32(x) * rows))
    op = Op("fully_connected", tuple(n for n in "xwb" if n in tensors), ("y",), {"activation": activation})
    return Graph("dense", tensors, (op,), "x", "y", (), Forecast(1, weight.shape[1], "stateful", (0,))).check()


def params_of(graph: Graph) -> integer16.FullyConnectedParams:
    return integer16.fully_connected_params(graph, graph.ops[0])


def computed(graph: Graph, x: np.ndarray) -> np.ndarray:
    """y of codes (N, K) by the parameters of the layer."""
    weight, bias = graph.tensors["w"].data, graph.tensors["b"].data if "b" in graph.tensors else 0
    return integer16.rescale_accumulators(params_of(graph), x.astype(np.int64) @ weight.astype(np.int64).T + bias)


# --- multipliers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("multiplier", "cut"),
    [
        (0, 0),
        (1 << 30, 0x4000),
        (0x40007FFF, 0x4000),
        (0x40008000, 0x4001),
        (0x7FFE7FFF, 0x7FFE),
        (0x7FFEFFFF, 0x7FFF),
        (0x7FFF0000, 0x7FFF),
        (0x7FFF8000, 0x7FFF),  # the next is 0x8000, which is -32768 in 16 bits
        (0x7FFFFFFF, 0x7FFF),
    ],
)
def test_a_multiplier_is_cut_to_15_bits(multiplier: int, cut: int) -> None:
    assert integer16.reduced(multiplier) == cut


@pytest.mark.parametrize("factor", [0.5, 0.75000006, 0.99996948, 0.99998474, 0.99998480, 0.99999994, 1.0])
def test_a_factor_just_below_a_power_of_two(factor: float) -> None:
    """Its 31 bits are all ones, of which 15 remain; y = x * factor, rounded at bit ``shift``."""
    graph = dense_graph(np.array([[1]]), [factor], None, 1.0, 1.0)
    params = params_of(graph)
    assert 0 <= int(params.multiplier[0]) <= 0x7FFF
    every = np.arange(-32768, 32768).astype(np.int16)[:, None]
    multiplier, one = int(params.multiplier[0]), 1 << int(params.shift[0])
    assert abs(Fraction(multiplier, one) - Fraction(float(np.float32(factor)))) <= Fraction(1, 1 << 15)
    expected = [min(max((2 * x * multiplier + one) // (2 * one), -32768), 32767) for x in every[:, 0].tolist()]
    assert computed(graph, every)[:, 0].tolist() == expected


@needs_tflm
@pytest.mark.parametrize("activation", ["none", "relu", "relu6"])
def test_dense_layers_equal_tflite_micro(activation: str) -> None:
    rng = np.random.default_rng(len(activation))
    for columns, scale in ((1, 0.99999994), (7, 0.5), (40, 1.7)):
        weight = rng.integers(-127, 128, (3, columns))
        bias = None if columns == 7 else [0, 1 << 30, -(1 << 30)]
        factors = [scale * 1e-3, scale * 1e-5, scale * 1e-3]
        graph = dense_graph(weight, factors, bias, 1e-3, 1e-3 if columns == 1 else 4e-3, activation)
        x = rng.integers(-32768, 32768, (40, columns)).astype(np.int16)
        expected = tflm_step(tflite_model.write(graph, METADATA))(x, ())[0]
        np.testing.assert_array_equal(computed(graph, x), expected)


# --- what the kernels take --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(("over", "held"), [(-1, True), (0, False)])
def test_the_accumulator_may_reach_the_last_value_of_48_bits(sign: int, over: int, held: bool) -> None:
    peak = 32768 * (127 + 3)
    bias = sign * ((1 << 47) - peak + over)
    graph = dense_graph(np.array([[127, -3], [9, 0]]), [1.0, 1.0], [bias, 0], 1.0, 1.0)
    if held:
        params_of(graph)
        return
    with pytest.raises(ModelError, match=f"peak {1 << 47}, shift 1") as error:
        params_of(graph)
    assert error.value.hint


@pytest.mark.parametrize(("factor", "held"), [(64.0, True), (127.9, True), (128.0, False)])
def test_a_factor_is_below_128(factor: float, held: bool) -> None:
    graph = dense_graph(np.array([[1], [1]]), [factor, 0.25], None, 1.0, 1.0)
    if held:
        assert params_of(graph).shift.tolist() == [8, 15 + 1]
        return
    with pytest.raises(ModelError, match="shift 8"):
        params_of(graph)


def test_a_layer_without_quantisation_is_refused() -> None:
    graph = dense_graph(np.array([[1]]), [1.0], None, 1.0, 1.0)
    for name in "xwy":
        bare = graph.with_tensors({name: replace(graph.tensors[name], quant=None)})
        with pytest.raises(ModelError, match=f"{name} is not quantised"):
            params_of(bare)
    empty = graph.with_tensors({"w": replace(graph.tensors["w"], data=None)})
    with pytest.raises(ModelError, match="w is not quantised"):
        params_of(empty)


def test_a_zero_point_is_refused() -> None:
    graph = dense_graph(np.array([[1]]), [1.0], None, 1.0, 1.0)
    with pytest.raises(ModelError, match="x is int16 with the zero point 1, not 0"):
        graph.with_tensors({"x": replace(graph.tensors["x"], quant=quant(1, 1))}).quant("x")


# --- numbers to codes -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("activation", "scale", "limits"),
    [
        ("none", 0.1, (-32768, 32767)),
        ("relu", 0.1, (0, 32767)),
        ("relu6", 0.125, (0, 48)),
        ("relu6", 1e-4, (0, 32767)),
        ("relu6", 4.0, (0, 2)),  # 1.5, away from zero
    ],
)
def test_the_limits_of_an_activation(activation: str, scale: float, limits: tuple[int, int]) -> None:
    params = params_of(dense_graph(np.array([[1]]), [1.0], None, 1.0 if scale > 1e-3 else 1e-4, scale, activation))
    assert (params.low, params.high) == limits


def test_values_become_codes_and_saturate() -> None:
    values = np.array([0.25, -0.25, 0.74, 16383.4, 16384.0, -16384.0, -16384.3])
    codes = integer16.quantize_activations(values, quant(0.5, 0))
    assert codes.dtype == np.int16
    assert codes.tolist() == [1, -1, 1, 32767, 32767, -32768, -32768]


@pytest.mark.parametrize(
    ("low", "high", "reach"),
    [(-1.0, 2.0, 2.0), (-3.0, 2.0, 3.0), (0.0, 0.0, 1.0), (0.0, 0.9e-5, 1.0), (0.0, 1e-5, 1e-5), (-1e-5, 0.0, 1e-5)],
)
def test_the_range_of_an_activation_is_symmetric(low: float, high: float, reach: float) -> None:
    found = integer16.symmetric(low, high)
    assert found.zero_point == 0
    assert found.scale.dtype == np.float32
    assert found.scale.tolist() == [np.float32(reach / 32767)]


# --- fixed point ------------------------------------------------------------------------------------------------------

raws = st.integers(-(2**31) + 1, 2**31 - 1)


@settings(deadline=None)
@given(raws, raws)
def test_multiply_high_rounds_ties_upwards(a: int, b: int) -> None:
    exact = Fraction(a * b, 1 << 31)
    assert int(fixed_point.multiply_high(np.array(a), np.array(b))) == math.floor(exact + Fraction(1, 2))


@settings(deadline=None)
@given(raws, st.integers(0, 31))
def test_division_by_a_power_rounds_ties_away(x: int, exponent: int) -> None:
    whole = (2 * abs(x) + (1 << exponent)) // (2 << exponent)
    assert int(fixed_point.divide_by_power(np.array(x), exponent)) == (whole if x >= 0 else -whole)


@pytest.mark.parametrize("exponent", [0, 1, 2, 31])
def test_division_by_a_power_at_its_ties(exponent: int) -> None:
    half = (1 << exponent) >> 1
    found = fixed_point.divide_by_power(np.array([half, -half, half - 1, 1 - half, 0], np.int64), exponent)
    assert found.tolist() == ([0, 0, -1, 1, 0] if exponent == 0 else [1, -1, 0, 0, 0])


# What gemmlowp's header does to one raw value, in whole numbers of Python.


def high(a: int, b: int) -> int:
    product = a * b
    nudged = product + ((1 << 30) if product >= 0 else 1 - (1 << 30))
    return abs(nudged) // (1 << 31) * (1 if nudged >= 0 else -1)  # C truncates


def halved(x: int, times: int) -> int:
    remainder, threshold = x % (1 << times), ((1 << times) - 1) // 2 + (x < 0)
    return x // (1 << times) + (remainder > threshold)


def wider(x: int, times: int) -> int:
    return max(-(2**31), min(2**31 - 1, x * 2**times))


def exp_of(a: int, integer_bits: int) -> int:
    """exp(a): of its last quarter by a polynomial around -1/8, times exp(-2^k) for each other bit."""
    if a == 0:
        return 2**31 - 1
    quarter = 2 ** (31 - integer_bits) // 4
    part = a % quarter - quarter
    x = wider(part, integer_bits) + 2**28
    x2 = high(x, x)
    x3, x4_over_4 = high(x2, x), halved(high(x2, x2), 2)
    third, at_minus_eighth = round(2**31 / 3), round(2**31 * math.exp(-1 / 8))
    result = at_minus_eighth + high(x + halved(high(x4_over_4 + x3, third) + x2, 1), at_minus_eighth)
    rest = (part - a) // quarter  # how many quarters remain
    for power in range(integer_bits + 2):
        if rest >> power & 1:
            result = high(result, round(2**31 * math.exp(-(2.0 ** (power - 2)))))
    return result


def inverse_of(a: int) -> int:
    """2 / (1 + a) with 2 integer bits, from 48/17 - 32/17 d by three steps of Newton and Raphson."""
    d = (a + 2**31 - 1 + 1) // 2
    x = round(2**29 * 48 / 17) + high(d, -round(2**29 * 32 / 17))
    for _ in range(3):
        x += wider(high(x, 2**29 - high(d, x)), 2)
    return x


def tanh_of(a: int) -> int:
    t = wider(inverse_of(exp_of(-abs(a), 5)) - 2**29, 2)
    return 0 if a == 0 else t if a > 0 else -t


def logistic_of(a: int) -> int:
    positive = wider(inverse_of(exp_of(-abs(a), 4)), 1)
    return 2**30 if a == 0 else positive if a > 0 else 2**31 - 1 - positive


def grid(rng: np.random.Generator) -> np.ndarray:
    """Raw values from 0: the limits, both sides of each power of two, and drawn ones of every size."""
    edges = [0, 2**31 - 1, *(2**k + d for k in range(31) for d in (-1, 0, 1))]
    drawn = (2.0 ** rng.uniform(0, 31, 300)).astype(np.int64)
    return np.unique(np.concatenate([edges, np.minimum(drawn, 2**31 - 1), rng.integers(0, 2**31, 300)]))


GRID = grid(np.random.default_rng(16))


@pytest.mark.parametrize("integer_bits", [0, 1, 2, 3, 4, 5])
def test_exp_is_gemmlowps(integer_bits: int) -> None:
    found = fixed_point.exp_on_negative_values(-GRID, integer_bits)
    assert found.tolist() == [exp_of(-a, integer_bits) for a in GRID.tolist()]
    np.testing.assert_allclose(found / 2.0**31, np.exp(-GRID / 2.0 ** (31 - integer_bits)), rtol=0, atol=2.0**-20)


@pytest.mark.parametrize("sign", [1, -1])
def test_tanh_and_logistic_are_gemmlowps(sign: int) -> None:
    raw = sign * GRID
    tanh, logistic = fixed_point.tanh(raw), fixed_point.logistic(raw)
    assert tanh.tolist() == [tanh_of(a) for a in raw.tolist()]
    assert logistic.tolist() == [logistic_of(a) for a in raw.tolist()]
    np.testing.assert_allclose(tanh / 2.0**31, np.tanh(raw / 2.0**27), rtol=0, atol=2.0**-20)
    np.testing.assert_allclose(logistic / 2.0**31, 1 / (1 + np.exp(-raw / 2.0**27)), rtol=0, atol=2.0**-20)


def test_one_over_one_plus_is_gemmlowps() -> None:
    found = fixed_point.one_over_one_plus(GRID)
    assert found.tolist() == [wider(inverse_of(a), 1) for a in GRID.tolist()]
    np.testing.assert_allclose(found / 2.0**31, 1 / (1 + GRID / 2.0**31), rtol=0, atol=2.0**-20)


def test_the_limits_of_the_functions() -> None:
    """What the sources set by hand: exp(0) is the largest value, tanh(0) is 0, and the logistic of 0 is one half."""
    zero = np.array([0], np.int64)
    assert fixed_point.exp_on_negative_values(zero, 5).tolist() == [(1 << 31) - 1]
    assert fixed_point.tanh(zero).tolist() == [0]
    assert fixed_point.logistic(zero).tolist() == [1 << 30]


def test_the_sigmoid_table_is_a_sigmoid() -> None:
    """Each entry is the nearest integer or, in 44 places, one above it."""
    exact = 65536 / (1 + np.exp(-np.arange(256) / 24))
    above = SIGMOID_TABLE - np.rint(exact)
    assert SIGMOID_TABLE.shape == (256,)
    assert set(above.tolist()) <= {0.0, 1.0, -1.0}
    assert np.count_nonzero(above) == 44
