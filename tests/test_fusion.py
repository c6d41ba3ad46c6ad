"""Sums fused with the tables that they are looked up in: where that keeps the bits, and only there."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edge_tqs.emit_c.emit import emit
from edge_tqs.emit_c.fusion import fusions
from edge_tqs.emit_c.memory import MemoryPlan, Place, is_view, plan_memory
from edge_tqs.emit_c.tables import kernel_of
from edge_tqs.graph.graph import Forecast, Graph, Op, Quant, Tensor

CORE = "cortex-m4"


def cell(*, reads_sum: bool = False) -> Graph:
    """x -> a, b (tables) -> sum -> split -> logistic and tanh of its halves -> their product, y of two channels."""
    sizes = {"x": 4, "a": 4, "b": 4, "z": 4, "z0": 2, "z1": 2, "s": 2, "t": 2, "y": 2}
    scales = dict.fromkeys(sizes, 0.03) | {"s": 1 / 256, "t": 1 / 128}
    tensors = {
        name: Tensor(name, (1, size), "int8", None, Quant(np.array([scales[name]], np.float32), -128 * (name == "s")))
        for name, size in sizes.items()
    }
    ops = (
        Op("tanh", ("x",), ("a",)),
        Op("logistic", ("x",), ("b",)),
        Op("add", ("a", "b"), ("z",)),
        Op("split", ("z",), ("z0", "z1"), {"parts": 2}),
        Op("logistic", ("z0",), ("s",)),
        Op("tanh", ("z0" if reads_sum else "z1",), ("t",)),
        Op("mul", ("s", "z1" if reads_sum else "t"), ("y",)),
    )
    tensors["a"], tensors["b"] = (replace(tensors[n], quant=Quant(np.array([1 / 128], np.float32))) for n in "ab")
    tensors["b"] = replace(tensors["b"], quant=Quant(np.array([1 / 256], np.float32), -128))
    return Graph("cell", tensors, ops, "x", "y", (), Forecast(2, 2, "none", (0, 1)))


def planned(graph: Graph, core: str = CORE) -> tuple[MemoryPlan, dict]:
    kernels = {i: kernel_of(graph, op, core) for i, op in enumerate(graph.ops) if not is_view(graph, op)}
    return plan_memory(graph), kernels


@pytest.mark.parametrize(("core", "form"), [(CORE, "arm"), ("cortex-m55", "mve")])
def test_the_halves_of_a_sum_are_fused_with_their_tables(core: str, form: str) -> None:
    plan, kernels = planned(cell(), core)
    found = fusions(cell(), plan, kernels)
    assert {index: (fusion.first, fusion.begin, fusion.kernel.name) for index, fusion in found.items()} == {
        4: (2, 0, f"tqs_sum_lut_s8_{form}"),
        5: (2, 2, f"tqs_sum_lut_s8_{form}"),
    }
    sources = emit(cell(), "0" * 64, "cell", core).kernels
    assert f"kernels/arm/tqs_sum_lut_s8_{form}.c" in sources
    assert f"kernels/arm/tqs_sum_s8_{form}.c" not in sources


def test_a_sum_that_anything_else_reads_is_computed_for_itself() -> None:
    graph = cell(reads_sum=True)
    assert fusions(graph, *planned(graph)) == {}
    shown = replace(cell(), output="z1")
    assert fusions(shown, *planned(shown)) == {}, "a part of the sum is the forecast"


def test_a_sum_whose_operands_are_written_over_before_its_lookup_is_computed_for_itself() -> None:
    graph = cell()
    plan, kernels = planned(graph)
    places = {**plan.places, "a": Place("arena", 0, 4), "b": Place("arena", 8, 4), "s": Place("arena", 2, 2)}
    over_the_second_half = replace(plan, places={**places, "t": Place("arena", 16, 2)})
    assert fusions(graph, over_the_second_half, kernels) == {}
    in_place = replace(plan, places={**places, "s": Place("arena", 0, 2), "t": Place("arena", 2, 2)})
    assert set(fusions(graph, in_place, kernels)) == {4, 5}
    scratch = replace(in_place, scratch={5: 8})
    kernels[5] = replace(kernels[5], scratch=1)
    assert fusions(graph, scratch, kernels) == {}


def test_the_portable_kernels_are_never_fused() -> None:
    plan, kernels = planned(cell(), "host")
    assert fusions(cell(), plan, kernels) == {}
    assert "sum_lut" not in emit(cell(), "0" * 64, "cell").files["model.c"]
