"""The generated C against tflite-micro itself: 10,000 closed-loop steps a model, every output and every state."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from c_library import Forecaster
from graphs import KINDS, quantized, quantized16, random_codes, random_graph

from edge_tqs.flatbuffer import model as tflite_model
from edge_tqs.graph.graph import Graph
from edge_tqs.graph.rollout import StepFunction
from edge_tqs.quantization import simulate
from edge_tqs.quantization.runtimes import tflm_step

# The package is published for x86-64 alone.
pytest.importorskip("tflite_micro", reason="tflite-micro has no package for this machine")

MODELS = 20
#: many short rollouts rather than one of 10,000 steps, which would soon run in a cycle
ROLLOUTS, HORIZON = 100, 100
METADATA = {"source_hash": "0" * 64, "plan": {}, "generator": "test"}


def compare(graph: Graph, forecaster: Forecaster, step: StepFunction, seed: np.ndarray, horizon: int) -> int:
    """Roll both forward from ``seed`` (W, F) codes and compare each step; return the number of steps."""
    forecast = graph.forecast
    zero = simulate.zero_states(graph, 1)
    window, states = seed, zero
    forecaster.reset()
    forecaster.push_codes(seed)
    forecaster.begin()
    for t in range(horizon):
        if forecast.recurrence == "none":
            y, states = step(window[None], ())
        else:
            if forecast.recurrence == "windowed":
                states = zero
            for sample in window[-1:] if forecast.recurrence == "stateful" and t > 0 else window:
                y, states = step(sample[None], states)
        assert forecaster.next().tobytes() == y[0].tobytes(), f"output of step {t}"
        assert forecaster.states() == b"".join(state.tobytes() for state in states), f"states of step {t}"
        window = np.concatenate([window[1:], y[:, list(forecast.feedback)]])
    return horizon


@pytest.mark.slow
def test_every_output_and_state_equals_tflite_micro(tmp_path: Path) -> None:
    """10,000 steps on each of 20 models, MLP, LSTM and GRU in turn."""
    for number in range(MODELS):
        rng = np.random.default_rng([2, number])
        graph = quantized(rng, random_graph(rng, KINDS[number % len(KINDS)]))
        folder = tmp_path / str(number)
        folder.mkdir()
        forecaster = Forecaster(graph, folder)
        step = tflm_step(tflite_model.write(graph, METADATA))
        shape = (ROLLOUTS, graph.forecast.window, graph.forecast.channels)
        seeds = rng.integers(-128, 128, shape).astype(np.int8)
        steps = sum(compare(graph, forecaster, step, seed, HORIZON) for seed in seeds)
        assert steps == 10_000, graph.name


@pytest.mark.slow
def test_int16_activations_equal_tflite_micro(tmp_path: Path) -> None:
    """1,000 steps on each of 12 models, with int8 weights: those are what tflite-micro takes."""
    for number in range(12):
        rng = np.random.default_rng([3, number])
        graph = quantized16(rng, random_graph(rng, KINDS[number % len(KINDS)]), (8,))
        folder = tmp_path / str(number)
        folder.mkdir()
        forecaster = Forecaster(graph, folder)
        step = tflm_step(tflite_model.write(graph, METADATA))
        seeds = random_codes(rng, graph, (20, graph.forecast.window, graph.forecast.channels))
        assert sum(compare(graph, forecaster, step, seed, 50) for seed in seeds) == 1000, graph.name


def test_a_wrong_state_is_noticed(tmp_path: Path) -> None:
    """The comparison above can fail: one state of tflite-micro off by one code for a single step."""
    rng = np.random.default_rng(5)
    graph = quantized(rng, random_graph(rng, "gru"))
    right = tflm_step(tflite_model.write(graph, METADATA))

    def wrong(x: np.ndarray, states: tuple[np.ndarray, ...]) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
        y, following = right(x, states)
        return y, (following[0] ^ np.int8(1), *following[1:])

    forecaster = Forecaster(graph, tmp_path)
    seed = rng.integers(-128, 128, (graph.forecast.window, graph.forecast.channels)).astype(np.int8)
    assert compare(graph, forecaster, right, seed, 4) == 4
    with pytest.raises(AssertionError, match="step 0"):
        compare(graph, forecaster, wrong, seed, 4)
