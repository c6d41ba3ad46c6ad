from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from graphs import random_graph, random_seeds

from edge_tqs.errors import ModelError
from edge_tqs.graph.graph import Forecast, Graph, Op, State, Tensor
from edge_tqs.graph.shapes import conv_length
from edge_tqs.passes.interpret import float_rollout, float_step, zero_states
from edge_tqs.read.keras.layers import GraphBuilder, KerasLayer, Weight
from edge_tqs.read.keras.layers.gru import read_gru
from edge_tqs.read.keras.layers.lstm import read_lstm
from edge_tqs.system.tensorflow_rollout import trace_rollout

RNG = np.random.default_rng(3)
RECURRENT = {
    "units": 4,
    "activation": "tanh",
    "recurrent_activation": "sigmoid",
    "go_backwards": False,
    "return_state": False,
    "return_sequences": False,
}


def unary(kind: str, out: tuple[int, ...] = (1, 4), shape: tuple[int, ...] = (1, 4), **attrs: Any) -> Graph:
    """One operator, x to y."""
    tensors = {"x": Tensor("x", shape, "float32"), "y": Tensor("y", out, "float32")}
    forecast = Forecast(1, 4, "stateful", (0, 1, 2, 3))
    return Graph("unary", tensors, (Op(kind, ("x",), ("y",), attrs),), "x", "y", (), forecast).check()


def layer(kind: str, config: dict[str, Any], **weights: np.ndarray) -> KerasLayer:
    named = {name: Weight(f"cell/{name}", data.astype(np.float32)) for name, data in weights.items()}
    return KerasLayer("cell", kind, config, named, last_recurrent=True)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize(
    ("kind", "attrs", "expected"),
    [
        ("logistic", {}, sigmoid),
        ("tanh", {}, np.tanh),
        ("elu", {}, lambda x: np.where(x > 0, x, np.exp(np.minimum(x, 0)) - 1)),
        ("leaky_relu", {"alpha": 0.3}, lambda x: np.where(x > 0, x, 0.3 * x)),
        ("slice", {"axis": 1, "begin": 1, "size": 2}, lambda x: x[:, 1:3]),
        ("reshape", {}, lambda x: x.reshape(-1, 2, 2)),
    ],
)
def test_unary_operators(kind: str, attrs: dict[str, Any], expected: Callable[[np.ndarray], np.ndarray]) -> None:
    out = {"slice": (1, 2), "reshape": (1, 2, 2)}.get(kind, (1, 4))
    x = RNG.normal(0, 3, (5, 4)).astype(np.float32)
    y, states = float_step(unary(kind, out, **attrs))(x, ())
    assert y.dtype == np.float32
    assert states == ()
    np.testing.assert_allclose(y, expected(x.astype(np.float64)), atol=1e-6)


WINDOWED = [
    ("mean", (1, 1, 2), {}, lambda x: x.mean(1, keepdims=True)),
    ("slice", (1, 3, 1), {"axis": 2, "begin": 1, "size": 1}, lambda x: x[:, :, 1:]),
    ("slice", (1, 2, 2), {"axis": 1, "begin": 1, "size": 2}, lambda x: x[:, 1:]),
    ("concat", (1, 6, 2), {"axis": 1}, lambda x: np.concatenate([x, x], 1)),
    ("concat", (1, 3, 4), {"axis": 2}, lambda x: np.concatenate([x, x], 2)),
]


@pytest.mark.parametrize(("kind", "out", "attrs", "expected"), WINDOWED)
def test_operators_over_a_window(
    kind: str, out: tuple[int, ...], attrs: dict[str, int], expected: Callable[[np.ndarray], np.ndarray]
) -> None:
    tensors = {"x": Tensor("x", (1, 3, 2), "float32"), "y": Tensor("y", out, "float32")}
    inputs = ("x", "x") if kind == "concat" else ("x",)
    graph = Graph("one", tensors, (Op(kind, inputs, ("y",), attrs),), "x", "y", (), Forecast(3, 2, "none", (0, 1)))
    x = RNG.normal(size=(5, 3, 2)).astype(np.float32)
    y, _ = float_step(graph.check())(x, ())
    np.testing.assert_allclose(y, expected(x), atol=1e-6)


@pytest.mark.parametrize("kind", ["add", "sub", "mul"])
@pytest.mark.parametrize("first", [True, False])
def test_one_sample_is_repeated_over_the_window(kind: str, first: bool) -> None:
    tensors = {name: Tensor(name, shape, "float32") for name, shape in [("x", (1, 3, 2)), ("m", (1, 1, 2))]}
    tensors["y"] = Tensor("y", (1, 3, 2), "float32")
    ops = (Op("mean", ("x",), ("m",)), Op(kind, ("m", "x") if first else ("x", "m"), ("y",)))
    x = RNG.normal(size=(5, 3, 2)).astype(np.float32)
    y, _ = float_step(Graph("one", tensors, ops, "x", "y", (), Forecast(3, 2, "none", (0, 1))).check())(x, ())
    centre = x.mean(1, keepdims=True)
    function = {"add": np.add, "sub": np.subtract, "mul": np.multiply}[kind]
    np.testing.assert_allclose(y, function(centre, x) if first else function(x, centre), atol=1e-6)


@pytest.mark.parametrize("seed", range(8))
def test_a_convolution_is_the_sum_over_its_taps(seed: int) -> None:
    rng = np.random.default_rng([7, seed])
    taps, stride, dilation, left, right = (int(rng.integers(low, 4)) for low in (1, 1, 1, 0, 0))
    w, b = rng.normal(size=(4, taps, 2)).astype(np.float32), rng.normal(size=4).astype(np.float32)
    x = rng.normal(size=(3, 12, 2)).astype(np.float32)
    attrs = {"stride": stride, "dilation": dilation, "left": left, "right": right, "activation": "relu"}
    length = conv_length(12, taps, attrs)
    expected = np.zeros((3, length, 4))
    for t in range(length):
        for k in range(taps):
            at = t * stride + k * dilation - left
            expected[:, t] += x[:, at].astype(np.float64) @ w[:, k].T if 0 <= at < 12 else 0
    tensors = {"x": Tensor("x", (1, 12, 2), "float32"), "y": Tensor("y", (1, length, 4), "float32")}
    tensors |= {"w": Tensor("w", w.shape, "float32", w), "b": Tensor("b", b.shape, "float32", b)}
    op = Op("conv_1d", ("x", "w", "b"), ("y",), attrs)
    y, _ = float_step(Graph("one", tensors, (op,), "x", "y", (), Forecast(12, 2, "none", (0, 1))).check())(x, ())
    np.testing.assert_allclose(y, np.maximum(expected + b, 0), atol=1e-5)


@pytest.mark.parametrize("seed", range(4))
def test_the_traced_rollout_of_a_convolutional_model_is_the_same(seed: int) -> None:
    rng = np.random.default_rng([11, seed])
    graph = random_graph(rng, "tcn")
    seeds = random_seeds(rng, graph, 3)
    expected = float_rollout(graph, seeds, 5).outputs
    np.testing.assert_allclose(trace_rollout(graph, 5, 3)({}, seeds), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("kind", "inputs", "out", "attrs"),
    [
        ("slice", ("x",), (1, 3, 2), {"axis": 1, "begin": 1, "size": 3}),
        ("slice", ("x",), (1, 3, 2), {"axis": 0, "begin": 0, "size": 1}),
        ("concat", ("x", "y"), (1, 3, 4), {"axis": 1}),
        ("mean", ("x",), (1, 2), {}),
        ("add", ("x", "narrow"), (1, 3, 2), {}),
    ],
)
def test_shapes_that_do_not_fit_are_refused(kind: str, inputs: tuple[str, ...], out: Any, attrs: Any) -> None:
    shapes = {"x": (1, 3, 2), "y": (1, 3, 1), "narrow": (1, 1, 1), "out": out}
    tensors = {name: Tensor(name, shape, "float32") for name, shape in shapes.items()}
    states = tuple(State(name, name, name) for name in ("y", "narrow"))
    forecast = Forecast(3, 2, "none", (0, 1))
    with pytest.raises(ModelError, match="do not give"):
        Graph("one", tensors, (Op(kind, inputs, ("out",), attrs),), "x", "out", states, forecast).check()


def test_logistic_of_huge_values_neither_warns_nor_overflows() -> None:
    y, _ = float_step(unary("logistic"))(np.array([[-1e30, -200, 200, 1e30]], np.float32), ())
    np.testing.assert_array_equal(y, [[0, 0, 1, 1]])


@pytest.mark.parametrize(
    ("activation", "low", "high"), [("none", -np.inf, np.inf), ("relu", 0, np.inf), ("relu6", 0, 6)]
)
def test_fully_connected_with_fused_activation(activation: str, low: float, high: float) -> None:
    builder = GraphBuilder("fc", window=3, channels=2, recurrence="none")
    flat = builder.op("reshape", "flat", ["x"], (1, 6))
    kernel, bias = (
        Weight("kernel", RNG.normal(0, 2, (6, 2)).astype(np.float32)),
        Weight("bias", np.array([1, -1], np.float32)),
    )
    builder.value = builder.fully_connected("y", flat, kernel, bias)
    assert activation == "none" or builder.fuse(activation)
    x = RNG.normal(0, 2, (50, 3, 2)).astype(np.float32)
    y, _ = float_step(builder.finish())(x, ())
    raw = x.reshape(50, 6) @ kernel.data + bias.data
    assert raw.min() < 0
    assert raw.max() > 6
    np.testing.assert_allclose(y, np.clip(raw, low, high), rtol=1e-5, atol=1e-5)


def test_lstm_step_is_the_textbook_formula() -> None:
    wx, wh, b = RNG.normal(size=(4, 16)), RNG.normal(size=(4, 16)), RNG.normal(size=16)
    builder = GraphBuilder("lstm", window=5, channels=4, recurrence="windowed")
    read_lstm(layer("LSTM", RECURRENT, kernel=wx, recurrent_kernel=wh, bias=b), builder)
    graph = builder.finish()
    assert [state.name for state in graph.states] == ["cell_h", "cell_c"]
    x, h, c = (RNG.normal(size=(3, 4)) for _ in range(3))
    i, f, g, o = np.split(x @ wx + h @ wh + b, 4, axis=1)
    c_next = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    h_next = sigmoid(o) * np.tanh(c_next)
    y, states = float_step(graph)(x.astype(np.float32), (h.astype(np.float32), c.astype(np.float32)))
    for found, expected in zip((y, *states), (h_next, h_next, c_next), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("reset_after", [True, False])
def test_gru_step_is_the_textbook_formula(reset_after: bool) -> None:
    wx, wh = RNG.normal(size=(4, 12)), RNG.normal(size=(4, 12))
    b = RNG.normal(size=(2, 12) if reset_after else 12)
    builder = GraphBuilder("gru", window=5, channels=4, recurrence="windowed")
    config = RECURRENT | {"reset_after": reset_after}
    read_gru(layer("GRU", config, kernel=wx, recurrent_kernel=wh, bias=b), builder)
    graph = builder.finish()
    x, h = RNG.normal(size=(3, 4)), RNG.normal(size=(3, 4))
    xz, xr, xh = np.split(x @ wx + (b[0] if reset_after else b), 3, axis=1)
    hz, hr, hh = np.split(h @ wh + (b[1] if reset_after else 0), 3, axis=1)
    z, r = sigmoid(xz + hz), sigmoid(xr + hr)
    candidate = np.tanh(xh + (r * hh if reset_after else (r * h) @ wh[:, 8:]))
    y, states = float_step(graph)(x.astype(np.float32), (h.astype(np.float32),))
    np.testing.assert_allclose(y, z * h + (1 - z) * candidate, atol=1e-5)
    np.testing.assert_array_equal(y, states[0])
    cut = graph.weights()["cell/recurrent_kernel"]
    assert [tensor.shape for tensor in cut] == ([(12, 4)] if reset_after else [(8, 4), (4, 4)])


def test_zero_states_and_rollout_shapes() -> None:
    builder = GraphBuilder("lstm", window=5, channels=4, recurrence="windowed")
    weights = {"kernel": RNG.normal(size=(4, 16)), "recurrent_kernel": RNG.normal(size=(4, 16))}
    read_lstm(layer("LSTM", RECURRENT, **weights), builder)
    graph = builder.finish()
    assert [(state.shape, state.dtype, state.any()) for state in zero_states(graph, 7)] == [
        ((7, 4), np.float32, False)
    ] * 2
    rollout = float_rollout(graph, RNG.normal(size=(7, 5, 4)), 3)
    assert (rollout.source, rollout.outputs.shape, rollout.outputs.dtype) == ("float", (7, 3, 4), np.float32)


def test_integer_operators_and_tensors_are_refused() -> None:
    with pytest.raises(ModelError, match="quantize has no meaning"):
        float_step(unary("quantize"))
    graph = unary("tanh")
    with pytest.raises(ModelError, match="tensor y is int8"):
        float_step(graph.with_tensors({"y": Tensor("y", (1, 4), "int8")}))
