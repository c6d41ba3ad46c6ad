"""Whether an integer graph fits its board: told from its tables and its arena, or linked where that is close."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edge_tqs.boards.board import Board
from edge_tqs.building.selection.flash_room import ANY_HASH, link, roomy
from edge_tqs.emit_c.emit import emit, memory_plan
from edge_tqs.emit_c.memory import MemoryPlan
from edge_tqs.graph.graph import CODE_TYPES, Graph
from edge_tqs.planning.plan import Plan
from edge_tqs.quantization.calibration import nominal_ranges
from edge_tqs.quantization.quantize import Activations, quantize

#: More than the code of any image, and than its buffers and stack frames beside what the model keeps, in bytes.
CODE_BYTES, BUFFER_BYTES = 48 * 1024, 8 * 1024


@dataclass(frozen=True)
class Needs:
    """What a model needs of a board. tables: bytes of flash beside the code; ram: of its arena, states and window."""

    tables: int
    ram: int


def needs(graph: Graph, board: Board) -> Needs:
    """What an integer ``graph`` needs of a microcontroller, code and buffers apart."""
    made, memory = emit(graph, ANY_HASH, graph.name, board.core), memory_plan(graph, board.core)
    return Needs(made.table_bytes, ram_of(graph, memory))


def ram_of(graph: Graph, memory: MemoryPlan) -> int:
    """Bytes of the arena, the states and the window of a ``graph`` whose activations have types of codes."""
    forecast, code = graph.forecast, CODE_TYPES[graph.activations].itemsize
    history = 0 if forecast.recurrence == "stateful" else 2 * code * forecast.window * forecast.channels
    return memory.arena_size + 2 * memory.state_size + history


def tables_of(graph: Graph, plans: Sequence[Plan], board: Board, activations: Activations) -> dict[str, int]:
    """Bytes of flash beside the code, by the assignment of each of ``plans`` of a float ``graph``; as they are emitted.

    They depend on the widths alone, so that no ranges are needed.
    """
    ranges = nominal_ranges(graph)
    known: dict[tuple[int, ...], int] = {}
    found = {}
    for plan in plans:
        widths = plan.widths()
        key = tuple(widths.values())
        if key not in known:
            known[key] = needs(quantize(graph, widths, ranges, activations=activations), board).tables
        found[plan.assignment] = known[key]
    return found


def fits(graph: Graph, board: Board, known: Needs) -> tuple[bool, bool]:
    """Whether flash and RAM of ``board`` have room for an integer ``graph``. Raises ToolError without its compiler."""
    if board.flash is None or board.ram is None:
        return True, True
    flash, ram, stack = board.flash.size_bytes, board.ram.size_bytes, board.stack_bytes or 0
    if known.tables + CODE_BYTES <= flash and known.ram + BUFFER_BYTES + stack <= ram:
        return True, True
    image = link(graph, roomy(board), ANY_HASH)
    return image.flash_bytes <= flash, image.ram_bytes + (image.stack or 0) <= ram
