"""What int16 activations cost among int8 ones, before the graph is made: RAM by the memory plan, and instructions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from edge_tqs.building.selection.room import ram_of
from edge_tqs.emit_c.emit import as_computed, scratch_bytes
from edge_tqs.emit_c.instructions import instructions
from edge_tqs.emit_c.memory import WORD, plan_memory
from edge_tqs.emit_c.tables import kernel_of
from edge_tqs.graph.graph import DType, Graph, Op, Quant
from edge_tqs.quantization.families import Family
from edge_tqs.quantization.quantize import Shared, with_types
from edge_tqs.quantization.wide_search import CostOf, Costs

#: What mixed activations may take of RAM and instructions, over int8 ones; the second where the first is not enough.
LIMITS: tuple[Costs, ...] = ((1.2, 1.2), (1.25, 1.2), (1.25, 1.6))


def costs_on(core: str) -> Callable[[Shared, Graph, Graph], CostOf]:
    """For `wide_search.widened`: what a choice costs on ``core``."""

    def costs(shared: Shared, plain: Graph, whole: Graph) -> CostOf:
        scratch = _scratch(plain, whole, core)

        def absolute(wide: frozenset[Family], exact: bool) -> Costs:
            graph = as_computed(with_types(shared, wide), core)
            needed = {index: scratch.get(_key(graph, op), 0) for index, op in enumerate(graph.ops)}
            memory = plan_memory(graph, needed, thorough=exact)
            # Packing takes a thousand times as long, and most often ends at the bound.
            memory = memory if exact else replace(memory, arena_size=memory.arena_bound)
            return float(ram_of(graph, memory)), instructions(graph, core)

        ram, count = absolute(frozenset(), True)

        def relative(wide: frozenset[Family], exact: bool) -> Costs:
            its_ram, its_count = absolute(wide, exact)
            return its_ram / max(ram, 1.0), its_count / max(count, 1.0)

        return relative

    return costs


#: what an operator writes, and the types that it reads and writes
_Key = tuple[str, DType, DType]


def _key(graph: Graph, op: Op) -> _Key:
    name = op.outputs[0]
    return name, graph.type_of(op), graph.tensors[name].dtype


def _scratch(plain: Graph, whole: Graph, core: str) -> dict[_Key, int]:
    """What kernels need beside the tensors."""
    found = {
        _key(graph, graph.ops[index]): size
        for graph in (plain, whole)
        for index, size in scratch_bytes(graph, core).items()
    }
    for op in plain.ops:
        if op.kind == "batch_matmul":  # of int8 codes to int16 ones
            y, quant = plain.tensors[op.outputs[0]], plain.quant(op.outputs[0])
            wide = plain.with_tensors({y.name: replace(y, dtype="int16", quant=Quant(quant.scale / np.float32(64)))})
            found[_key(wide, op)] = WORD * kernel_of(wide, op, core).scratch
    return found
