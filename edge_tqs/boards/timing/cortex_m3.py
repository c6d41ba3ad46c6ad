"""Cortex-M3: long multiplications take several cycles, by their operands (Arm DDI 0337E, table 18-1)."""

from __future__ import annotations

from edge_tqs.boards.timing import armv7m
from edge_tqs.boards.timing.core import CoreModel
from edge_tqs.boards.timing.counting import Segment
from edge_tqs.boards.timing.thumb import Kind

SOURCE = "Cortex-M3 TRM (Arm DDI 0337E), 18.2"
_CYCLES = {
    Kind.MULTIPLY_ADD: 2,
    Kind.LONG_MULTIPLY: 4,  # 3 to 5, by the operands' size: the middle, as the next
    Kind.LONG_MULTIPLY_ADD: 5,  # 4 to 7
}


def cycles(segment: Segment) -> float:
    """Cycles of a segment, memories without wait states."""
    return armv7m.cycles(segment, _CYCLES)


MODEL = CoreModel("cortex-m3", SOURCE, 0.25, cycles)
