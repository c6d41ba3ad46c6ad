"""docs/layers.md: up to date, complete, and every cell tried: what runs is compared, what does not is refused."""

from __future__ import annotations

import importlib
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from c_library import Forecaster
from graphs import METADATA, needs_tflm

from edge_tqs.errors import ToolError
from edge_tqs.flatbuffer import model as tflite_model
from edge_tqs.quantization import runtimes, simulate
from edge_tqs.read.keras.layers import READERS

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tools"))
layer_table: Any = importlib.import_module("layer_table")

TFLITE_RUNTIME = ROOT / ".venv-tflite-runtime" / "bin" / "python"
#: Layers that are nothing once a model is trained.
NOTHING = {name for name, reader in READERS.items() if reader.__name__ == "read_nothing"}
#: One step in another runtime rounds differently at each operator; codes of the type's 256 or 65,536.
NEAR = {"int8": 8, "int4": 8, "16x8": 64}
CELLS = [(name, width) for name in layer_table.LAYERS for width in layer_table.WIDTHS]

row = cache(layer_table.row)


@pytest.mark.slow
def test_the_page_is_what_the_code_says() -> None:
    found = layer_table.document([row(name) for name in layer_table.LAYERS])
    assert layer_table.DOCUMENT.read_text(encoding="utf-8") == found, "run: python tools/layer_table.py"


def test_every_layer_that_is_read_is_in_the_table() -> None:
    own = {name for name in READERS if not name.startswith("ops.")}
    assert own - NOTHING - layer_table.ALIASES.keys() <= layer_table.LAYERS.keys()


def codes_of(graph: Any) -> np.ndarray:
    return simulate.encode(graph, layer_table.windows(graph, 7, 2))


@pytest.mark.slow
@needs_tflm
@pytest.mark.parametrize(("name", "width"), CELLS, ids=map("-".join, CELLS))
def test_each_cell(name: str, width: str, tmp_path: Path) -> None:
    found = row(name)
    graph = found.graphs[width]
    codes = codes_of(graph)
    expected = simulate.integer_rollout(graph, codes, 4).outputs
    file = tflite_model.write(graph, METADATA)
    assert tflite_model.read(file)[0].ops == graph.ops

    if found.reason("c", width) is None:
        forecaster = Forecaster(graph, tmp_path)
        for seed, outputs in zip(codes, expected, strict=True):
            forecaster.reset()
            forecaster.push_codes(seed)
            np.testing.assert_array_equal(forecaster.forecast_codes(4)[0], outputs)

    if found.reason("tflm", width) is None:
        np.testing.assert_array_equal(runtimes.rollout_in("tflm", file, graph, codes, 4).outputs, expected)
    else:
        with pytest.raises(ToolError):
            runtimes.rollout_in("tflm", file, graph, codes, 1)

    if found.reason("litert", width) is None:
        near(runtimes.rollout_in("litert", file, graph, codes, 1).outputs, expected, NEAR[width])
    else:
        with pytest.raises(ToolError):
            runtimes.rollout_in("litert", file, graph, codes, 1)

    if TFLITE_RUNTIME.exists() and found.reason("tflite-runtime", width) is None:
        there = runtimes.rollout_in_environment(TFLITE_RUNTIME, file, codes, 1)
        near(there.outputs, expected, NEAR[width])


def near(found: np.ndarray, expected: np.ndarray, most: int) -> None:
    apart = np.abs(found[:, 0].astype(int) - expected[:, 0].astype(int)).max()
    assert apart <= most, f"{apart} codes apart"
