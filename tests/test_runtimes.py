"""The runtimes as Steps: batches, states, other environments, and what is said when one is missing."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from graphs import KINDS, METADATA, needs_tflm, quantized, quantized16, random_graph, random_seeds

from edge_tqs.building import evaluate
from edge_tqs.errors import ToolError
from edge_tqs.flatbuffer import model as tflite_model
from edge_tqs.graph.graph import Graph
from edge_tqs.passes import interpret
from edge_tqs.quantization import runtimes, simulate
from edge_tqs.quantization.calibration import calibrate
from edge_tqs.quantization.quantize import quantize


def drawn(number: int) -> tuple[Graph, Graph, bytes, np.ndarray]:
    """(float graph, integer graph, its flatbuffer, seeds (3, W, F) float32)"""
    rng = np.random.default_rng([31, number])
    graph = random_graph(rng, KINDS[number % len(KINDS)])
    integer = quantized(rng, graph)
    return graph, integer, tflite_model.write(integer, METADATA), random_seeds(rng, graph, 3)


@needs_tflm
@pytest.mark.parametrize("number", range(6))
def test_tflite_micro_rolls_out_as_the_reference(number):
    _, graph, model, seeds = drawn(number)
    codes = simulate.encode(graph, seeds)
    expected, got = simulate.integer_rollout(graph, codes, 20), runtimes.rollout_in("tflm", model, graph, codes, 20)
    np.testing.assert_array_equal(got.outputs, expected.outputs)
    np.testing.assert_array_equal(got.state_hashes, expected.state_hashes)
    assert got.source == "tflm"


def test_litert_stays_near_the_reference():
    differences, sizes = [], []
    for number in range(12):
        _, graph, model, seeds = drawn(number)
        codes = simulate.encode(graph, seeds)
        expected = simulate.decode(graph, simulate.integer_rollout(graph, codes, 50).outputs)
        rollout = runtimes.rollout_in("litert", model, graph, codes, 50)
        differences.append(float(np.sqrt(np.square(simulate.decode(graph, rollout.outputs) - expected).mean())))
        sizes.append(float(np.sqrt(np.square(expected).mean())))
        assert rollout.source == "litert"
        assert rollout.outputs.dtype == np.int8
    assert np.median(np.array(differences) / np.array(sizes)) < 0.05


def test_litert_is_quiet(capfd):
    _, _, model, _ = drawn(1)
    runtimes.litert_step(model)
    assert capfd.readouterr() == ("", "")


def test_another_environment_computes_the_same():
    _, graph, model, seeds = drawn(1)
    codes = simulate.encode(graph, seeds)
    there = runtimes.rollout_in_environment(Path(sys.executable), model, codes, 10)
    np.testing.assert_array_equal(there.outputs, runtimes.rollout_in("litert", model, graph, codes, 10).outputs)
    assert there.source.startswith("ai_edge_litert ")


#: Made by tools/setup where tflite-runtime has a wheel (Python 3.11 and older): it needs numpy < 2, so it stays apart.
TFLITE_RUNTIME = Path(__file__).parent.parent / ".venv-tflite-runtime" / "bin" / "python"


@pytest.mark.parametrize("python", [TFLITE_RUNTIME] if TFLITE_RUNTIME.exists() else [])
@pytest.mark.parametrize("number", range(6))
def test_tflite_runtime_runs_the_file_within_a_few_codes(python, number):
    """One step from the seeds, in each recurrence and at both widths: its rounding differs, the file does not."""
    _, graph, model, seeds = drawn(number)
    codes = simulate.encode(graph, seeds)
    there = runtimes.rollout_in_environment(python, model, codes, 1)
    assert there.source.startswith("tflite_runtime ")
    here = simulate.integer_rollout(graph, codes, 1)
    assert np.abs(there.outputs.astype(int) - here.outputs).max() <= 4


@pytest.mark.parametrize("python", [TFLITE_RUNTIME] if TFLITE_RUNTIME.exists() else [])
@pytest.mark.parametrize("number", range(6))
def test_tflite_runtime_runs_int16_activations_within_a_few_codes(python, number):
    rng = np.random.default_rng([32, number])
    graph = quantized16(rng, random_graph(rng, KINDS[number % len(KINDS)]), (8,))
    codes = simulate.encode(graph, random_seeds(rng, graph, 3))
    there = runtimes.rollout_in_environment(python, tflite_model.write(graph, METADATA), codes, 1)
    here = simulate.integer_rollout(graph, codes, 1)
    assert there.outputs.dtype == np.int16
    assert np.abs(there.outputs.astype(int) - here.outputs).max() <= 16


@pytest.mark.parametrize("python", [TFLITE_RUNTIME] if TFLITE_RUNTIME.exists() else [])
def test_tflite_runtime_refuses_int16_activations_with_int4_weights(python):
    rng = np.random.default_rng(33)
    graph = quantized16(rng, random_graph(rng, "mlp"), (4,))
    codes = simulate.encode(graph, random_seeds(rng, graph, 1))
    with pytest.raises(ToolError, match="kTfLiteInt8"):
        runtimes.rollout_in_environment(python, tflite_model.write(graph, METADATA), codes, 1)


@pytest.mark.parametrize("number", [0, 1, 2, 4])
def test_the_stand_alone_loop_is_the_closed_loop(number):
    """Its few lines against rollout.closed_loop, in every recurrence, with a call that the reference computes."""
    from edge_tqs.quantization import rollout_program as tflite_rollout

    _, graph, model, seeds = drawn(number)
    codes, step = simulate.encode(graph, seeds), simulate.integer_step(graph)

    class Runner:
        def get_input_details(self):
            names = {"x": graph.input} | {state.name: state.input for state in graph.states}
            return {
                name: {"shape": graph.tensors[t].shape, "quantization": (1.0, graph.tensors[t].quant.zero_point)}
                for name, t in names.items()
            }

        def get_output_details(self):
            return {"y": {"quantization": (1.0, graph.tensors[graph.output].quant.zero_point)}}

        def __call__(self, x, **states):
            y, following = step(x, tuple(states[state.name] for state in graph.states))
            return {"y": y} | dict(zip((state.name for state in graph.states), following, strict=True))

    metadata = tflite_rollout.read_metadata(model)
    got = np.stack([tflite_rollout.roll(Runner(), metadata, seed, 15) for seed in codes])
    np.testing.assert_array_equal(got, simulate.integer_rollout(graph, codes, 15).outputs)


def test_the_stand_alone_loop_covers_every_recurrence():
    assert {drawn(number)[1].forecast.recurrence for number in (0, 1, 2, 4)} == {"none", "windowed", "stateful"}


@pytest.mark.parametrize(
    ("module", "step", "command"),
    [
        ("tflite_micro.python.tflite_micro", runtimes.tflm_step, "pip install --pre tflite-micro"),
        ("ai_edge_litert.interpreter", runtimes.litert_step, "pip install ai-edge-litert"),
    ],
)
def test_a_missing_package_is_named_with_its_command(module, step, command, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ToolError, match="is not installed") as error:
        step(b"")
    assert command in error.value.hint


def test_a_python_that_does_not_exist_is_said_so(tmp_path):
    _, _, model, seeds = drawn(0)
    with pytest.raises(ToolError, match="cannot run the model"):
        runtimes.rollout_in_environment(tmp_path / "python", model, seeds.astype(np.int8), 1)


def test_a_failure_in_the_other_environment_is_reported_in_one_line():
    with pytest.raises(ToolError, match="cannot run the model: ") as error:
        runtimes.rollout_in_environment(Path(sys.executable), b"no model", np.zeros((1, 1, 1), np.int8), 1)
    assert "\n" not in error.value.message
    assert "tflite-runtime==2.14.0" in error.value.hint


def test_the_reference_is_near_the_float_model():
    graph, integer, _, seeds = drawn(0)
    exact = interpret.float_rollout(graph, seeds, 3).outputs
    codes = simulate.integer_rollout(integer, simulate.encode(integer, seeds), 3).outputs
    assert np.abs(simulate.decode(integer, codes) - exact).max() < 0.5 * np.abs(exact).max()


def test_a_linux_bundle_says_where_litert_drifts():
    """Drawn models, both sorts: the ratio is worked out here anew, from LiteRT's codes."""
    drifts = {}
    for number in (1, 6, 11, 22):
        rng = np.random.default_rng([77, number])
        graph = random_graph(rng, KINDS[number % len(KINDS)])
        seeds = random_seeds(rng, graph, 4)
        integer = quantize(graph, dict.fromkeys(graph.weights(), 8), calibrate(graph, seeds, 48))
        model = tflite_model.write(integer, METADATA)
        evaluation = evaluate.evaluate(graph, {"mixed": integer}, seeds, None, 48, [])
        found = evaluate.in_runtimes(model, integer, ("litert",), evaluation, [], lambda *_: None)
        codes = simulate.encode(integer, seeds[:2])
        said = simulate.decode(integer, runtimes.rollout_in("litert", model, integer, codes, 48).outputs)
        floats, reference = evaluation.outputs["float"][:2], evaluation.outputs["mixed"][:2]
        drifts[number] = np.sqrt(np.square(said - floats).mean() / np.square(reference - floats).mean())
        assert found.tflm_exact is None
        assert found.litert_drift == pytest.approx(drifts[number])
        assert bool(found.warnings()) == (drifts[number] > 1.25)
    assert min(drifts.values()) < 1.25 < max(drifts.values())
