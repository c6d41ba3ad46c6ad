"""edge_tqs/operators/TEMPLATE.md followed to the letter in a copy of the tree: the operator is right in every form."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
TEMPLATE = ROOT / "edge_tqs" / "operators" / "TEMPLATE.md"
STEP = re.compile(
    r"^## (New file|Line in) `([^`]+)`(?: after `([^`]+)`)?\n\n```\w+\n(.*?)```$", re.DOTALL | re.MULTILINE
)

CHECK = """
import tempfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from c_library import TRAPS, Forecaster
from graphs import METADATA, Builder, dense_layer, quantized, quantized16, random_codes, random_seeds, shaped

import edge_tqs
from edge_tqs.flatbuffer import model as tflite_model
from edge_tqs.graph.graph import Forecast, Graph
from edge_tqs.passes.interpret import float_rollout
from edge_tqs.quantization import runtimes, simulate
from edge_tqs.system.tensorflow_rollout import trace_rollout

assert Path(edge_tqs.__file__).parent.parent == Path.cwd()
rng = np.random.default_rng(5)
b = Builder(rng)
x = b.op("reshape", (b.tensor("x", (1, 4, 2)),), "flat", 8)
one, two = dense_layer(b, "one", x, 6, "none"), dense_layer(b, "two", x, 6, "none")
y = dense_layer(b, "head", shaped(b, "maximum", (one, two), "larger", (1, 6)), 2, "none")
graph = Graph("larger", b.tensors, tuple(b.ops), "x", y, (), Forecast(4, 2, "none", (0, 1))).check()
seeds = random_seeds(rng, graph, 3)
expected = float_rollout(graph, seeds, 5).outputs
weights = {t.name: t.data for tensors in graph.weights().values() for t in tensors}
np.testing.assert_allclose(trace_rollout(graph, 5, 3)(weights, seeds), expected, atol=1e-5)
for integer in (quantized(rng, graph), quantized16(rng, graph, (8,))):
    codes = random_codes(rng, integer, (2, 4, 2))
    simulated = simulate.integer_rollout(integer, codes, 5).outputs
    model = tflite_model.write(integer, METADATA)
    assert tflite_model.read(model)[0].ops == integer.ops
    if find_spec("tflite_micro") is not None:
        rolled = runtimes.rollout_in("tflm", model, integer, codes, 5).outputs
        np.testing.assert_array_equal(rolled, simulated)
    with tempfile.TemporaryDirectory() as folder:
        forecaster = Forecaster(integer, Path(folder), TRAPS)
        for seed, wanted in zip(codes, simulated, strict=True):
            forecaster.reset()
            forecaster.push_codes(seed)
            np.testing.assert_array_equal(forecaster.forecast_codes(5)[0], wanted)
print("every form agrees")
"""


def test_the_template_makes_an_operator(tmp_path: Path) -> None:
    for part in ("edge_tqs", "firmware_templates"):
        shutil.copytree(ROOT / part, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__"))
    steps = STEP.findall(TEMPLATE.read_text(encoding="utf-8"))
    assert len(steps) == TEMPLATE.read_text(encoding="utf-8").count("\n## ")
    for what, name, anchor, text in steps:
        path = tmp_path / name
        if what == "New file":
            assert not path.exists()
            path.write_text(text, encoding="utf-8")
        else:
            before, found, after = path.read_text(encoding="utf-8").partition(f"{anchor}\n")
            assert found, f"{name} has no line {anchor!r}"
            path.write_text(before + found + text + after, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT / 'tests'}"}
    command = [sys.executable, "-c", CHECK]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("every form agrees\n")
