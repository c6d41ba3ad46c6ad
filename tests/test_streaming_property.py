"""Any causal graph, streamed: the windowed form's numbers, whatever its layers and its way of rolling out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from graphs import METADATA, Builder, dense_layer, shaped
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_tqs.boards.board import load_board
from edge_tqs.boards.emulator.emulator import start_server
from edge_tqs.boards.firmware import assemble, compile_firmware
from edge_tqs.device.device import Device, open_port
from edge_tqs.device.rollout import run_rollout
from edge_tqs.emit_c.emit import emit
from edge_tqs.errors import ModelError
from edge_tqs.flatbuffer import model as tflite_model
from edge_tqs.graph.graph import Array, Forecast, Graph, Op
from edge_tqs.graph.shapes import conv_length
from edge_tqs.passes.interpret import float_rollout
from edge_tqs.passes.streaming import stream
from edge_tqs.quantization import simulate
from edge_tqs.quantization.calibration import Ranges, calibrate
from edge_tqs.quantization.quantize import Activations, quantize

#: Of closed loops that feed themselves; bounded heads keep them from growing.
HORIZON = 10


def convolution(b: Builder, x: str, name: str, rows: int, taps: int, dilation: int, *, padded: bool = True) -> str:
    """A causal conv_1d, or a depthwise_1d where ``rows`` is 0, or one that is not padded and so shorter."""
    _, length, channels = b.tensors[x].shape
    kind, shape = ("conv_1d", (rows, taps, channels)) if rows else ("depthwise_1d", (channels, taps))
    data = (b.rng.normal(size=shape) / np.sqrt(data_size(shape))).astype(np.float32)
    kernel = b.tensor(f"{name}/kernel", shape, data, f"{name}/kernel")
    attrs = {"stride": 1, "dilation": dilation, "left": dilation * (taps - 1) if padded else 0, "right": 0}
    out = b.tensor(f"{name}_y", (1, conv_length(length, taps, attrs), shape[0]))
    inputs = (x, kernel, b.bias(f"{name}/bias", shape[0]))
    b.ops.append(Op(kind, inputs, (out,), {**attrs, "activation": str(b.rng.choice(("none", "relu")))}))
    return out


def normalisation(b: Builder, x: str, name: str) -> str:
    """A LayerNormalization over the channels: turned, (x - mean) / sqrt(variance + 0.1), and turned back."""
    _, length, channels = shape = b.tensors[x].shape
    turned, single = (1, channels, length), (1, 1, length)
    x = shaped(b, "transpose", (x,), f"{name}_turned", turned)
    mean = shaped(b, "mean", (x,), f"{name}_mean", single)
    difference = shaped(b, "sub", (x, mean), f"{name}_difference", turned)
    squares = shaped(b, "mul", (difference, difference), f"{name}_squares", turned)
    variance = shaped(b, "mean", (squares,), f"{name}_variance", single)
    epsilon = b.tensor(f"{name}_epsilon", single, np.full(single, 0.1, np.float32))
    under_root = shaped(b, "add", (variance, epsilon), f"{name}_under_root", single)
    inverse = shaped(b, "rsqrt", (under_root,), f"{name}_inverse", single)
    unit = shaped(b, "mul", (difference, inverse), f"{name}_unit", turned)
    return shaped(b, "transpose", (unit,), f"{name}_y", shape)


def data_size(shape: tuple[int, ...]) -> int:
    return int(np.prod(shape[1:]))


@st.composite
def causal_graphs(draw: st.DrawFn) -> tuple[Graph, int]:
    """(a windowed graph, its receptive field): one path of convolutions, each with or without a skip beside it."""
    b = Builder(np.random.default_rng(draw(st.integers(0, 2**32 - 1))))
    channels, steps = draw(st.integers(1, 3)), draw(st.sampled_from((1, 1, 3)))
    layers = draw(
        st.lists(
            st.tuples(
                st.integers(0, 4),  # filters, 0 for a depthwise convolution
                st.sampled_from((1, 2, 3, 12)),  # taps; 12 are more than one concat takes
                st.integers(1, 4),  # dilation
                st.sampled_from(("", "add", "mul", "gate", "concat", "slice", "bent", "norm")),
            ),
            min_size=1,
            max_size=3,
        )
    )
    field = 1 + sum(dilation * (taps - 1) for _, taps, dilation, _ in layers)
    window = field + draw(st.integers(0, 5))
    padded = draw(st.booleans())
    y = b.tensor("x", (1, window, channels))
    for index, (rows, taps, dilation, then) in enumerate(layers):
        name, x = f"c{index}", y
        y = convolution(b, x, name, rows, taps, dilation, padded=padded)
        shape = b.tensors[y].shape
        if then in ("add", "mul", "gate") and padded:
            # A gate has taps of its own, but none that reach further.
            other = convolution(b, x, f"{name}_skip", shape[2], taps if then == "gate" else 1, 1)
            other = other if then == "add" else shaped(b, "logistic", (other,), f"{name}_s", shape)
            y = shaped(b, "add" if then == "add" else "mul", (y, other), f"{name}_joined", shape)
        elif then == "concat" and padded:
            wider = (*shape[:2], shape[2] + b.width(x))
            y = shaped(b, "concat", (y, x), f"{name}_joined", wider, axis=2)
        elif then == "slice" and shape[2] > 1:
            y = shaped(b, "slice", (y,), f"{name}_some", (*shape[:2], 1), axis=2, begin=1, size=1)
        elif then == "bent":
            y = shaped(b, "tanh", (y,), f"{name}_a", shape)
        elif then == "norm" and shape[1] > 1 and shape[2] > 1:
            y = normalisation(b, y, f"{name}_norm")
    _, length, rows = b.tensors[y].shape
    if length > 1:
        y = shaped(b, "slice", (y,), "last", (1, 1, rows), axis=1, begin=length - 1, size=1)
    y = shaped(b, "reshape", (y,), "flat", (1, rows))
    known = draw(st.integers(0, channels - 1))
    outputs = channels - known
    y = dense_layer(b, "head", y, steps * outputs, "tanh")
    feedback = (*range(outputs), *[None] * known)
    forecast = Forecast(window, channels, "none", feedback, steps=steps, outputs=outputs)
    return Graph("causal", b.tensors, tuple(b.ops), "x", y, (), forecast).check(), field


def seeds_of(graph: Graph, count: int) -> Array:
    forecast = graph.forecast
    shape = (count, forecast.seed_length(HORIZON), forecast.channels)
    return np.random.default_rng(4).normal(size=shape).astype(np.float32)


def ranges_of(one: Graph, other: Graph) -> Ranges:
    """Ranges for both: of a tensor that both have, what holds either's."""
    bounds = dict(calibrate(one, seeds_of(one, 4), HORIZON).bounds)
    for name, (low, high) in calibrate(other, seeds_of(other, 4), HORIZON).bounds.items():
        least, most = bounds.get(name, (low, high))
        bounds[name] = min(low, least), max(high, most)
    return Ranges(bounds)


def alternating(graph: Graph) -> dict[str, int]:
    return {source: 4 if index % 2 else 8 for index, source in enumerate(graph.weights())}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(drawn=causal_graphs(), activations=st.sampled_from(("int8", "int16")))
def test_a_streamed_graph_computes_what_the_window_does(drawn: tuple[Graph, int], activations: Activations) -> None:
    windowed, field = drawn
    if field == 1:
        with pytest.raises(ModelError, match="the last sample alone"):
            stream(windowed)
        return
    made = stream(windowed)
    assert made.receptive_field == field
    assert list(made.graph.weights()) == list(windowed.weights())
    seeds = seeds_of(windowed, 3)
    expected = float_rollout(windowed, seeds, HORIZON).outputs
    np.testing.assert_allclose(float_rollout(made.graph, seeds, HORIZON).outputs, expected, atol=1e-5)

    if any(op.kind == "rsqrt" for op in windowed.ops):
        activations = "int8"  # the only codes that have a reciprocal root
    ranges, widths = ranges_of(windowed, made.graph), alternating(windowed)
    whole, step = (quantize(graph, widths, ranges, activations=activations) for graph in (windowed, made.graph))
    # The step of a depthwise convolution is reshaped, so what it is joined to takes a copy of its codes.
    copies = [[op.kind for op in graph.ops].count("quantize") for graph in (whole, step)]
    if copies[0] != copies[1]:
        filtered = {op.outputs[0] for op in windowed.ops if op.kind == "depthwise_1d"}
        assert any(op.kind == "concat" and filtered & set(op.inputs) for op in windowed.ops)
        return
    codes = simulate.encode(whole, seeds)
    np.testing.assert_array_equal(
        simulate.integer_rollout(step, codes, HORIZON).outputs, simulate.integer_rollout(whole, codes, HORIZON).outputs
    )


@settings(max_examples=30, deadline=None)
@given(drawn=causal_graphs())
def test_what_came_before_the_receptive_field_is_of_no_account(drawn: tuple[Graph, int]) -> None:
    """The states forget: after as many samples as the field holds, any two pasts give one forecast."""
    windowed, field = drawn
    if field == 1:
        return
    made = stream(windowed).graph
    short = replace(made, forecast=replace(made.forecast, window=field, feedback=tuple(range(made.forecast.outputs))))
    if made.forecast.outputs != made.forecast.channels:
        return
    rng = np.random.default_rng(6)
    seen = rng.normal(size=(2, field, made.forecast.channels)).astype(np.float32)
    before = rng.normal(size=(2, 7, made.forecast.channels)).astype(np.float32)
    longer = replace(short, forecast=replace(short.forecast, window=field + 7))
    np.testing.assert_allclose(
        float_rollout(short, seen, 1).outputs,
        float_rollout(longer, np.concatenate([before, seen], axis=1), 1).outputs,
        atol=1e-5,
    )


@settings(max_examples=30, deadline=None)
@given(drawn=causal_graphs(), missing=st.integers(1, 3))
def test_a_window_that_does_not_hold_the_field_is_refused(drawn: tuple[Graph, int], missing: int) -> None:
    windowed, field = drawn
    if field <= missing:
        return
    with pytest.raises(ModelError, match=f"depend on {field} samples .* window of {field - missing}:"):
        stream(windowed, field - missing)


@pytest.mark.emulated
def test_a_streamed_model_goes_through_a_whole_board(tmp_path: Path) -> None:
    """Delay lines moved in place, by the code that a Cortex-M4 runs: outputs and states, bit for bit."""
    b = Builder(np.random.default_rng(21))
    y = b.tensor("x", (1, 24, 2))
    for index, dilation in enumerate((1, 2, 4)):
        z = convolution(b, y, f"c{index}", 4, 3, dilation)
        skip = convolution(b, y, f"s{index}", 4, 1, 1)
        y = shaped(b, "add", (z, skip), f"a{index}", (1, 24, 4))
    y = convolution(b, y, "depthwise", 0, 3, 2)
    y = shaped(b, "slice", (y,), "last", (1, 1, 4), axis=1, begin=23, size=1)
    y = dense_layer(b, "head", shaped(b, "reshape", (y,), "flat", (1, 4)), 2, "tanh")
    windowed = Graph("causal", b.tensors, tuple(b.ops), "x", y, (), Forecast(24, 2, "none", (0, 1))).check()
    graph = stream(windowed).graph
    graph = quantize(graph, alternating(graph), calibrate(graph, seeds_of(graph, 4), HORIZON))
    digest, board = tflite_model.model_hash(tflite_model.write(graph, METADATA)), load_board("qemu-mps2-an386")
    generated = emit(graph, digest, graph.name, board.core)
    assert "memmove(state" in generated.files["model.c"]
    compile_firmware(assemble(board, generated.files, generated.kernels, tmp_path / "firmware"))
    seeds = simulate.encode(graph, seeds_of(graph, 2))
    expected = simulate.integer_rollout(graph, seeds, HORIZON)
    assert expected.state_hashes is not None
    with start_server(board, tmp_path) as port, Device(open_port(port)) as device:
        device.require_model(digest)
        for index, seed in enumerate(seeds):
            outputs, _, hashes = run_rollout(device, seed, HORIZON)
            np.testing.assert_array_equal(outputs, expected.outputs[index])
            np.testing.assert_array_equal(hashes, expected.state_hashes[index])
