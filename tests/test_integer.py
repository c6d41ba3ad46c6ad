"""The arithmetic against whole numbers in Python, and each operator against tflite-micro itself."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from graphs import METADATA, needs_tflm, quant, single_op
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_tqs.errors import ModelError
from edge_tqs.flatbuffer import model as tflite_model
from edge_tqs.graph.graph import Forecast, Graph, Op, Quant, Tensor
from edge_tqs.operators import add, mul
from edge_tqs.operators.arithmetic import fixed_point
from edge_tqs.operators.arithmetic import int8 as integer
from edge_tqs.quantization.quantize import SCHEMES
from edge_tqs.quantization.runtimes import tflm_step
from edge_tqs.quantization.simulate import integer_operator

CODES = np.arange(-128, 128).astype(np.int8)
int32s = st.integers(-(2**31), 2**31 - 1)
zero_points = st.integers(-128, 127)


def in_tflm(graph: Graph, *inputs: np.ndarray) -> np.ndarray:
    """y of a graph of one operator for inputs (size,)."""
    step = tflm_step(tflite_model.write(graph, METADATA))
    return step(inputs[0][None], tuple(value[None] for value in inputs[1:]))[0][0]


# --- rescaling ------------------------------------------------------------------------------------------------------


def divide_away(numerator: int, denominator: int) -> int:
    """numerator / denominator to the nearest, ties away from zero, in whole numbers."""
    quotient = (2 * abs(numerator) + denominator) // (2 * denominator)
    return quotient if numerator >= 0 else -quotient


def reference(x: int, multiplier: int, shift: int) -> int:
    """gemmlowp: SaturatingRoundingDoublingHighMul as its C source has it, then RoundingDivideByPOT."""
    product = x * 2 ** max(shift, 0) * multiplier
    nudged = product + (1 << 30 if product >= 0 else 1 - (1 << 30))
    high = abs(nudged) // (1 << 31) * (1 if nudged >= 0 else -1)  # C truncates
    return divide_away(high, 2 ** max(-shift, 0))


@settings(deadline=None)
@given(st.floats(1e-12, 1e6))
def test_quantize_multiplier_is_within_half_a_unit(real):
    multiplier, shift = integer.quantize_multiplier(real)
    if multiplier == 0:
        assert real < 2.0**-32
    else:
        assert 2**30 <= multiplier < 2**31
        assert abs(Fraction(multiplier) * Fraction(2) ** (shift - 31) - Fraction(real)) <= Fraction(2) ** (shift - 32)


def test_quantize_multiplier_at_its_edges():
    assert integer.quantize_multiplier(0.0) == (0, 0)
    assert integer.quantize_multiplier(0.5) == (1 << 30, 0)
    assert integer.quantize_multiplier(1.0) == (1 << 30, 1)
    assert integer.quantize_multiplier(math.nextafter(1.0, 0.0)) == (1 << 30, 1)  # rounds up to 2^31
    assert isinstance(integer.quantize_multiplier(math.nextafter(1.0, 0.0))[0], int)
    assert integer.quantize_multiplier(2.0**-32) == (1 << 30, -31)
    assert integer.quantize_multiplier(math.nextafter(2.0**-32, 0.0)) == (1 << 30, -31)  # rounds up to 2^-32
    assert integer.quantize_multiplier(1.9 * 2.0**-33) == (0, 0)
    assert integer.quantize_multiplier(2.0**-40) == (0, 0)


@settings(deadline=None)
@given(st.lists(int32s, min_size=1, max_size=20), st.integers(2**30, 2**31 - 1), st.integers(-31, 0))
def test_double_rounding_equals_gemmlowp(values, multiplier, shift):
    got = integer.multiply_by_quantized_multiplier(np.array(values, np.int64), multiplier, shift)
    assert got.tolist() == [reference(value, multiplier, shift) for value in values]


@settings(deadline=None)
@given(
    st.lists(st.integers(-(2**20), 2**20), min_size=3, max_size=3),
    st.lists(st.integers(-20, 10), min_size=3, max_size=3),
)
def test_rescaling_takes_one_multiplier_a_channel(values, shifts):
    multipliers = np.array([2**30, 1_500_000_001, 2**31 - 1], np.int32)
    got = integer.multiply_by_quantized_multiplier(np.array([values]), multipliers, np.array(shifts, np.int32))
    expected = [reference(*row) for row in zip(values, multipliers.tolist(), shifts, strict=True)]
    assert got.tolist() == [expected]


def test_double_rounding_is_not_single_rounding():
    # 0.4999 * 2^1 rounds to 1 first, then 0.5 goes away from zero
    assert integer.multiply_by_quantized_multiplier(np.array([1]), 2**30, -1).tolist() == [1]
    assert integer.multiply_by_quantized_multiplier(np.array([-1, -3]), 2**30, -1).tolist() == [0, -1]


@settings(deadline=None)
@given(st.floats(-1e6, 1e6))
def test_round_away_is_exact(x):
    fraction = Fraction(x)
    assert integer.round_away(np.array([x]))[0] == divide_away(fraction.numerator, fraction.denominator)


def test_round_away_just_below_a_half():
    assert integer.round_away(np.array([0.49999999999999994, -0.5, 0.5, 2.5])).tolist() == [0, -1, 1, 3]
    assert integer.round_away(np.array([0.49999997], np.float32)).tolist() == [0]


# --- operators against tflite-micro ---------------------------------------------------------------------------------


@needs_tflm
@pytest.mark.parametrize("kind", ["logistic", "tanh", "elu", "leaky_relu", "quantize"])
def test_tables_equal_tflite_micro(kind):
    rng = np.random.default_rng(3)
    for _ in range(60):
        scale = math.exp(rng.uniform(-9, -1))
        output = quant(scale * math.exp(rng.uniform(-2, 2)), int(rng.integers(-128, 128)))
        if kind in SCHEMES["int8"].fixed_outputs:
            output = quant(*SCHEMES["int8"].fixed_outputs[kind])
        attrs: dict[str, Any] = {"alpha": float(rng.uniform(0, 0.5))} if kind == "leaky_relu" else {}
        graph = single_op(kind, (quant(scale, int(rng.integers(-128, 128))),), output, **attrs)
        np.testing.assert_array_equal(integer_operator(graph, graph.ops[0])(CODES), in_tflm(graph, CODES))


@needs_tflm
@pytest.mark.parametrize(
    ("kind", "scale", "zero_point", "code"),
    [
        ("logistic", 0.0021970742382109165, 100, -18),
        ("tanh", 0.003906261641532183, 21, 20),
        ("logistic", 0.018344035372138023, -52, -67),
    ],
)
def test_saturating_tables_are_gemmlowps_not_the_float_functions(kind, scale, zero_point, code):
    graph = single_op(kind, (quant(scale, zero_point),), quant(*SCHEMES["int8"].fixed_outputs[kind]))
    real = np.float64(np.float32(scale)) * (code - zero_point)
    exact = 256 / (1 + math.exp(-real)) - 128 if kind == "logistic" else 128 * math.tanh(real)
    table = integer_operator(graph, graph.ops[0])(CODES)
    assert table[code + 128] != integer.round_away(np.array([exact]))[0]  # a tie but for 1e-6
    np.testing.assert_array_equal(table, in_tflm(graph, CODES))


@needs_tflm
@pytest.mark.parametrize("kind", ["elu", "leaky_relu"])
def test_tables_round_near_ties_as_tflite_micro(kind):
    rng = np.random.default_rng(4)
    for _ in range(200):
        scale, zero_point, alpha = math.exp(rng.uniform(-6, -1)), int(rng.integers(-128, 128)), rng.uniform(0.01, 0.9)
        steps = int(rng.integers(1, 100)) * float(np.float32(scale))
        tie = (-math.expm1(-steps) if rng.integers(2) else steps) if kind == "elu" else steps * float(np.float32(alpha))
        output = quant(tie / (int(rng.integers(0, 100)) + 0.5), int(rng.integers(-128, 0)))
        attrs: dict[str, Any] = {"alpha": float(alpha)} if kind == "leaky_relu" else {}
        graph = single_op(kind, (quant(scale, zero_point),), output, **attrs)
        np.testing.assert_array_equal(integer_operator(graph, graph.ops[0])(CODES), in_tflm(graph, CODES))


@needs_tflm
@pytest.mark.parametrize("kind", ["add", "sub", "mul"])
def test_pairs_equal_tflite_micro(kind):
    a, b = np.repeat(CODES, 256), np.tile(CODES, 256)
    rng = np.random.default_rng(5)
    for _ in range(20):
        first, second = (math.exp(value) for value in rng.uniform(-8, 0, 2))
        out = (
            first * second * math.exp(rng.uniform(-3, 6))
            if kind == "mul"
            else max(first, second) * math.exp(rng.uniform(-3, 3))
        )
        za, zb, zo = (int(value) for value in rng.integers(-128, 128, 3))
        graph = single_op(kind, (quant(first, za), quant(second, zb)), quant(out, zo), size=a.size)
        op = graph.ops[0]
        got = mul.mul(mul.params(graph, op), a, b) if kind == "mul" else add.add(add.params(graph, op), a, b)
        np.testing.assert_array_equal(got, in_tflm(graph, a, b))


def dense_graph(
    weight: np.ndarray, scale: np.ndarray, bias: np.ndarray | None, x: Quant, y: Quant, **chosen: Any
) -> Graph:
    tensors = {
        "x": Tensor("x", (1, weight.shape[1]), "int8", None, x),
        "w": Tensor("w", weight.shape, chosen.get("dtype", "int8"), weight, Quant(scale.astype(np.float32))),
        "y": Tensor("y", (1, weight.shape[0]), "int8", None, y),
    }
    inputs: tuple[str, ...] = ("x", "w")
    if bias is not None:
        tensors["b"] = Tensor("b", bias.shape, "int32", bias, Quant((x.scale[0] * scale).astype(np.float32)))
        inputs = ("x", "w", "b")
    op = Op("fully_connected", inputs, ("y",), {"activation": chosen.get("activation", "none")})
    return Graph("dense", tensors, (op,), "x", "y", (), Forecast(1, weight.shape[1], "stateful", (0,))).check()


@needs_tflm
@pytest.mark.parametrize("dtype", ["int8", "int4"])
@pytest.mark.parametrize("activation", ["none", "relu", "relu6"])
@pytest.mark.parametrize("rows", [1, 9])
def test_dense_layers_equal_tflite_micro(dtype, activation, rows):
    rng = np.random.default_rng([rows, len(dtype), len(activation)])
    limit = 127 if dtype == "int8" else 7
    for columns in (1, 7, 64):
        weight = rng.integers(-limit, limit + 1, (rows, columns)).astype(np.int8)
        scale, bias = np.exp(rng.uniform(-8, -3, rows)), rng.integers(-2000, 2000, rows).astype(np.int32)
        x = quant(math.exp(rng.uniform(-5, 0)), int(rng.integers(-128, 128)))
        y = quant(float(x.scale[0] * scale.max() * limit * math.sqrt(columns)), int(rng.integers(-128, 0)))
        graph = dense_graph(weight, scale, None if columns == 7 else bias, x, y, dtype=dtype, activation=activation)
        params = integer.fully_connected_params(graph, graph.ops[0])
        assert params.multiplier.dtype == params.shift.dtype == np.int32
        codes = rng.integers(-128, 128, (50, columns)).astype(np.int8)
        expected = tflm_step(tflite_model.write(graph, METADATA))(codes, ())[0]
        got = integer.fully_connected(params, codes, weight, None if columns == 7 else bias)
        np.testing.assert_array_equal(got, expected)


# --- what cannot be held --------------------------------------------------------------------------------------------


def test_an_accumulator_that_could_overflow_is_refused():
    weight = np.full((1, 4), 127, np.int8)
    graph = dense_graph(weight, np.array([1.0]), None, quant(1, 0), quant(1e-9, 0))
    with pytest.raises(ModelError, match="accumulator can overflow") as error:
        integer.fully_connected_params(graph, graph.ops[0])
    assert error.value.hint


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(("over", "held"), [(-1, True), (0, False)])
def test_the_accumulator_may_reach_the_last_value_of_32_bits(sign: int, over: int, held: bool) -> None:
    """Of a zero point of -128, the code 127 is 255: sum |w| 255 + |b| may be 2^31 - 1 and no more."""
    weight = np.array([[2, 0, -1], [0, 0, 0]], np.int8)
    bias = np.array([sign * ((1 << 31) - 3 * 255 + over), 0], np.int32)
    graph = dense_graph(weight, np.array([0.5, 0.5]), bias, quant(1, -128), quant(1, 0))
    if held:
        assert integer.fully_connected_params(graph, graph.ops[0]).shift.tolist() == [0, 0]
        return
    with pytest.raises(ModelError, match=re.escape(f"x -> y: the 32-bit accumulator can overflow (peak {1 << 31}, ")):
        integer.fully_connected_params(graph, graph.ops[0])


@pytest.mark.parametrize("peak", [(1 << 31) - 1, 1 << 30, 5, 1])
@pytest.mark.parametrize("shift", [-31, -1, 0, 1, 28, 30, 31, 40])
def test_headroom_ends_below_32_bits(peak: int, shift: int) -> None:
    graph = single_op("tanh", (quant(0.1, 0),), quant(1 / 128, 0))
    if peak * 2 ** max(shift, 0) <= 2**31 - 1:
        integer.check_headroom(graph, "it", peak, shift)
        return
    with pytest.raises(ModelError, match=rf"it can overflow \(peak {peak}, left shift {shift}\)") as error:
        integer.check_headroom(graph, "it", peak, shift)
    assert "--data" in error.value.hint


@needs_tflm
@pytest.mark.parametrize("dtype", ["int8", "int4"])
@pytest.mark.parametrize("dead", [0, 1])
def test_a_dead_row_beside_one_of_large_weights_is_held(dtype: str, dead: int) -> None:
    """A dead row has a fine scale and so a large bias, to the right; the other has small sums, which go to the left."""
    weight = np.array([[7, 0, -7], [0, 1, 0]], np.int8)[:: 1 - 2 * (1 - dead)]
    scale = np.array([20.0 / 7, 1e-9])[:: 1 - 2 * (1 - dead)]
    bias = np.array([3, (1 << 30) - 1], np.int32)[:: 1 - 2 * (1 - dead)]
    graph = dense_graph(weight, scale, bias, quant(0.05, 3), quant(0.05, -100), dtype=dtype)
    params = integer.fully_connected_params(graph, graph.ops[0])
    assert max(params.shift) == 2
    codes = np.random.default_rng(dead).integers(-128, 128, (200, 3)).astype(np.int8)
    expected = tflm_step(tflite_model.write(graph, METADATA))(codes, ())[0]
    assert expected[:, dead].tolist() == [-99] * 200  # 0.05, its bias
    np.testing.assert_array_equal(integer.fully_connected(params, codes, weight, bias), expected)
    both = graph.with_tensors({"b": replace(graph.tensors["b"], data=bias[::-1].copy())})
    with pytest.raises(ModelError, match="left shift 2"):
        integer.fully_connected_params(both, both.ops[0])


def test_a_layer_without_quantisation_is_refused() -> None:
    graph = dense_graph(np.ones((1, 1), np.int8), np.array([1.0]), None, quant(1, 0), quant(1, 0))
    for name in "xwy":
        bare = graph.with_tensors({name: replace(graph.tensors[name], quant=None)})
        with pytest.raises(ModelError, match=f"{name} is not quantised"):
            integer.fully_connected_params(bare, bare.ops[0])
    empty = graph.with_tensors({"w": replace(graph.tensors["w"], data=None)})
    with pytest.raises(ModelError, match="w is not quantised"):
        integer.fully_connected_params(empty, empty.ops[0])


def test_an_addition_to_too_small_a_scale_is_refused():
    graph = single_op("add", (quant(1, 0), quant(1, 0)), quant(1e-7, 0))
    with pytest.raises(ModelError, match="too small"):
        add.params(graph, graph.ops[0])


def test_a_logistic_of_another_output_scale_is_refused():
    graph = single_op("logistic", (quant(0.1, 0),), quant(1 / 128, -128))
    with pytest.raises(ModelError, match="logistic must have"):
        integer_operator(graph, graph.ops[0])(CODES)


def test_a_negative_slope_is_refused():
    graph = single_op("leaky_relu", (quant(0.1, 0),), quant(0.1, 0), alpha=-0.5)
    with pytest.raises(ModelError, match="negative slope"):
        integer_operator(graph, graph.ops[0])(CODES)


# --- codes ----------------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.lists(st.integers(-8, 7), min_size=1, max_size=33))
def test_packing_int4_is_undone_by_unpacking(codes):
    packed = integer.pack_int4(np.array(codes, np.int8))
    assert packed.size == (len(codes) + 1) // 2
    assert integer.unpack_int4(packed, len(codes)).tolist() == codes


def test_the_first_code_is_in_the_low_nibble():
    assert integer.pack_int4(np.array([1, -2, 7], np.int8)).tolist() == [0xE1, 0x07]
    assert integer.pack_int4(np.array([[1, -2, 7], [3, 4, 5]], np.int8)).tolist() == [0xE1, 0x37, 0x54]
    unpacked = integer.unpack_int4(np.array([0xE1, 0x07], np.uint8), 3)
    assert (unpacked.dtype, unpacked.tolist()) == (np.int8, [1, -2, 7])


@settings(deadline=None)
@given(st.integers(1, 6), st.integers(1, 9), st.sampled_from([4, 8]), st.integers(0, 2**32 - 1))
def test_weights_come_back_within_half_a_step(rows, columns, width, seed):
    rng = np.random.default_rng(seed)
    weight = (rng.normal(size=(rows, columns)) * 10.0 ** rng.integers(-3, 3, (rows, 1))).astype(np.float32)
    weight[rng.random(rows) < 0.2] = 0
    codes, scale = integer.quantize_weight(weight, width)
    assert scale.dtype == np.float32
    assert (scale > 0).all()
    assert np.abs(codes.astype(int)).max() <= integer.WEIGHT_LIMIT[width]
    assert (np.abs(codes * scale[:, None].astype(np.float64) - weight) <= scale[:, None] * 0.5001).all()


def test_a_row_of_zeros_takes_the_scale_of_the_others():
    _, scale = integer.quantize_weight(np.array([[0, 0], [1, -2]], np.float32), 8)
    assert scale[0] == scale[1] == np.float32(2 / 127)
    _, scale = integer.quantize_weight(np.zeros((2, 2), np.float32), 4)
    assert (scale == np.float32(1 / 7)).all()


def test_weights_of_several_taps_keep_their_shape():
    codes, scale = integer.quantize_weight(np.arange(-6, 6, dtype=np.float32).reshape(2, 3, 2), 8)
    assert (codes.dtype, codes.shape, scale.tolist()) == (
        np.int8,
        (2, 3, 2),
        [np.float32(6 / 127), np.float32(5 / 127)],
    )
    assert codes.reshape(-1).tolist() == [-127, -106, -85, -64, -42, -21, 0, 25, 51, 76, 102, 127]


def test_a_scale_counts_as_none_below_the_least_normal_number_and_not_at_it():
    tiny, zeros = np.finfo(np.float32).tiny, np.zeros((2, 2), np.float32)
    assert integer.quantize_weight(zeros, 8, np.array([tiny, 1.0]))[1].tolist() == [tiny, 1.0]
    assert integer.quantize_weight(zeros, 8, np.array([tiny, 0.0]))[1].tolist() == [tiny, tiny]
    assert integer.quantize_weight(zeros, 8, np.array([tiny / 2, 0.0]))[1].tolist() == [np.float32(1 / 127)] * 2


@settings(deadline=None)
@given(st.floats(1e-6, 1e3), st.floats(1e-6, 1.0), st.floats(1e-9, 1.0))
def test_a_large_bias_of_small_weights_still_fits(bias, input_scale, weight):
    biases = np.array([bias, -bias], np.float32)
    weights = np.array([[weight], [weight]], np.float32)
    codes, scale = integer.quantize_weight(weights, 8, integer.least_weight_scale(biases, input_scale))
    bias_scale = (np.float32(input_scale) * scale).astype(np.float32)
    restored = integer.quantize_bias(biases, bias_scale) * bias_scale.astype(np.float64)
    np.testing.assert_allclose(restored, biases, rtol=1e-5, atol=float(bias_scale[0]))
    assert np.abs(codes * scale[:, None] - weights).max() <= scale[0] * 0.5001


@settings(deadline=None)
@given(st.floats(1e-4, 10), zero_points, st.lists(st.integers(-128, 127), min_size=1))
def test_codes_of_activations_come_back(scale, zero_point, codes):
    q, given_codes = quant(scale, zero_point), np.array(codes, np.int8)
    values = integer.dequantize_activations(given_codes, q)
    assert values.dtype == np.float32
    np.testing.assert_array_equal(integer.quantize_activations(values, q), given_codes)


def test_codes_of_16_bits_have_values_too() -> None:
    values = integer.dequantize_activations(np.array([-32768, 32767], np.int16), quant(0.5, 1))
    assert values.tolist() == [-16384.5, 16383.0]


@pytest.mark.parametrize("width", [8, 4])
def test_what_a_clip_cuts_off_takes_the_largest_code(width: int) -> None:
    limit = integer.WEIGHT_LIMIT[width]
    codes, scale = integer.quantize_weight(np.array([[1, -2], [0.5, 0.2]], np.float32), width, clip=0.5)
    assert scale.tolist() == [np.float32(1) / np.float32(limit), np.float32(0.25) / np.float32(limit)]
    assert codes[:, 0].tolist() == [limit, limit]
    assert codes[0, 1] == -limit


def test_the_least_scale_is_where_the_bias_just_fits() -> None:
    biases = np.array([1.0, -3.0, 0.0])
    least = integer.least_weight_scale(biases, 0.25)
    np.testing.assert_allclose(least, np.abs(biases) / 0.25 / ((1 << 30) - 1) * 1.000001, rtol=1e-14)
    codes = integer.quantize_bias(biases, (0.25 * least + np.array([0, 0, 1])).astype(np.float32))
    assert np.abs(codes).max() < 1 << 30
    assert np.abs(codes)[:2].min() > (1 << 30) - 2000


def test_a_bias_is_clipped_and_rounded_away() -> None:
    found = integer.quantize_bias(np.array([1e9, -1e9, 0.25, -0.25]), np.full(4, 0.5, np.float32))
    assert found.tolist() == [1 << 30, -(1 << 30), 1, -1]
    assert found.dtype == np.int32


@pytest.mark.parametrize(
    ("activation", "scale", "zero_point", "limits"),
    [
        ("none", 0.1, 5, (-128, 127)),
        ("relu", 0.1, 5, (5, 127)),
        ("relu6", 0.1, 5, (5, 65)),
        ("relu6", 0.01, 5, (5, 127)),
        ("relu6", 4.0, -128, (-128, -126)),  # 1.5, away from zero
    ],
)
def test_the_limits_of_an_activation(activation: str, scale: float, zero_point: int, limits: tuple[int, int]) -> None:
    assert integer.activation_limits(activation, quant(scale, zero_point)) == limits


def test_values_out_of_range_saturate():
    codes = integer.quantize_activations(np.array([1e9, -1e9]), quant(0.1, 5))
    assert codes.dtype == np.int8
    assert codes.tolist() == [127, -128]


def test_a_product_with_a_power_saturates_at_both_ends():
    found = fixed_point._multiply_by_power(np.array([-(1 << 30) - 1, -(1 << 30), 1 << 30, (1 << 30) - 1]), 1)
    assert found.tolist() == [-(1 << 31), -(1 << 31), (1 << 31) - 1, (1 << 31) - 2]


def test_without_a_bias_the_accumulator_may_reach_255_of_256_parts():
    weight = np.array([[1]], np.int8)
    graph = dense_graph(weight, np.array([0.75]), None, quant(1.0, 0), quant(2.0**-23, 0))
    params = integer.fully_connected_params(graph, graph.ops[0])
    assert params.shift.tolist() == [23]
