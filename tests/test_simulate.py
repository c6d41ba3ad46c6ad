"""The integer reference against tflite-micro: every output and every state, step by step."""

from __future__ import annotations

import numpy as np
import pytest
from graphs import (
    KINDS,
    METADATA,
    needs_tflm,
    quantized,
    quantized16,
    random_codes,
    random_graph,
    random_seeds,
)

from edge_tqs.errors import ModelError
from edge_tqs.flatbuffer import model as tflite_model
from edge_tqs.graph.graph import Array, Graph
from edge_tqs.graph.rollout import closed_loop
from edge_tqs.operators.arithmetic import int8 as integer
from edge_tqs.quantization import simulate
from edge_tqs.quantization.runtimes import litert_step, tflm_step

MODELS = 24


def compare(graph: Graph, seeds_codes: Array, horizon: int) -> int:
    """Roll both in lockstep, asserting equality after every evaluation; return how many were compared."""
    ours, theirs = simulate.integer_step(graph), tflm_step(tflite_model.write(graph, METADATA))
    compared = 0

    def step(x: Array, states: tuple[Array, ...]) -> tuple[Array, tuple[Array, ...]]:
        nonlocal compared
        y, following = ours(x, states)
        y_tflm, following_tflm = theirs(x, states)
        for name, got, expected in zip(
            ("y", *(state.name for state in graph.states)), (y, *following), (y_tflm, *following_tflm), strict=True
        ):
            np.testing.assert_array_equal(got, expected, err_msg=f"{name} of evaluation {compared}")
        compared += len(x)
        return y, following

    closed_loop(step, graph.forecast, seeds_codes, horizon, simulate.zero_states(graph, len(seeds_codes)), "both")
    return compared


def drawn(number: int) -> tuple[np.random.Generator, Graph]:
    rng = np.random.default_rng([11, number])
    return rng, quantized(rng, random_graph(rng, KINDS[number % len(KINDS)]))


def seed_codes(rng: np.random.Generator, graph: Graph, count: int) -> Array:
    """Half from the range that was calibrated, half any codes at all."""
    normal = simulate.encode(graph, random_seeds(rng, graph, count))
    anything = rng.integers(-128, 128, normal.shape).astype(np.int8)
    return np.where(np.arange(count)[:, None, None] % 2, anything, normal)


@needs_tflm
@pytest.mark.parametrize("number", range(MODELS))
def test_every_output_and_state_equals_tflite_micro_for_10000_steps(number):
    rng, graph = drawn(number)
    assert compare(graph, seed_codes(rng, graph, 100), 100) >= 10_000


def drawn16(number: int, widths: tuple[int, ...] = (8,)) -> tuple[np.random.Generator, Graph]:
    rng = np.random.default_rng([12, number])
    return rng, quantized16(rng, random_graph(rng, KINDS[number % len(KINDS)]), widths)


@needs_tflm
@pytest.mark.parametrize("number", range(MODELS))
def test_int16_activations_equal_tflite_micro_for_10000_steps(number):
    rng, graph = drawn16(number)
    normal = simulate.encode(graph, random_seeds(rng, graph, 100))
    seeds = np.where(np.arange(100)[:, None, None] % 2, random_codes(rng, graph, normal.shape), normal)
    assert seeds.dtype == np.int16
    assert compare(graph, seeds, 100) >= 10_000


@pytest.mark.parametrize("number", range(12))
def test_int16_activations_with_int4_weights_are_near_litert(number):
    """tflite-micro refuses these. LiteRT's dense layer rounds otherwise, so an evaluation is some codes off."""
    rng, graph = drawn16(number, (4,))
    ours, theirs = simulate.integer_step(graph), litert_step(tflite_model.write(graph, METADATA))
    x = simulate.encode(graph, random_seeds(rng, graph, 20))
    x = x if graph.forecast.recurrence == "none" else x[:, 0]
    got, expected = theirs(x, states := simulate.zero_states(graph, 20)), ours(x, states)
    for a, b in zip((got[0], *got[1]), (expected[0], *expected[1]), strict=True):
        assert np.abs(a.astype(int) - b).max() <= 16


def test_a_batch_is_its_rows():
    rng, graph = drawn(1)
    seeds = seed_codes(rng, graph, 5)
    together = simulate.integer_rollout(graph, seeds, 6)
    for n in range(5):
        alone = simulate.integer_rollout(graph, seeds[n : n + 1], 6)
        np.testing.assert_array_equal(together.outputs[n], alone.outputs[0])
        np.testing.assert_array_equal(together.state_hashes[n], alone.state_hashes[0])
    assert together.source == "integer"
    assert together.outputs.dtype == np.int8


def test_dense_layers_are_the_reference_kernel():
    rng, graph = drawn(0)
    op = next(op for op in graph.ops if op.kind == "fully_connected")
    weight = graph.tensors[op.inputs[1]].data
    bias = graph.tensors[op.inputs[2]].data if len(op.inputs) == 3 else None
    codes = rng.integers(-128, 128, (20, weight.shape[1])).astype(np.int8)
    got = simulate.integer_operator(graph, op)(codes, *(graph.tensors[name].data for name in op.inputs[1:]))
    params = integer.fully_connected_params(graph, op)
    np.testing.assert_array_equal(got, integer.fully_connected(params, codes, weight, bias))


def test_states_start_at_the_code_of_zero():
    _, graph = drawn(1)
    for state, value in zip(graph.states, simulate.zero_states(graph, 3), strict=True):
        assert value.shape == (3, *graph.tensors[state.input].shape[1:])
        assert (integer.dequantize_activations(value, graph.tensors[state.input].quant) == 0).all()


def test_values_come_back_within_half_a_step():
    rng, graph = drawn(2)
    quant = graph.tensors[graph.input].quant
    low, high = (integer.dequantize_activations(np.array([code], np.int8), quant)[0] for code in (-128, 127))
    values = rng.uniform(low, high, (3, graph.forecast.channels)).astype(np.float32)
    restored = simulate.decode(graph, simulate.encode(graph, values))
    np.testing.assert_allclose(restored, values, atol=float(quant.scale[0]) * 0.501)


def test_a_float_graph_is_refused():
    graph = random_graph(np.random.default_rng(0), "mlp")
    with pytest.raises(ModelError, match="not quantised"):
        simulate.integer_step(graph)
    with pytest.raises(ModelError, match="not quantised"):
        simulate.encode(graph, np.zeros((1, graph.forecast.channels)))
