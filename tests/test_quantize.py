"""What quantise promises: shared scales where values are fed back, codes within their widths, refusals that say why."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from graphs import KINDS, Builder, lstm_layer, quantized, quantized16, random_graph, random_seeds, shaped

from edge_tqs.errors import ModelError, UsageError
from edge_tqs.graph.graph import Forecast, Graph, Op, State, Tensor
from edge_tqs.operators.arithmetic import int8 as integer
from edge_tqs.passes import interpret
from edge_tqs.quantization import simulate
from edge_tqs.quantization.calibration import Ranges, calibrate
from edge_tqs.quantization.families import MOVING_KINDS
from edge_tqs.quantization.quantize import SCHEMES, Activations, affine, quantize, with_rounded_weights


def same(graph: Graph, first: str, second: str) -> bool:
    a, b = graph.tensors[first].quant, graph.tensors[second].quant
    return bool(a.scale == b.scale) and a.zero_point == b.zero_point


def dense_net(rng: np.random.Generator, channels: int = 2, activation: str = "none", last: str | None = None) -> Graph:
    """x (1, 3, F) -> reshape -> dense -> y, with a unary operator at the end when ``last`` is given."""
    b = Builder(rng)
    x = b.tensor("x", (1, 3, channels))
    flat = b.op("reshape", (x,), "flat", 3 * channels)
    y = b.dense(flat, b.weight("k", channels, 3 * channels), "d", b.bias("b", channels), activation)
    y = b.unary(last, y, "a") if last else y
    return Graph(
        "net", b.tensors, tuple(b.ops), x, y, (), Forecast(3, channels, "none", tuple(range(channels)))
    ).check()


def headless_lstm(rng: np.random.Generator, units: int = 3) -> Graph:
    """An LSTM whose output is its state h."""
    b = Builder(rng)
    y = lstm_layer(b, "l", b.tensor("x", (1, units)), units)
    forecast = Forecast(4, units, "windowed", tuple(range(units)))
    return Graph("headless", b.tensors, tuple(b.ops), "x", y, tuple(b.states), forecast).check()


def unit_ranges(graph: Graph, span: float = 1.0) -> Ranges:
    return Ranges({name: (-span, span) for name, tensor in graph.tensors.items() if tensor.data is None})


# --- calibration ----------------------------------------------------------------------------------------------------


def test_ranges_are_those_of_the_closed_loop():
    rng = np.random.default_rng(1)
    graph = random_graph(rng, "gru")
    seeds = random_seeds(rng, graph, 5)
    ranges = calibrate(graph, seeds, 12).bounds
    outputs = interpret.float_rollout(graph, seeds, 12).outputs
    low, high = ranges[graph.output]
    assert low <= outputs.min()
    assert high >= outputs.max()
    fed = outputs[:, :-1]  # the last output is never fed back
    assert ranges[graph.input] == pytest.approx((min(seeds.min(), fed.min()), max(seeds.max(), fed.max())))
    assert set(ranges) == {name for name, tensor in graph.tensors.items() if tensor.data is None}


def test_a_diverging_model_is_refused():
    graph = dense_net(np.random.default_rng(0))
    weight = graph.tensors["k"]
    graph = graph.with_tensors({"k": replace(weight, data=weight.data * np.float32(1e6))})
    with pytest.raises(ModelError, match="finite") as error:
        calibrate(graph, np.ones((1, 3, 2), np.float32), 50)
    assert "diverges" in error.value.hint


# --- activations ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(18))
def test_what_is_fed_back_shares_its_quantisation(seed):
    rng = np.random.default_rng(seed)
    graph = quantized(rng, random_graph(rng, KINDS[seed % len(KINDS)]))
    assert same(graph, graph.input, graph.output)
    for state in graph.states:
        assert same(graph, state.input, state.output)
    for op in graph.ops:
        if op.kind in MOVING_KINDS:
            assert all(same(graph, op.inputs[0], name) for name in (*op.inputs, *op.outputs))
        if op.kind in SCHEMES["int8"].fixed_outputs:
            quant = graph.tensors[op.outputs[0]].quant
            assert (float(quant.scale[0]), quant.zero_point) == SCHEMES["int8"].fixed_outputs[op.kind]


@pytest.mark.parametrize("seed", range(9))
def test_codes_lie_within_their_widths(seed):
    rng = np.random.default_rng(100 + seed)
    graph = quantized(rng, random_graph(rng, KINDS[seed % len(KINDS)]))
    kinds = {"int4": 7, "int8": 127}
    for op in graph.ops:
        if op.signature.is_weighted:
            x, weight = graph.tensors[op.inputs[0]], graph.tensors[op.inputs[1]]
            assert weight.data.dtype == np.int8
            assert np.abs(weight.data.astype(int)).max() <= kinds[weight.dtype]
            assert weight.quant.scale.shape == (weight.shape[0],)
            for name in op.inputs[2:]:
                bias = graph.tensors[name]
                assert bias.data.dtype == np.int32
                np.testing.assert_array_equal(bias.quant.scale, x.quant.scale[0] * weight.quant.scale)


def test_what_is_concatenated_is_copied_to_one_scale_where_it_must_be():
    """x belongs to the loop and a tanh to its own scale; a dense output that nothing else reads takes the result's."""
    b = Builder(np.random.default_rng(3))
    x = b.tensor("x", (1, 3))
    bent = b.unary("tanh", x, "bent")
    own = b.dense(x, b.weight("w", 3, 3), "own")
    zeros = b.tensor("zeros", (1, 2), np.zeros((1, 2), np.float32))
    joined = shaped(b, "concat", (x, bent, own, zeros), "joined", (1, 11), axis=1)
    y = b.dense(joined, b.weight("head", 3, 11), "y")
    graph = Graph("join", b.tensors, tuple(b.ops), x, y, (), Forecast(1, 3, "stateful", (0, 1, 2))).check()
    bounds = {"x": (-2.0, 2.0), "bent": (-1.0, 1.0), "own": (-4.0, 7.0), "joined": (-4.0, 7.0), "y": (-2.0, 2.0)}
    result = quantize(graph, {"w": 8, "head": 8}, Ranges(bounds))
    assert [op.kind for op in result.ops].count("quantize") == 2
    concat = next(op for op in result.ops if op.kind == "concat")
    assert concat.inputs[2:] == ("own", "zeros")
    assert all(same(result, name, "joined") for name in concat.inputs)
    zero_point = result.tensors["joined"].quant.zero_point
    assert result.tensors["zeros"].data.tolist() == [[zero_point, zero_point]]


def test_concatenations_within_one_another_are_of_one_scale():
    """Parts of several scales: the ten that are joined first take the scale of all, and so do their copies."""
    b = Builder(np.random.default_rng(3))
    x = b.tensor("x", (1, 3))
    cuts = [b.slice(x, n % 3, 1, f"cut{n}") for n in range(12)]
    parts = [b.unary("tanh", cut, f"bent{n}") if n % 2 else cut for n, cut in enumerate(cuts)]
    inner = shaped(b, "concat", tuple(parts[:10]), "inner", (1, 10), axis=1)
    joined = shaped(b, "concat", (inner, *parts[10:], x), "joined", (1, 15), axis=1)
    y = b.dense(joined, b.weight("head", 3, 15), "y")
    graph = Graph("join", b.tensors, tuple(b.ops), x, y, (), Forecast(1, 3, "stateful", (0, 1, 2))).check()
    bounds = dict.fromkeys(graph.tensors, (-1.0, 1.0)) | {"x": (-2.0, 3.0), "joined": (-2.0, 3.0)}
    result = quantize(graph, {"head": 8}, Ranges(bounds))
    for op in result.ops:
        if op.kind == "concat":
            assert all(same(result, name, "joined") for name in (*op.inputs, *op.outputs)), op


def test_pieces_of_one_tensor_are_joined_as_they_are():
    b = Builder(np.random.default_rng(3))
    x = b.tensor("x", (1, 3))
    parts = [b.slice(x, begin, 1, f"cut{begin}") for begin in (2, 0, 1)]
    joined = shaped(b, "concat", tuple(parts), "joined", (1, 3), axis=1)
    y = b.dense(joined, b.weight("w", 3, 3), "y")
    graph = Graph("join", b.tensors, tuple(b.ops), x, y, (), Forecast(1, 3, "stateful", (0, 1, 2))).check()
    result = quantize(graph, {"w": 8}, Ranges(dict.fromkeys(graph.tensors, (-1.0, 1.0))))
    assert [op.kind for op in result.ops] == [op.kind for op in graph.ops]
    assert same(result, "joined", "x")


def test_tensors_of_a_group_are_quantised_alike():
    b = Builder(np.random.default_rng(3))
    x = b.tensor("x", (1, 3))
    weight = b.weight("w", 3, 3)
    first = b.dense(x, weight, "first")
    y = b.dense(b.dense(first, weight, "second"), b.weight("head", 3, 3), "y")
    tensors = {n: replace(t, group="g" if n in ("first", "second") else "") for n, t in b.tensors.items()}
    graph = Graph("group", tensors, tuple(b.ops), x, y, (), Forecast(1, 3, "stateful", (0, 1, 2))).check()
    bounds = {"x": (-1.0, 1.0), "first": (-1.0, 1.0), "second": (-3.0, 2.0), "y": (-1.0, 1.0)}
    result = quantize(graph, {"w": 8, "head": 8}, Ranges(bounds))
    assert same(result, "first", "second")
    assert float(result.tensors["first"].quant.scale[0]) == pytest.approx(5 / 255)
    assert not any(tensor.group for tensor in result.tensors.values())


def test_an_output_that_is_a_state_is_requantised():
    graph = quantize(headless_lstm(np.random.default_rng(2)), {"l/kernel": 8, "l/recurrent": 4}, unit_ranges_of_lstm())
    assert graph.ops[-1].kind == "quantize"
    assert graph.ops[-1].inputs == (graph.states[0].output,)
    assert graph.output == graph.ops[-1].outputs[0]
    assert not same(graph, graph.output, graph.states[0].output)  # x spans [-2, 2], h [-1, 1]


def unit_ranges_of_lstm() -> Ranges:
    graph = headless_lstm(np.random.default_rng(2))
    return Ranges(dict(unit_ranges(graph).bounds) | {"x": (-2.0, 2.0)})


def test_an_output_of_fixed_scale_is_requantised():
    graph = dense_net(np.random.default_rng(3), last="logistic")
    result = quantize(graph, {"k": 8}, unit_ranges(graph))
    assert [op.kind for op in result.ops] == ["reshape", "fully_connected", "logistic", "quantize"]
    assert same(result, "x", result.output)


def test_a_copy_takes_a_name_that_is_free():
    graph = dense_net(np.random.default_rng(3), last="logistic")
    taken = dict(graph.tensors) | {"a_y": replace(graph.tensors["a"], name="a_y")}
    graph = replace(graph, tensors=taken, states=(State("s", "a_y", "a_y"),))
    assert quantize(graph, {"k": 8}, unit_ranges(graph)).output == "a_y_"


def test_two_states_of_one_output_are_told_apart():
    graph = headless_lstm(np.random.default_rng(2))
    first = graph.states[0]
    twin = replace(graph.tensors[first.input], name="twin")
    graph = replace(
        graph, tensors=dict(graph.tensors) | {"twin": twin}, states=(*graph.states, State("t", "twin", first.output))
    )
    result = quantize(
        graph.check(),
        {"l/kernel": 8, "l/recurrent": 8},
        Ranges(dict(unit_ranges(graph).bounds) | {"twin": (-9.0, 9.0)}),
    )
    assert all(same(result, state.input, state.output) for state in result.states)
    assert result.states[2].output != result.states[0].output


def test_sums_that_only_saturating_operators_read_are_clipped():
    graph = headless_lstm(np.random.default_rng(4))
    result = quantize(graph, {"l/kernel": 8, "l/recurrent": 8}, unit_ranges(graph, 100.0))
    quant = result.tensors["l_z"].quant
    assert float(quant.scale[0]) == pytest.approx(12.5 / 255, rel=0.01)
    op = next(op for op in result.ops if op.kind == "logistic")
    table = simulate.integer_operator(result, op)(np.arange(-128, 128).astype(np.int8))
    assert (table[0], table[-1]) == (-128 + 1, 127)  # 1/512 away from where it ends
    wide = result.tensors["l_zx"].quant  # read by an addition: not clipped
    assert float(wide.scale[0]) == pytest.approx(200 / 255, rel=0.01)


@pytest.mark.parametrize(
    ("low", "high", "zero_point"), [(0.0, 2.0, -128), (-2.0, 0.0, 127), (1.0, 3.0, -128), (-1.0, 3.0, -64)]
)
def test_ranges_are_stretched_to_hold_zero(low, high, zero_point):
    quant = affine(low, high)
    assert quant.zero_point == zero_point
    values = np.array([min(low, 0), 0, max(high, 0)])
    restored = integer.dequantize_activations(integer.quantize_activations(values, quant), quant)
    np.testing.assert_allclose(restored, values, atol=float(quant.scale[0]) * 0.51)
    assert restored[1] == 0


def test_a_range_without_extent_gets_a_usable_scale():
    assert float(affine(0.0, 0.0).scale[0]) == pytest.approx(1 / 255)
    graph = dense_net(np.random.default_rng(5), activation="relu")
    dead = graph.with_tensors({"b": replace(graph.tensors["b"], data=np.full(2, -1e4, np.float32))})
    result = quantize(dead, {"k": 4}, Ranges({"x": (0.0, 0.0), "flat": (0.0, 0.0), "d": (0.0, 0.0)}))
    codes = simulate.integer_rollout(result, np.full((1, 3, 2), -128, np.int8), 3)
    assert (simulate.decode(result, codes.outputs) == 0).all()


def test_a_constant_operand_is_quantised_as_an_activation():
    b = Builder(np.random.default_rng(6))
    x = b.tensor("x", (1, 2))
    c = b.tensor("c", (1, 2), np.array([[0.25, -3.0]], np.float32))
    y = b.op("add", (b.op("mul", (x, c), "m"), c), "y")
    graph = Graph("affine", b.tensors, tuple(b.ops), x, y, (), Forecast(1, 2, "stateful", (0, 1))).check()
    ranges = Ranges({"x": (-4.0, 4.0), "m": (-12.0, 12.0), "y": (-4.0, 4.0)})
    result = quantize(graph, {}, ranges)
    values = np.array([[1.0, -0.5], [2.0, 0.3]], np.float32)
    y_codes, _ = simulate.integer_step(result)(simulate.encode(result, values), ())
    expected = np.clip(values * [0.25, -3.0] + [0.25, -3.0], -4, 4)
    np.testing.assert_allclose(simulate.decode(result, y_codes), expected, atol=0.12)


def test_a_bias_that_two_layers_share_is_scaled_for_each():
    b = Builder(np.random.default_rng(7))
    x = b.tensor("x", (1, 3))
    w, bias = b.weight("w", 3, 3), b.bias("b", 3)
    y = b.dense(b.dense(x, w, "first", bias), w, "second", bias)
    graph = Graph("shared", b.tensors, tuple(b.ops), x, y, (), Forecast(1, 3, "stateful", (0, 1, 2))).check()
    result = quantize(graph, {"w": 8}, Ranges({"x": (-1.0, 1.0), "first": (-5.0, 5.0), "second": (-9.0, 9.0)}))
    assert list(result.weights()) == ["w"]
    assert len(result.weights()["w"]) == 1
    assert len({op.inputs[2] for op in result.ops}) == 2
    for op in result.ops:
        bias_q = result.tensors[op.inputs[2]]
        np.testing.assert_allclose(
            bias_q.data * bias_q.quant.scale, graph.tensors["b"].data, atol=bias_q.quant.scale.max()
        )


@pytest.mark.parametrize("kind", KINDS)
def test_int8_rollouts_stay_near_the_float_ones(kind):
    errors, spreads = [], []
    for seed in range(8):
        rng = np.random.default_rng([9, seed])
        graph = random_graph(rng, kind)
        seeds = random_seeds(rng, graph, 8)
        result = quantize(graph, dict.fromkeys(graph.weights(), 8), calibrate(graph, seeds, 10))
        codes = simulate.integer_rollout(result, simulate.encode(result, seeds), 10).outputs
        exact = interpret.float_rollout(graph, seeds, 10).outputs
        errors.append(float(np.square(simulate.decode(result, codes) - exact).mean()))
        spreads.append(float(np.square(exact).mean()))
    assert np.median(np.sqrt(np.array(errors) / np.array(spreads))) < 0.1


# --- refusals -------------------------------------------------------------------------------------------------------


def test_a_plan_of_another_model_is_refused():
    graph = dense_net(np.random.default_rng(8))
    with pytest.raises(UsageError, match="names other and lacks k") as error:
        quantize(graph, {"other": 8}, unit_ranges(graph))
    assert "k" in error.value.hint


def test_a_width_that_does_not_exist_is_refused():
    graph = dense_net(np.random.default_rng(8))
    with pytest.raises(UsageError, match="k 5 bits"):
        quantize(graph, {"k": 5}, unit_ranges(graph))


def test_ranges_of_another_model_are_refused():
    graph = dense_net(np.random.default_rng(8))
    with pytest.raises(ModelError, match="no range for flat, d"):
        quantize(graph, {"k": 8}, Ranges({"x": (-1.0, 1.0)}))


def test_a_computed_weight_is_refused():
    graph = dense_net(np.random.default_rng(8))
    graph = graph.with_tensors({"k": replace(graph.tensors["k"], data=None)})
    with pytest.raises(ModelError, match="not a constant"):
        quantize(graph, {"k": 8}, unit_ranges(graph))


# --- int16 activations ------------------------------------------------------------------------------------------------


def test_int16_activations_are_symmetric_and_shared_in_the_loop():
    rng = np.random.default_rng(3)
    graph = quantized16(rng, random_graph(rng, "lstm"))
    assert graph.activations == "int16"
    assert {tensor.quant.zero_point for tensor in graph.tensors.values()} == {0}
    for a, b in [(graph.input, graph.output), *((state.input, state.output) for state in graph.states)]:
        np.testing.assert_array_equal(graph.tensors[a].quant.scale, graph.tensors[b].quant.scale)
    assert {graph.tensors[op.inputs[2]].dtype for op in graph.ops if len(op.inputs) == 3} == {"int64"}
    for op in graph.ops:
        if op.kind in ("logistic", "tanh"):
            assert float(graph.tensors[op.outputs[0]].quant.scale[0]) == 1 / 32768


def test_int16_activations_are_nearer_to_float_than_int8():
    """Weights are int8 in both: the rest is what they cost."""
    errors = []
    for number in range(6):
        rng = np.random.default_rng([4, number])
        graph = random_graph(rng)
        widths, ranges = dict.fromkeys(graph.weights(), 8), calibrate(graph, random_seeds(rng, graph, 16), 8)
        seeds = random_seeds(rng, graph, 16)
        exact = interpret.float_rollout(graph, seeds, 2).outputs
        for activations in ("int8", "int16"):
            integer_graph = quantize(graph, widths, ranges, activations=activations)
            codes = simulate.integer_rollout(integer_graph, simulate.encode(integer_graph, seeds), 2).outputs
            errors.append(float(np.abs(simulate.decode(integer_graph, codes) - exact).mean()))
    assert np.median(np.array(errors[0::2]) / np.array(errors[1::2])) > 2


def test_int16_codes_reach_beyond_the_calibrated_range():
    """Values that calibration never saw are kept: int16 has bits to spare for them."""
    graph = dense_net(np.random.default_rng(5))
    ranges = Ranges(dict.fromkeys(graph.tensors, (-1.0, 2.0)))
    values = np.array([-7.5, -3.0, 0.0, 7.5], np.float32)
    cases: tuple[tuple[Activations, np.ndarray], ...] = (("int16", values), ("int8", np.clip(values, -1, 2)))
    for activations, expected in cases:
        quantised = quantize(graph, dict.fromkeys(graph.weights(), 8), ranges, activations=activations)
        restored = simulate.decode(quantised, simulate.encode(quantised, values))
        np.testing.assert_allclose(restored, expected, atol=0.02)


@pytest.mark.parametrize("kind", KINDS)
def test_rounded_weights_are_what_the_codes_stand_for(kind):
    rng = np.random.default_rng(6)
    graph = random_graph(rng, kind)
    widths = dict.fromkeys(graph.weights(), 4)
    quantised = quantize(graph, widths, calibrate(graph, random_seeds(rng, graph, 4), 8))
    rounded = with_rounded_weights(graph, quantised)
    for tensors in graph.weights().values():
        for tensor in tensors:
            step = np.abs(tensor.data).max(axis=tuple(range(1, tensor.data.ndim)), keepdims=True) / 7
            error = np.abs(rounded.tensors[tensor.name].data - tensor.data)
            assert (error <= 0.51 * step).all()
            assert error.max() > 0
    assert rounded.tensors[graph.input] == graph.tensors[graph.input]


def test_elu_and_rsqrt_of_int16_codes_are_curves():
    for kind in ("elu", "rsqrt"):
        tensors = {name: Tensor(name, (1, 2), "float32") for name in ("x", "y")}
        graph = Graph("g", tensors, (Op(kind, ("x",), ("y",)),), "x", "y", (), Forecast(1, 2, "stateful", (0, 1)))
        graph = quantize(graph, {}, Ranges({"x": (0.0, 2.0), "y": (0.0, 2.0)}), activations="int16")
        assert next(op.kind for op in graph.ops) == "curve"


def test_curves_of_a_group_share_their_tables():
    """As the steps of an unrolled layer do, whose ranges differ from step to step."""
    groups = {"x": "", "a": "in", "b": "in", "c": "out", "d": "out", "y": ""}
    tensors = {name: Tensor(name, (1, 2), "float32", group=group) for name, group in groups.items()}
    elu = {"name": "elu", "parameters": (0.5,)}
    ops = (
        Op("leaky_relu", ("x",), ("a",), {"alpha": 0.5}),
        Op("function", ("a",), ("c",), elu),
        Op("leaky_relu", ("c",), ("b",), {"alpha": 0.5}),
        Op("function", ("b",), ("d",), elu),
        Op("add", ("c", "d"), ("y",)),
    )
    graph = Graph("g", tensors, ops, "x", "y", (), Forecast(1, 2, "stateful", (0, 1))).check()
    ranges = {name: (-float(number + 1), 2.0) for number, name in enumerate(groups)}
    graph = quantize(graph, {}, Ranges(ranges), activations="int16")
    assert [op.kind for op in graph.ops].count("curve") == 2
    assert len([name for name in graph.tensors if name.startswith("table/")]) == 3


def test_rollouts_that_run_away_say_nothing_about_ranges():
    """y = 1.3 x from the last sample: a seed of 1e-3 stays small for 8 steps, one of 2 runs to 16."""
    b = Builder(np.random.default_rng(0))
    x = b.tensor("x", (1, 3, 1))
    flat = b.op("reshape", (x,), "flat", 3)
    data = np.array([[0.0, 0.0, 1.3]], np.float32)
    y = b.dense(flat, b.tensor("k", data.shape, data, "k"), "y")
    graph = Graph("growing", b.tensors, tuple(b.ops), x, y, (), Forecast(3, 1, "none", (0,))).check()
    calm = np.full((4, 3, 1), 1e-3, np.float32)
    wild = np.concatenate([calm, np.full((2, 3, 1), 2, np.float32)])
    ranges = calibrate(graph, wild, 8)
    assert ranges.left_out == 2
    assert ranges.bounds == calibrate(graph, calm, 8).bounds
    alone = calibrate(graph, wild[4:], 8)  # where all run away, all count
    assert alone.left_out == 0
    assert alone.bounds["y"][1] == pytest.approx(2 * 1.3**8, rel=1e-5)
