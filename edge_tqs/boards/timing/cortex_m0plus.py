"""Cortex-M0+: two stages, one instruction at a time ("Cortex-M0+ Technical Reference Manual" r0p1, Arm DDI 0484C,
table 3-1).

The multiplier is the one that takes a cycle; the one of 32 cycles is in no part that is shipped here.
"""

from __future__ import annotations

from edge_tqs.boards.timing.core import CoreModel
from edge_tqs.boards.timing.counting import Executed, Segment
from edge_tqs.boards.timing.thumb import Kind

SOURCE = "Cortex-M0+ TRM (Arm DDI 0484C), table 3-1"
_CYCLES = {
    Kind.LOAD: 2,
    Kind.STORE: 2,
    Kind.CALL: 3,
    Kind.BRANCH_REGISTER: 2,
    Kind.CALL_REGISTER: 2,
    Kind.BARRIER: 3,
    Kind.SYSTEM: 3,
}


def _of(item: Executed) -> float:
    kind, what = item.instruction.kind, item.instruction
    if kind in (Kind.LOAD_MULTIPLE, Kind.STORE_MULTIPLE):
        return item.runs * ((3 if what.loads_pc else 1) + what.count)
    if kind is Kind.BRANCH:
        return item.runs + item.leaves  # 1, and 2 where it is taken
    return item.runs * _CYCLES.get(kind, 1)


def cycles(segment: Segment) -> float:
    """Cycles of a segment, memories without wait states."""
    return sum(map(_of, segment.executed))


MODEL = CoreModel("cortex-m0plus", SOURCE, 0.25, cycles)
