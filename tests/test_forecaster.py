"""forecaster.py of the bundle: what it says in physical units is what LiteRT's rollout here decodes to."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import gateways
import numpy as np
import pytest
from bundles import write_bundle
from graphs import METADATA, quantized, random_graph
from test_blocks_and_ahead import drawn, integer
from test_bundle import library
from test_exporting import compiled, network, write

from edge_tqs.boards.board import load_board
from edge_tqs.exporting import texts
from edge_tqs.flatbuffer import model as tflite_model
from edge_tqs.graph.graph import Array, Graph, Scaling
from edge_tqs.quantization import simulate
from edge_tqs.quantization.runtimes import rollout_in

HORIZON = 9
KINDS = ("none", "windowed", "stateful", "block", "ahead", "block and ahead, stateful", "ahead, windowed")


def graph_of(kind: str) -> Graph:
    """An integer graph: one sample a call with a crossed feedback, or blocks, or inputs known ahead; scaled."""
    rng = np.random.default_rng(11)
    if kind in ("none", "windowed", "stateful"):
        graph = random_graph(rng)
        while graph.forecast.recurrence != kind or graph.forecast.channels < 2:
            graph = random_graph(rng)
        graph = quantized(rng, graph)
    else:
        recurrence = kind.rpartition(", ")[2] if ", " in kind else "none"
        outputs, feedback = (2, (0, None, 1)) if "ahead" in kind else (3, (2, 0, 1))
        graph = integer(drawn(recurrence, 4 if "block" in kind else 1, outputs, feedback))[0]
    channels = graph.forecast.channels
    scaling = Scaling(tuple(10.0 * i - 5 for i in range(channels)), tuple(0.5 * (i + 1) for i in range(channels)))
    return replace(graph, forecast=replace(graph.forecast, scaling=scaling))


def physical(graph: Graph, codes: Array, channels: list[int] | slice) -> Array:
    """What codes of the channels stand for; those of an output are in the units of its channel."""
    assert graph.forecast.scaling is not None
    mean, std = (np.array(values)[channels] for values in (graph.forecast.scaling.mean, graph.forecast.scaling.std))
    values: Array = simulate.decode(graph, codes).astype(np.float64) * std + mean
    return values


@pytest.mark.parametrize("kind", KINDS)
def test_it_forecasts_what_the_rollout_in_litert_decodes_to(kind: str, tmp_path: Path) -> None:
    graph = graph_of(kind)
    forecast, model = graph.forecast, tflite_model.write(graph, METADATA)
    length = forecast.seed_length(HORIZON)
    codes = np.random.default_rng(2).integers(-100, 100, (2, length, forecast.channels)).astype(np.int8)
    expected = rollout_in("litert", model, graph, codes, HORIZON).outputs
    quant = graph.tensors[graph.input].quant
    assert quant is not None
    scale, zero = float(quant.scale[0]), int(quant.zero_point)
    assert forecast.scaling is not None
    samples = (codes.astype(np.float64) - zero) * scale * np.array(forecast.scaling.std)
    samples += np.array(forecast.scaling.mean)

    write_bundle(tmp_path / "bundle", model, None, load_board("rpi4"))
    forecaster: Any = library(tmp_path / "bundle").Forecaster(tmp_path / "bundle" / "model.tflite")
    ahead = samples[:, forecast.window :, list(forecast.exogenous)]
    for n in range(2):
        forecaster.reset()
        for sample in samples[n, : forecast.window]:
            assert not forecaster.ready
            forecaster.push(sample)
        assert forecaster.ready
        arguments = (ahead[n],) if forecast.exogenous else ()
        got = forecaster.forecast(HORIZON, *arguments)
        assert got.shape == (HORIZON, forecast.outputs)
        wanted = physical(graph, expected[n], list(forecast.output_channels))
        np.testing.assert_allclose(got, wanted, rtol=1e-6, atol=1e-6)
        np.testing.assert_array_equal(forecaster.forecast(HORIZON, *arguments), got)  # it changes nothing


def test_it_refuses_what_is_missing(tmp_path: Path) -> None:
    graph = graph_of("ahead")
    write_bundle(tmp_path / "b", tflite_model.write(graph, METADATA), None, load_board("rpi4"))
    module = library(tmp_path / "b")
    forecaster = module.Forecaster(tmp_path / "b" / "model.tflite")
    with pytest.raises(module.ForecasterError, match="0 samples were pushed"):
        forecaster.forecast(3, np.zeros((3, 1)))
    for _ in range(graph.forecast.window):
        forecaster.push(np.zeros(3))
    with pytest.raises(module.ForecasterError, match=r"the model takes \(3, 1\)"):
        forecaster.forecast(3)
    with pytest.raises(ValueError, match="reshape"):
        forecaster.push([1.0])


def test_it_is_imported_from_the_bundle_alone(tmp_path: Path) -> None:
    """Beside a compiled program called forecaster, in a process that finds no edge-tqs and no pyserial."""
    graph, program = graph_of("none"), tmp_path / "any.elf"
    program.write_bytes(b"#!/bin/sh\n")
    write_bundle(tmp_path / "b", tflite_model.write(graph, METADATA), program, load_board("rpi4"))
    code = (
        "import sys; sys.modules.update(dict.fromkeys(('serial', 'cobs', 'edge_tqs', 'tensorflow')))\n"
        "from forecaster import Forecaster; m = Forecaster('model.tflite')\n"
        "[m.push([0.0] * m.channels) for _ in range(m.window)]; print(m.ready, m.forecast(2).shape)"
    )
    command = [sys.executable, "-B", "-c", code]
    done = subprocess.run(command, cwd=tmp_path / "b", capture_output=True, text=True, check=False)
    assert done.stdout == f"True (2, {graph.forecast.outputs})\n", done.stderr


@pytest.mark.parametrize("kind", ["none", "none int16"])
def test_values_become_the_codes_that_they_become_in_c(kind: str, tmp_path: Path) -> None:
    """Halves of codes among them, which float64 rounds otherwise; and what is no number, or beyond all."""
    graph, _, _ = gateways.graph_of(kind)
    folder = gateways.bundle(graph, tmp_path, library=False)
    c = exported(graph, tmp_path / "c")
    c.room_encode.argtypes, c.room_encode.restype = [ctypes.c_float, ctypes.c_uint32], ctypes.c_int16
    forecaster = library(folder).Forecaster(folder / "model.tflite")
    quant, scaling = graph.quant(graph.input), graph.forecast.scaling
    assert scaling is not None
    rng = np.random.default_rng(0)
    halves = np.concatenate([np.arange(-140, 140) + 0.5, rng.uniform(-40_000, 40_000, 400).round() + 0.5])
    for channel in range(graph.forecast.channels):
        values = (halves - quant.zero_point) * float(quant.scale[0]) * scaling.std[channel] + scaling.mean[channel]
        values = np.concatenate([values, rng.normal(0, 50, 500), [np.nan, np.inf, -np.inf, 1e30, -1e30]])
        narrow = values.astype(np.float32)
        made = forecaster._encode(narrow[:, None].astype(np.float64), [channel])[:, 0]
        signed = np.array([c.room_encode(float(value), channel) for value in narrow])
        wanted = signed if graph.activations == "int16" else signed.astype(np.int8)
        np.testing.assert_array_equal(made, wanted)


def exported(graph: Graph, folder: Path) -> ctypes.CDLL:
    """The C of a graph, without what only forecastd calls."""
    write(folder, texts(network(graph), "c", "room", self_test=False))
    sources = sorted((folder / "src").glob("*.c"))
    compiled("gcc", "-std=c99", "-O1", "-fPIC", "-shared", "-Isrc", *sources, "-o", "room.so", cwd=folder)
    return ctypes.CDLL(str(folder / "room.so"))
