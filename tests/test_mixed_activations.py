"""Graphs of int8 and int16 activations: the same bits in the reference, in tflite-micro and in the generated C."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from c_library import Forecaster
from graphs import KINDS, METADATA, attention_graph, needs_tflm, random_codes, random_graph, random_seeds
from test_c_against_tflm import compare
from test_runtimes import TFLITE_RUNTIME
from whole_way import HORIZON, check_on_board, seeds_of, written

from edge_tqs.building.selection.room import ram_of
from edge_tqs.building.selection.widening import costs_on
from edge_tqs.emit_c.emit import as_computed, memory_plan
from edge_tqs.emit_c.instructions import instructions
from edge_tqs.errors import ModelError, ToolError
from edge_tqs.flatbuffer import model as tflite_model
from edge_tqs.graph.graph import Graph
from edge_tqs.quantization import runtimes, simulate, support, wide_search
from edge_tqs.quantization.calibration import Ranges, calibrate
from edge_tqs.quantization.families import Family
from edge_tqs.quantization.judges import Judges
from edge_tqs.quantization.quantize import quantize, shared_quants

ENDS = ("loop", "state", "output")


def mixed(number: int) -> tuple[Graph, np.ndarray, Graph]:
    """(float graph, seeds (4, W, F), the integer graph, every other family of it int16 at random)"""
    rng = np.random.default_rng([77, number])
    graph = random_graph(rng, KINDS[number % len(KINDS)])
    seeds = random_seeds(rng, graph, 4)
    ranges = calibrate(graph, seeds, 8)
    wide = chosen(rng, list(shared_quants(graph, ranges).quants), ends=number % 2 == 1)
    return graph, seeds, quantize(graph, dict.fromkeys(graph.weights(), 8), ranges, wide=wide)


def chosen(rng: np.random.Generator, families: list[Family], *, ends: bool) -> set[Family]:
    """Half of the inner families; x, y and the states all, or none."""
    return {family for family in families if (ends if family[0] in ENDS else rng.random() < 0.5)}


@needs_tflm
@pytest.mark.parametrize("number", range(12))
def test_tflite_micro_computes_what_the_reference_computes(number: int) -> None:
    _, seeds, graph = mixed(number)
    codes, model = simulate.encode(graph, seeds), tflite_model.write(graph, METADATA)
    expected = simulate.integer_rollout(graph, codes, 12).outputs
    np.testing.assert_array_equal(runtimes.rollout_in("tflm", model, graph, codes, 12).outputs, expected)
    again, _ = tflite_model.read(model)
    np.testing.assert_array_equal(simulate.integer_rollout(again, codes, 12).outputs, expected)
    assert tflite_model.write(again, METADATA) == model


@needs_tflm
@pytest.mark.parametrize("number", range(8))
def test_the_generated_c_computes_what_tflite_micro_computes(number: int, tmp_path: Path) -> None:
    _, _, graph = mixed(number)
    assert {graph.tensors[name].dtype for op in graph.ops for name in op.outputs} == {"int8", "int16"}
    step = runtimes.tflm_step(tflite_model.write(graph, METADATA))
    forecaster = Forecaster(graph, tmp_path)
    seeds = random_codes(np.random.default_rng(number), graph, (4, graph.forecast.window, graph.forecast.channels))
    assert sum(compare(graph, forecaster, step, seed, 25) for seed in seeds) == 100


@needs_tflm
def test_a_product_that_writes_int16_codes_reads_int8_ones_as_they_are(tmp_path: Path) -> None:
    """Only in C: the file converts them, to the same codes less their zero point."""
    rng = np.random.default_rng(4)
    graph = attention_graph(rng)
    ranges = calibrate(graph, random_seeds(rng, graph, 4), 8)
    wide = {shared_quants(graph, ranges).families["mixed"]}
    made = quantize(graph, dict.fromkeys(graph.weights(), 8), ranges, wide=wide)
    product = next(op for op in made.ops if "mixed" in op.outputs)
    assert product.inputs == ("weights/int16", "x/int16")
    computed = as_computed(made, "cortex-m4")
    assert next(op for op in computed.ops if "mixed" in op.outputs).inputs == ("weights", "x")
    assert "weights/int16" not in computed.tensors
    assert as_computed(made, "cortex-a72") is made
    step, forecaster = runtimes.tflm_step(tflite_model.write(made, METADATA)), Forecaster(made, tmp_path)
    seeds = random_codes(rng, made, (4, made.forecast.window, made.forecast.channels))
    assert sum(compare(made, forecaster, step, seed, 25) for seed in seeds) == 100


def test_litert_stays_within_a_few_codes() -> None:
    for number in range(4):
        _, seeds, graph = mixed(number)
        codes, model = simulate.encode(graph, seeds), tflite_model.write(graph, METADATA)
        expected = simulate.integer_rollout(graph, codes, 1).outputs
        found = runtimes.rollout_in("litert", model, graph, codes, 1).outputs
        # int8 codes on the way to int16 ones of y are 1/256 of a range, 64 of y's codes, apart
        most = 4 if graph.activations == "int8" else 4 * 64
        assert np.abs(found.astype(int) - expected).max() <= most


@pytest.mark.parametrize("python", [TFLITE_RUNTIME] if TFLITE_RUNTIME.exists() else [])
def test_tflite_runtime_refuses_what_the_table_says_it_refuses(python: Path) -> None:
    _, seeds, graph = mixed(0)
    assert support.runtimes_of(graph) == ("litert", "tflm", "c")
    (said,) = support.limits(graph)
    assert said.startswith("model.tflite does not run in tflite-runtime: QUANTIZE")
    model = tflite_model.write(graph, METADATA)
    with pytest.raises(ToolError, match=r"(?i)quantize"):
        runtimes.rollout_in_environment(python, model, simulate.encode(graph, seeds), 1)


@pytest.mark.emulated
@pytest.mark.parametrize("number", [0, 1])
def test_a_board_computes_what_the_reference_computes(number: int, tmp_path: Path) -> None:
    check_on_board("qemu-mps2-an386", written(mixed(number)[2], tmp_path))


# --- the search -------------------------------------------------------------------------------------------------------


Made = tuple[Graph, Ranges, Callable[[frozenset[Family]], Graph]]


def searched(kind: str, seed: int) -> Made:
    """A float graph, the ranges of 64 windows of waves, and what quantises it."""
    graph = random_graph(np.random.default_rng(seed), kind)
    ranges = calibrate(graph, seeds_of(graph, 64, 1), HORIZON)
    widths = dict.fromkeys(graph.weights(), 8)
    return graph, ranges, lambda wide: quantize(graph, widths, ranges, wide=wide)


@pytest.mark.parametrize(("kind", "seed"), [("gru", 3), ("lstm", 2)])
def test_roundings_add_up_to_what_several_do(kind: str, seed: int) -> None:
    """Against the integer graphs, which share no arithmetic with the rollouts of one rounding each."""
    graph, ranges, make = searched(kind, seed)
    assert ranges.kept is not None
    shared = shared_quants(graph, ranges)
    units = wide_search._units(shared)
    found = wide_search.damages(graph, shared, units, ranges, 1)
    judges = Judges(graph, ranges.kept, 1e4, 1, deep=True)

    def outputs(wide: frozenset[int]) -> np.ndarray:
        made = make(found.families(wide))
        return simulate.decode(made, simulate.integer_rollout(made, simulate.encode(made, judges.seeds), 1).outputs)

    exact = outputs(frozenset(range(len(units))))

    def measured(wide: frozenset[int]) -> float:
        return float(np.square((outputs(wide) - exact) / judges.units).mean())

    rng, shares = np.random.default_rng(3), list[float]()
    for _ in range(6):
        wide = frozenset(int(unit) for unit in np.flatnonzero(rng.random(len(units)) < 0.6))
        shares.append(measured(wide) / measured(frozenset()))
        assert abs(found.of(wide) / found.of(frozenset()) - shares[-1]) <= 0.05 + 0.3 * shares[-1]
    assert max(shares) > 3 * min(shares)


def test_a_choice_costs_no_more_than_it_may_and_wins_what_it_says() -> None:
    graph, ranges, make = searched("tcn", 9)
    plain, shared = make(frozenset()), shared_quants(graph, ranges)
    found = []
    for limits in ((1.3, 1.6), (9.0, 9.0)):
        widened = wide_search.widened(graph, make, ranges, HORIZON, costs_on("dsp"), [limits])
        made = make(wide_search.families_of(shared, widened.names))
        assert wide_search.names_of(shared, wide_search.families_of(shared, widened.names)) == widened.names
        ram = ram_of(made, memory_plan(made, "dsp")) / ram_of(plain, memory_plan(plain, "dsp"))
        assert ram == pytest.approx(widened.ram)  # of the graph itself, not of its likeness
        assert instructions(as_computed(made, "dsp"), "dsp") / instructions(plain, "dsp") == pytest.approx(
            widened.instructions, rel=0.02
        )
        assert widened.ram <= limits[0]
        assert widened.instructions <= limits[1]
        found.append(widened)
    assert found[1].closed > 0.9
    assert found[0].units < found[1].units
    both = wide_search.widened(graph, make, ranges, HORIZON, costs_on("dsp"), [(1.3, 1.6), (9.0, 9.0)])
    assert both == found[1]  # the first is not enough
    with pytest.raises(ModelError, match="wins anything"):
        wide_search.widened(graph, make, ranges, HORIZON, costs_on("dsp"), [(0.5, 0.5)])
