"""Cortex-M7: no timings are published. It issues up to two instructions a cycle, in order, and predicts branches
("Cortex-M7 Technical Reference Manual", Arm DDI 0489, 1.1), so that an evaluation takes between half a cycle an
instruction, where every two are issued together, and what a Cortex-M4 takes, where none are. The middle is stated, and
the whole range as its band."""

from __future__ import annotations

from edge_tqs.boards.timing import cortex_m4
from edge_tqs.boards.timing.core import CoreModel
from edge_tqs.boards.timing.counting import Segment

SOURCE = "none for Cortex-M7: the middle of two bounds"


def cycles(segment: Segment) -> float:
    """Cycles of a segment, memories without wait states."""
    return (segment.instructions / 2 + cortex_m4.cycles(segment)) / 2


MODEL = CoreModel("cortex-m7", SOURCE, 0.5, cycles)
