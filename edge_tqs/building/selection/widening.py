"""What int16 activations cost among int8 ones, before the graph is made: RAM by the memory plan, and instructions."""

from __future__ import annotations

from collections.abc import Callable

from edge_tqs.building.selection.room import ram_of
from edge_tqs.emit_c.emit import scratch_bytes
from edge_tqs.emit_c.instructions import instructions
from edge_tqs.emit_c.memory import plan_memory
from edge_tqs.graph.graph import Graph
from edge_tqs.quantization.families import Family
from edge_tqs.quantization.quantize import Shared, with_types
from edge_tqs.quantization.wide_search import Costs

#: What mixed activations may take of RAM and instructions, over int8 ones; the second where the first is not enough.
LIMITS: tuple[Costs, ...] = ((1.2, 1.2), (1.25, 1.6))


def costs_on(core: str) -> Callable[[Shared, Graph, Graph], Callable[[frozenset[Family]], Costs]]:
    """For `wide_search.widened`: what a choice costs on ``core``."""

    def costs(shared: Shared, plain: Graph, whole: Graph) -> Callable[[frozenset[Family]], Costs]:
        scratch = {
            (graph.ops[index].outputs[0], graph.type_of(graph.ops[index])): size
            for graph in (plain, whole)
            for index, size in scratch_bytes(graph, core).items()
        }

        def absolute(wide: frozenset[Family]) -> Costs:
            graph = with_types(shared, wide)
            needed = {index: scratch.get((op.outputs[0], graph.type_of(op)), 0) for index, op in enumerate(graph.ops)}
            return float(ram_of(graph, plan_memory(graph, needed))), instructions(graph)

        ram, count = absolute(frozenset())

        def relative(wide: frozenset[Family]) -> Costs:
            its_ram, its_count = absolute(wide)
            return its_ram / max(ram, 1.0), its_count / max(count, 1.0)

        return relative

    return costs
