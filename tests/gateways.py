"""Bundles with forecastd: small integer graphs of each kind, compiled for this machine, and its command run on them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from graphs import METADATA
from test_blocks_and_ahead import drawn, integer

from edge_tqs.boards.board import load_board
from edge_tqs.boards.bundle import write_bundle
from edge_tqs.boards.firmware import assemble, compile_library
from edge_tqs.emit_c.emit import emit
from edge_tqs.flatbuffer import model as tflite_model
from edge_tqs.graph.graph import Array, Graph, Output, Scaling
from edge_tqs.graph.rollout import Rollout
from edge_tqs.templates import template_root

# The package as a bundle holds it; sources and sinks are found in its folder.
sys.path.insert(0, str(template_root() / "gateway"))

HORIZON = 6
PERIOD = "10min"
COLUMNS = ("flow", "load")


def graph_of(kind: str) -> tuple[Graph, Array, Rollout]:
    """(an integer graph with names and units, codes of seeds, what the integer reference makes of them)."""
    recurrence, _, activations = kind.partition(" ")
    if recurrence == "direct":
        graph = drawn("none", 1, 3, (None, None))
        predicted: tuple[Output, ...] = (Output("load", 1, channel=1), Output("load", 2, channel=1), Output("price", 0))
        graph = replace(graph, forecast=replace(graph.forecast, predicted=predicted))
    elif recurrence == "classes":
        graph = drawn("none", 1, 3, (None, None))
        predicted = tuple(Output(name, 0, statistic="class") for name in ("off", "on", "broken"))
        graph = replace(graph, forecast=replace(graph.forecast, task="classes", predicted=predicted))
    elif recurrence == "reconstruction":
        graph = drawn("none", 1, 10, (None, None))
        graph = replace(graph, forecast=replace(graph.forecast, task="reconstruction"))
    elif recurrence == "block":
        graph = drawn("none", 3, 2, (1, 0))
    else:
        graph = drawn(recurrence, 1, 2, (1, 0))
    made, codes, rollout = integer(graph, activations or "int8", HORIZON)
    forecast = replace(made.forecast, columns=COLUMNS, scaling=Scaling((20.0, -5.0), (4.0, 0.5)))
    return replace(made, forecast=forecast), codes, rollout


def physical(graph: Graph, codes: Array) -> Array:
    """What codes of samples stand for."""
    scaling, quant = graph.forecast.scaling, graph.quant(graph.input)
    values = (codes.astype(np.float64) - quant.zero_point) * float(quant.scale[0])
    return np.asarray(values * scaling.std + np.asarray(scaling.mean))


def moment(number: int) -> str:
    """The time of the sample of a number, ten minutes each."""
    return f"2024-05-01T{number // 6:02d}:{number % 6 * 10:02d}:00Z"


def bundle(
    graph: Graph, folder: Path, board: str = "host", facts: Mapping[str, Any] | None = None, library: bool = True
) -> Path:
    """The bundle of a graph, with its library compiled for ``board``."""
    target, model = load_board(board), tflite_model.write(graph, METADATA)
    generated = emit(graph, tflite_model.model_hash(model), graph.name, target.core)
    built = None
    if library:
        built = compile_library(assemble(target, generated.files, generated.kernels, folder / "firmware"))
    _, metadata = tflite_model.read(model)
    given = {} if facts is None else {"facts": facts}
    write_bundle(
        folder / "bundle", model, None, target, name=graph.name, metadata=metadata, library=built, config={}, **given
    )
    return folder / "bundle"


def config(path: Path, **given: Any) -> Path:
    """forecastd.json of the columns; ``given`` in place of what it would hold, None leaves it out."""
    said = {
        "source": {"kind": "stdin"},
        "sinks": [{"kind": "jsonl"}],
        "columns": {name: {} for name in COLUMNS},
        "period": PERIOD,
        "horizon": HORIZON,
    }
    kept = {name: value for name, value in {**said, **given}.items() if value is not None}
    path.write_text(json.dumps(kept))
    return path


def run(bundle: Path, *arguments: str | Path, text: str = "") -> tuple[int, list[dict[str, Any]], str]:
    """(exit code, reports, standard error) of the command."""
    command = [sys.executable, str(bundle / "edge-tqs-forecastd"), *map(str, arguments)]
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=60, check=False)
    lines = done.stdout.splitlines()
    return done.returncode, [json.loads(line) for line in lines if line.startswith("{")], done.stderr


def lines(samples: Array, start: int = 0) -> str:
    """CSV of samples ten minutes apart, the first at ``start`` * 10 minutes of a day."""
    rows = [f"{moment(n)},{row[0]!r},{row[1]!r}" for n, row in enumerate(samples.tolist(), start)]
    return "\n".join(["time,flow,load", *rows]) + "\n"
