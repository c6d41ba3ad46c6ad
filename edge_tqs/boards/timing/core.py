"""What a model of a core is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from edge_tqs.boards.timing.counting import Segment


@dataclass(frozen=True)
class CoreModel:
    """core: as board files name it. source: where its timings are published. band: how far measurements were from it
    at most, as a share, waits for the flash apart (docs/latency.md). cycles: of a segment, with no wait states."""

    core: str
    source: str
    band: float
    cycles: Callable[[Segment], float]
