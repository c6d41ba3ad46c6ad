"""The milliseconds of one evaluation on a board: instructions under the core's timings, and waits for its flash."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edge_tqs.boards.board import Board, FlashTiming
from edge_tqs.boards.timing import cortex_m0plus, cortex_m3, cortex_m4, cortex_m7
from edge_tqs.boards.timing.core import CoreModel
from edge_tqs.boards.timing.counting import Traffic, count

MODELS: dict[str, CoreModel] = {
    item.core: item for item in (cortex_m0plus.MODEL, cortex_m3.MODEL, cortex_m4.MODEL, cortex_m7.MODEL)
}


#: How far waits for the flash may be off, as a share: what else runs between two evaluations changes what caches hold.
WAIT_BAND = 0.5


@dataclass(frozen=True)
class OperatorTime:
    """Of one operator in one evaluation. tensor: what it writes, "" of what belongs to none; kind: of graph.ops."""

    tensor: str
    kind: str
    instructions: int
    cycles: float


@dataclass(frozen=True)
class Modelled:
    """Of one evaluation. hz: of the core. band: as a share. source: of the core's timings. operators: without those
    that took nothing."""

    instructions: int
    cycles: float
    hz: int
    band: float
    source: str
    operators: tuple[OperatorTime, ...]

    @property
    def milliseconds(self) -> float:
        return 1e3 * self.cycles / self.hz


def model_of(board: Board) -> CoreModel | None:
    """The model of the board's core; None where there is none, or the board's flash is not known."""
    return MODELS.get(board.core) if board.flash_timing is not None else None


def modelled(board: Board, folder: Path) -> Modelled | None:
    """Of the firmware that was compiled in ``folder``, no probe build; None where the board has no model.

    Raises ToolError where instructions cannot be counted.
    """
    core, timing = model_of(board), board.flash_timing
    if core is None or timing is None:
        return None
    segments = [item for item in count(board, folder, timing) if item.executed]
    computing = [core.cycles(item) for item in segments]
    waiting = [waits(item.traffic, timing) for item in segments]
    cycles = sum(computing) + sum(waiting)
    return Modelled(
        sum(item.instructions for item in segments),
        cycles,
        board.clock_hz,
        (core.band * sum(computing) + WAIT_BAND * sum(waiting)) / cycles,
        core.source,
        tuple(
            OperatorTime(item.tensor, item.kind, item.instructions, own + wait)
            for item, own, wait in zip(segments, computing, waiting, strict=True)
        ),
    )


def waits(traffic: Traffic, timing: FlashTiming) -> float:
    """Cycles that the core waits for its flash."""
    # What is read ahead has begun when the last line is through: half of its wait is left.
    following = 0.5 if timing.prefetch else 1.0
    return timing.wait_states * (traffic.data_misses + traffic.code_misses + following * traffic.next_misses)
