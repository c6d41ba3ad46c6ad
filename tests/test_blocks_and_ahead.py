"""Several samples a call and inputs known ahead: one definition, in every form that a model takes."""

from __future__ import annotations

import ctypes
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bundles import write_bundle
from c_library import Forecaster
from graphs import METADATA, Builder, dense_layer, lstm_layer, needs_tflm

from edge_tqs.boards.board import load_board
from edge_tqs.boards.emulator.emulator import start_agent, start_server
from edge_tqs.boards.firmware import assemble, compile_firmware
from edge_tqs.device import messages as wire
from edge_tqs.device.device import Device, open_port
from edge_tqs.device.rollout import run_rollout
from edge_tqs.emit_c.emit import emit
from edge_tqs.errors import DeviceError, ModelError, UsageError
from edge_tqs.flatbuffer import model as tflite_model
from edge_tqs.graph.file import load_graph, save_graph
from edge_tqs.graph.graph import Array, Forecast, Graph, Output, Scaling
from edge_tqs.graph.rollout import Rollout, true_samples
from edge_tqs.passes.interpret import float_rollout, float_step, zero_states
from edge_tqs.quantization import simulate
from edge_tqs.quantization.calibration import calibrate
from edge_tqs.quantization.quantize import quantize
from edge_tqs.quantization.runtimes import rollout_in

HORIZON, ROLLOUTS = 11, 3
FEEDBACKS = [(3, (2, 0, 1)), (2, (0, None, 1)), (1, (None, 0, None))]
CASES = [
    pytest.param(recurrence, steps, outputs, feedback, id=f"{recurrence}-{steps}-{outputs}")
    for recurrence in ("none", "windowed", "stateful")
    for steps in (1, 4)
    for outputs, feedback in FEEDBACKS
    if (steps, outputs) != (1, 3)  # one sample of all channels: tested everywhere else
]


def drawn(recurrence: str, steps: int, outputs: int, feedback: tuple[int | None, ...]) -> Graph:
    b, window, channels = Builder(np.random.default_rng(5)), 5, len(feedback)
    if recurrence == "none":
        x = b.tensor("x", (1, window, channels))
        y = dense_layer(b, "first", b.op("reshape", (x,), "flat", window * channels), 9, "relu")
    else:
        x = b.tensor("x", (1, channels))
        y = lstm_layer(b, "lstm", x, 6)
    y = dense_layer(b, "head", y, steps * outputs, "none")
    forecast = Forecast(window, channels, recurrence, feedback, steps=steps, outputs=outputs)  # type: ignore[arg-type]
    return Graph("drawn", b.tensors, tuple(b.ops), x, y, tuple(b.states), forecast).check()


def seeds_of(graph: Graph, horizon: int = HORIZON) -> Array:
    forecast = graph.forecast
    shape = (ROLLOUTS, forecast.seed_length(horizon), forecast.channels)
    return np.random.default_rng(1).normal(size=shape).astype(np.float32)


def integer(graph: Graph, activations: str = "int8", horizon: int = HORIZON) -> tuple[Graph, Array, Rollout]:
    """(the integer graph, codes of the seeds, their rollout)."""
    seeds = seeds_of(graph, horizon)
    widths = dict.fromkeys(graph.weights(), 8)
    made = quantize(graph, widths, calibrate(graph, seeds, horizon), activations=activations)  # type: ignore[arg-type]
    codes = simulate.encode(made, seeds)
    return made, codes, simulate.integer_rollout(made, codes, horizon)


def by_hand(graph: Graph, seed: Array) -> Array:
    """The closed loop of one seed as the words say it: a list of samples that grows."""
    forecast, step = graph.forecast, float_step(graph)
    samples, fed, states, outputs = list(seed[: forecast.window]), 0, zero_states(graph, 1), []
    while len(outputs) < HORIZON:
        if forecast.recurrence == "none":
            y, _ = step(np.array([samples[-forecast.window :]]), ())
        else:
            if forecast.recurrence == "windowed":
                states, fed = zero_states(graph, 1), len(samples) - forecast.window
            for sample in samples[fed:]:
                y, states = step(sample[None], states)
            fed = len(samples)
        for predicted in y.reshape(forecast.steps, forecast.outputs):
            t = len(outputs)
            outputs.append(predicted)
            ahead = seed[forecast.window + t] if forecast.exogenous and t < HORIZON else predicted
            pairs = enumerate(forecast.feedback)
            samples.append(np.array([ahead[i] if j is None else predicted[j] for i, j in pairs], np.float32))
            if len(outputs) == HORIZON:
                break
    return np.array(outputs)


@pytest.mark.parametrize(("recurrence", "steps", "outputs", "feedback"), CASES)
def test_the_loop_is_what_the_words_say(
    recurrence: str, steps: int, outputs: int, feedback: tuple[int | None, ...]
) -> None:
    graph = drawn(recurrence, steps, outputs, feedback)
    seeds = seeds_of(graph)
    expected = np.stack([by_hand(graph, seed) for seed in seeds])
    np.testing.assert_allclose(float_rollout(graph, seeds, HORIZON).outputs, expected, atol=1e-5)


def forced_by_hand(graph: Graph, samples: Array) -> Array:
    """One step ahead of each true sample after the window (W + T, F): the first sample of what the model then says."""
    forecast, step, outputs = graph.forecast, float_step(graph), []
    for end in range(forecast.window, len(samples)):
        seen = samples[:end] if forecast.recurrence == "stateful" else samples[end - forecast.window : end]
        if forecast.recurrence == "none":
            y, _ = step(seen[None], ())
        else:
            states = zero_states(graph, 1)
            for sample in seen:
                y, states = step(sample[None], states)
        outputs.append(y.reshape(forecast.steps, forecast.outputs)[0])
    return np.array(outputs)


@pytest.mark.parametrize(("recurrence", "steps", "outputs", "feedback"), CASES)
def test_a_teacher_forced_rollout_is_one_step_ahead_of_true_samples(
    recurrence: str, steps: int, outputs: int, feedback: tuple[int | None, ...]
) -> None:
    graph = drawn(recurrence, steps, outputs, feedback)
    seeds, truth = seeds_of(graph), np.random.default_rng(2).normal(size=(ROLLOUTS, HORIZON, outputs)).astype("f4")
    samples = true_samples(graph.forecast, seeds, truth)
    for channel, source in enumerate(feedback):  # what is known ahead is in the seeds, the rest is what followed
        known = seeds[:, graph.forecast.window :, channel] if source is None else truth[:, :, source]
        np.testing.assert_array_equal(samples[:, graph.forecast.window :, channel], known)
    expected = np.stack([forced_by_hand(graph, rows) for rows in samples])
    np.testing.assert_allclose(float_rollout(graph, seeds, HORIZON, truth).outputs, expected, atol=1e-5)
    with pytest.raises(ValueError, match="truth"):
        float_rollout(graph, seeds, HORIZON, truth[:, 1:])


@pytest.mark.parametrize("activations", ["int8", "int16"])
@pytest.mark.parametrize(("recurrence", "steps", "outputs", "feedback"), CASES)
def test_the_c_computes_the_integer_reference(
    recurrence: str, steps: int, outputs: int, feedback: tuple[int | None, ...], activations: str, tmp_path: Path
) -> None:
    graph, codes, expected = integer(drawn(recurrence, steps, outputs, feedback), activations)
    assert expected.state_hashes is not None
    forecaster, window, ahead = Forecaster(graph, tmp_path), graph.forecast.window, list(graph.forecast.exogenous)
    for n in range(ROLLOUTS):
        forecaster.reset()
        forecaster.push_codes(codes[n, :window])
        for _ in range(2):  # a forecast changes nothing
            forecaster.begin()
            for t in range(HORIZON):
                y = step(forecaster, codes[n, window + t, ahead] if ahead else None)
                np.testing.assert_array_equal(y, expected.outputs[n, t])
                states = forecaster.states()
                assert (zlib.crc32(states) if states else 0) == expected.state_hashes[n, t]


def step(forecaster: Forecaster, known: Array | None) -> Array:
    y = np.zeros(forecaster.graph.forecast.outputs, forecaster.code_type)
    out = y.ctypes.data_as(ctypes.c_void_p)
    if known is None:
        forecaster.library.tqs_forecast_next(forecaster.model, out)
    else:
        given = np.ascontiguousarray(known)
        forecaster.library.tqs_forecast_next_ahead(forecaster.model, given.ctypes.data_as(ctypes.c_void_p), out)
    return y


def test_what_is_known_ahead_is_given_in_physical_units(tmp_path: Path) -> None:
    graph, _, _ = integer(drawn("none", 4, 2, (0, None, 1)))
    mean, std = np.array([10.0, -3.0, 200.0]), np.array([2.0, 0.5, 30.0])
    scaling = Scaling(tuple(mean), tuple(std))
    graph = replace(graph, forecast=replace(graph.forecast, scaling=scaling))
    seed = seeds_of(graph)[:1]
    expected = simulate.decode(graph, simulate.integer_rollout(graph, simulate.encode(graph, seed), HORIZON).outputs)
    forecaster, window = Forecaster(graph, tmp_path), graph.forecast.window
    physical = (seed[0] * std + mean).astype(np.float32)
    forecaster.push(physical[:window])
    ahead = np.ascontiguousarray(physical[window:, 1])
    out = np.zeros((HORIZON, 2), np.float32)
    pointers = [array.ctypes.data_as(ctypes.c_void_p) for array in (ahead, out)]
    forecaster.library.tqs_forecast_ahead(forecaster.model, HORIZON, *pointers)
    np.testing.assert_allclose(out, expected[0] * std[[0, 2]] + mean[[0, 2]], rtol=1e-5, atol=1e-4)


@needs_tflm
@pytest.mark.parametrize(("recurrence", "steps", "outputs", "feedback"), CASES)
def test_tflite_micro_computes_the_integer_reference(
    recurrence: str, steps: int, outputs: int, feedback: tuple[int | None, ...]
) -> None:
    graph, codes, expected = integer(drawn(recurrence, steps, outputs, feedback))
    model = tflite_model.write(graph, METADATA)
    assert tflite_model.read(model)[0].forecast == graph.forecast
    np.testing.assert_array_equal(rollout_in("tflm", model, graph, codes, HORIZON).outputs, expected.outputs)


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"held": (1,)},
        {"predicted": (Output("a", channel=0), Output("b", 3, "quantile", 0.9))},
        {"output_scaling": Scaling((1.0, 2.0), (3.0, 4.0))},
        {"feedback": (None, None, None), "steps": 1, "outputs": 8, "task": "classes"},
    ],
)
def test_a_graph_file_keeps_it(more: dict[str, Any], tmp_path: Path) -> None:
    graph = drawn("none", 4, 2, (0, None, 1))
    graph = replace(graph, forecast=replace(graph.forecast, **more))
    save_graph(graph, tmp_path / "float.graph")
    assert load_graph(tmp_path / "float.graph").forecast == graph.forecast


def test_seeds_without_what_is_known_ahead_are_refused() -> None:
    graph = drawn("none", 1, 2, (0, None, 1))
    with pytest.raises(ValueError, match=r"not \(N, 16, 3\)"):
        float_rollout(graph, seeds_of(graph)[:, :5], HORIZON)


def test_an_output_that_becomes_no_input_needs_no_input() -> None:
    forecast = Forecast(4, 2, "none", (0, 0), outputs=2)
    forecast.check("m", 2)
    with pytest.raises(ModelError, match="does not fit 3 of them"):
        replace(forecast, outputs=3).check("m", 3)


@contextmanager
def on_board(name: str, graph: Graph, folder: Path, max_payload: int) -> Iterator[Device]:
    """The generated C on a board, whose frames hold no more than ``max_payload``."""
    board = replace(load_board(name), max_payload=max_payload)
    model = tflite_model.write(graph, METADATA)
    digest = tflite_model.model_hash(model)
    generated = emit(graph, digest, graph.name, board.core)
    firmware = assemble(board, generated.files, generated.kernels, folder / "firmware")
    image = compile_firmware(firmware, extra_cflags="-Werror")
    if not board.bare_metal:
        write_bundle(folder / "bundle", model, image.elf, board)
    with start_server(board, folder) as port, Device(open_port(port)) as device:
        device.require_model(digest)
        yield device


def check_device(device: Device, graph: Graph, codes: Array, expected: Rollout) -> None:
    assert expected.state_hashes is not None
    forecast, info = graph.forecast, device.info
    assert (info.outputs, info.steps, info.exogenous) == (forecast.outputs, forecast.steps, len(forecast.exogenous))
    for n in range(ROLLOUTS):
        ahead = codes[n, forecast.window :][:, list(forecast.exogenous)]
        outputs, _, hashes = run_rollout(device, codes[n, : forecast.window], len(ahead), ahead=ahead)
        np.testing.assert_array_equal(outputs, expected.outputs[n])
        np.testing.assert_array_equal(hashes, expected.state_hashes[n])


@pytest.mark.emulated
@pytest.mark.parametrize("recurrence", ["none", "windowed", "stateful"])
@pytest.mark.parametrize("name", ["host", "qemu-mps2-an386"])
def test_a_board_is_sent_what_is_known_ahead_piece_by_piece(name: str, recurrence: str, tmp_path: Path) -> None:
    """A request of 64 bytes has room for 30 steps of two known values; the forecast has 70."""
    graph, codes, expected = integer(drawn(recurrence, 4, 1, (None, 0, None)), horizon=70)
    with on_board(name, graph, tmp_path, 64) as device:
        check_device(device, graph, codes, expected)
        with pytest.raises(UsageError, match="2 values known ahead of each of 3 steps"):
            device.forecast(3)


@pytest.mark.emulated
@pytest.mark.parametrize("activations", ["int8", "int16"])
@pytest.mark.parametrize("recurrence", ["none", "windowed", "stateful"])
def test_a_board_is_teacher_forced(recurrence: str, activations: str, tmp_path: Path) -> None:
    """In blocks and with inputs known ahead: bit for bit as the reference, and other than in closed loop."""
    graph, codes, free = integer(drawn(recurrence, 4, 2, (0, None, 1)), activations)
    values = np.random.default_rng(2).normal(size=(ROLLOUTS, HORIZON, 2))
    truth = simulate.encode(graph, values)
    expected = simulate.integer_rollout(graph, codes, HORIZON, truth)
    assert not np.array_equal(expected.outputs, free.outputs)
    samples, window = true_samples(graph.forecast, codes, truth), graph.forecast.window
    with on_board("host", graph, tmp_path, 256) as device:
        for n in range(ROLLOUTS):
            fed = samples[n, window:]
            outputs, _, hashes = run_rollout(device, samples[n, :window], HORIZON, ahead=fed[:, [1]], truth=fed)
            np.testing.assert_array_equal(outputs, expected.outputs[n])
            np.testing.assert_array_equal(hashes, expected.state_hashes[n])


@pytest.mark.emulated
def test_a_board_keeps_nothing_of_what_is_known_ahead(tmp_path: Path) -> None:
    graph, codes, expected = integer(drawn("none", 4, 1, (None, 0, None)))
    window, last = graph.forecast.window, expected.outputs[0]
    known = np.ascontiguousarray(codes[0, window:, ::2])
    with on_board("host", graph, tmp_path, 256) as device:
        device.reset()
        device.push(codes[0, :window])

        def ask(first: int, steps: int, ahead: bytes) -> list[bytes]:
            return [step.codes for step in device._stream(wire.ForecastRequest(first, steps, ahead), 1, 2.0)]

        assert ask(0, 5, known[:5].tobytes()) == [bytes(y.tobytes()) for y in last[:5]]
        assert ask(4, 2, known[4:6].tobytes()) == []  # out of order: what was known of the steps before is gone
        assert ask(5, 3, known[5:8].tobytes()) == [bytes(y.tobytes()) for y in last[5:8]]
        device.push(codes[0, :window])
        assert ask(8, 3, known[8:].tobytes()) == []  # samples came: that forecast is over
        assert ask(0, 2, known[:2].tobytes()) == [bytes(y.tobytes()) for y in last[:2]]
        with pytest.raises(DeviceError, match="BAD_LENGTH"):
            ask(2, 3, known[2:4].tobytes())


@pytest.mark.parametrize("recurrence", ["none", "windowed", "stateful"])
def test_the_agent_takes_what_is_known_ahead(recurrence: str, tmp_path: Path) -> None:
    graph, codes, _ = integer(drawn(recurrence, 4, 1, (None, 0, None)))
    model = tflite_model.write(graph, METADATA)
    program, board = tmp_path / "any.elf", load_board("rpi4")
    program.write_bytes(b"#!/bin/sh\n")
    write_bundle(tmp_path / "bundle", model, program, board)
    expected = rollout_in("litert", model, graph, codes, HORIZON)
    with start_agent(board, tmp_path / "bundle") as running, Device(open_port(running.port)) as device:
        check_device(device, graph, codes, expected)
