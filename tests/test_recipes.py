"""The recipes' bench: its evaluator of model.tflite finds what is wrong in a file, and its page says it."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from graphs import random_graph
from whole_way import METADATA, as_int8

from benchmarks.recipes.flatbuffer import Built
from benchmarks.recipes.measure import rmse
from benchmarks.recipes.page import LIMIT, summary
from benchmarks.recipes.project import added, with_line
from edge_tqs.flatbuffer import model as tflite_model
from edge_tqs.graph.graph import Scaling
from edge_tqs.passes.interpret import float_rollout
from edge_tqs.quantization import simulate

STEPS = 4


def record(**changed: Any) -> dict[str, Any]:
    found = {"lines": [], "bit_exact": True, "tflite_bytes": 1, "ours": 1.0, "tflite": 1.0}
    return found | {"ours_rollout": None, "tflite_rollout": None} | changed


@pytest.mark.parametrize("kind", ["mlp", "lstm"])
def test_the_evaluator_says_what_the_build_says_and_finds_a_changed_weight(kind: str) -> None:
    rng = np.random.default_rng(1)
    drawn = (random_graph(rng, kind) for _ in range(99))
    graph = next(one for one in drawn if one.forecast.feedback == tuple(range(one.forecast.channels)))
    units = Scaling((5.0,) * graph.forecast.channels, (2.0,) * graph.forecast.channels)
    graph = replace(graph, forecast=replace(graph.forecast, scaling=units))
    made = as_int8(graph)
    window = rng.normal(0, 1, (1, graph.forecast.window, graph.forecast.channels)).astype(np.float32)
    expected = float_rollout(graph, window, STEPS).outputs[0] * 2 + 5
    content = tflite_model.write(made, METADATA)

    def error(file: bytes) -> float:
        return rmse(Built(file).rollout(window[0] * 2 + 5, STEPS), expected)

    quant = made.tensors[made.output].quant
    assert quant is not None
    codes = simulate.integer_rollout(made, simulate.encode(made, window), STEPS).outputs[0]
    said = Built(content).rollout(window[0] * 2 + 5, STEPS)
    size = 2 * float(quant.scale[0])
    assert np.abs(said - (size * (codes.astype(float) - quant.zero_point) + 5)).max() <= 3 * size
    weights = [made.tensors[name].data for name in made.weights()]
    planted = next(data for data in weights if data is not None and content.count(data.tobytes()) == 1)
    assert error(content.replace(planted.tobytes(), (-planted).tobytes())) > 2 * error(content)


def test_a_recipe_beyond_the_limit_is_counted_out() -> None:
    worse = [record(ours=LIMIT + 0.01), record(ours_rollout=2.0, tflite_rollout=1.0)]
    others = [record(bit_exact=False, ours=None), record(lines=["a", "b"]), record(tflite=None, tflite_bytes=0)]
    assert summary([record(), *worse, *others]) == (
        "4 of 6 recipes build with at most one line and validate bit-exact. TFLite converts 5 of 6; of 4 that both "
        "have, edge-tqs' error is at most 1.10 times the converter's in 2, rollouts included."
    )


def test_a_line_goes_below_the_head_of_its_section_and_is_counted() -> None:
    text = "[forecast]   # how\nkind = 1\n[data]\nkind = 2\n"
    changed = with_line(text, ("forecast", "kind = 3"))
    assert changed == "[forecast]   # how\nkind = 3\n[data]\nkind = 2\n"
    assert added(text, changed) == ("kind = 3",)
    assert added(text, with_line(text, None)) == ()
