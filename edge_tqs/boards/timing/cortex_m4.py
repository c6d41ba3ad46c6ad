"""Cortex-M4: every multiplication takes one cycle (Arm DDI 0439, table 3-1)."""

from __future__ import annotations

from edge_tqs.boards.timing import armv7m
from edge_tqs.boards.timing.core import CoreModel
from edge_tqs.boards.timing.counting import Segment

SOURCE = "Cortex-M4 TRM (Arm DDI 0439), 3.3"


def cycles(segment: Segment) -> float:
    """Cycles of a segment, memories without wait states."""
    return armv7m.cycles(segment, {})


MODEL = CoreModel("cortex-m4", SOURCE, 0.20, cycles)
