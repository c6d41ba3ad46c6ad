"""Sums whose codes are looked up in a table, which one call computes: the sums never leave the registers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edge_tqs.emit_c.memory import WORD, MemoryPlan, Place, view_begin
from edge_tqs.emit_c.tables import Kernel
from edge_tqs.graph.graph import Graph

#: kernel of a sum -> (of a lookup, of both)
FUSED_KERNELS = {
    "tqs_sum_s8_arm": ("tqs_lut_s8_arm", "tqs_sum_lut_s8_arm"),
    "tqs_sum_s8_mve": ("tqs_lut_s8_mve", "tqs_sum_lut_s8_mve"),
}


@dataclass(frozen=True)
class Fusion:
    """The call for a lookup and the sum, operator ``first``, whose codes from ``begin`` on it looks up."""

    first: int
    begin: int
    kernel: Kernel


@dataclass(frozen=True)
class _Reader:
    """Operator ``index`` reads ``size`` codes of a tensor from ``begin`` on."""

    index: int
    begin: int
    size: int


def fusions(graph: Graph, plan: MemoryPlan, kernels: Mapping[int, Kernel]) -> dict[int, Fusion]:
    """Index of a lookup -> its fusion with a sum.

    All that read the sum must be such lookups, in parts as a gate's or whole, and the operands of the sum must still be
    there when the lookups run.
    """
    found: dict[int, Fusion] = {}
    kept = {graph.output, *(state.output for state in graph.states)}
    for first, kernel in kernels.items():
        if kernel.name not in FUSED_KERNELS or kernel.turns != 1:
            continue
        lookup, name = FUSED_KERNELS[kernel.name]
        readers = _readers(graph, graph.ops[first].outputs[0], kept) or []
        if all(
            kernels[reader.index].name == lookup and _operands_stay(graph, plan, kernels, first, reader)
            for reader in readers
        ):
            fused = Kernel(name, (f"kernels/arm/{name}.c",))
            found |= {reader.index: Fusion(first, reader.begin, fused) for reader in readers}
    return found


def _readers(graph: Graph, name: str, kept: set[str], begin: int = 0) -> list[_Reader] | None:
    """The operators that read ``name`` or a view of it; None if the caller or the next step reads one of them."""
    if name in kept:
        return None
    found = []
    for index, op in enumerate(graph.ops):
        if name not in op.inputs:
            continue
        view = view_begin(graph, op)
        if view is None:
            found.append(_Reader(index, begin, graph.tensors[name].size))
            continue
        offset = begin + view
        for output in op.outputs:
            parts = _readers(graph, output, kept, offset)
            if parts is None:
                return None
            found += parts
            offset += graph.tensors[output].size
    return found


def _operands_stay(graph: Graph, plan: MemoryPlan, kernels: Mapping[int, Kernel], first: int, reader: _Reader) -> bool:
    """Whether nothing is written over what ``reader`` needs of the sum's operands before it runs.

    The memory plan frees them after the sum. The reader itself may write over them in place.
    """
    needed = [
        Place(place.region, place.offset + reader.begin, reader.size)
        for place in (plan.places[name] for name in graph.ops[first].inputs if name in plan.places)
    ]
    for index in range(first + 1, reader.index + 1):
        if index not in kernels:
            continue
        written = [plan.places[graph.ops[index].outputs[0]]]
        if index in plan.scratch:
            size = WORD * (kernels[index].scratch + kernels[index].taps)
            written.append(Place("arena", plan.scratch[index], size))
        for place in written:
            if any(_meet(place, part) and (index, place) != (reader.index, part) for part in needed):
                return False
    return True


def _meet(one: Place, two: Place) -> bool:
    return one.region == two.region and one.offset < two.offset + two.size and two.offset < one.offset + one.size
