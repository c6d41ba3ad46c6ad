"""`edge-tqs build --dry-run`: flash, RAM, stack and modelled time of a firmware before it is built, and whether the
board has room.

The model is read, scored, planned and quantised as for a build, its C is compiled and linked in a temporary folder, for
a board like this one whose memory holds anything, and the sizes are read from that image. So they are those of
the build's image, also where that one would not fit. Nothing is evaluated, and nothing stays on disk.
"""

from __future__ import annotations

from dataclasses import dataclass

from edge_tqs.boards.board import Board, Memory
from edge_tqs.building.choose import PlanRequest
from edge_tqs.building.quantized import quantize_model
from edge_tqs.building.scored import Source
from edge_tqs.building.selection.flash_room import linked, roomy
from edge_tqs.building.selection.modelled_time import modelled_or_warned
from edge_tqs.emit_c.emit import memory_plan
from edge_tqs.errors import UsageError
from edge_tqs.flatbuffer.form import FOR_ALL, FileForm
from edge_tqs.progress import Progress
from edge_tqs.report.modelled_time import ModelledTime


@dataclass(frozen=True)
class Prediction:
    """Bytes that the image takes, and that the board has (None for a Linux board, whose memories are not bounded here).

    flash: code, constants and first values of variables. ram: variables, arena and states among them. stack: kept for
    it; stack_bound: its deepest, one interrupt included, on stack_path. arena, states: of the model. modelled: time of
    an evaluation, None where no timing of the board is known; warnings: why it could not be told.
    """

    board: str
    model: str
    model_hash: str
    flash: int
    flash_size: int | None
    ram: int
    ram_size: int | None
    stack: int | None
    stack_bound: int | None
    stack_path: tuple[str, ...]
    arena: int
    states: int
    modelled: ModelledTime | None = None
    warnings: tuple[str, ...] = ()

    @property
    def shortfalls(self) -> tuple[str, ...]:
        """What does not fit, in words; empty where all does."""
        need = (("flash", self.flash, self.flash_size), ("RAM", self.ram + (self.stack or 0), self.ram_size))
        return tuple(
            f"{taken:,} bytes of {name}, {taken - size:,} more than its {size:,}"
            for name, taken, size in need
            if size is not None and taken > size
        )


def dry_run(
    source: Source, plan_request: PlanRequest, board: Board, progress: Progress, form: FileForm = FOR_ALL
) -> Prediction:
    """What a build would take. Raises as `quantize_model`, and UsageError where the stack may get too deep."""
    quantized = quantize_model(source, plan_request, progress, board, form)
    progress("linking", 0, 1)
    graph = quantized.integer
    warnings: list[str] = []
    with linked(graph, roomy(board), quantized.model_hash) as (folder, image):
        time = modelled_or_warned(board, folder, graph.forecast.steps, warnings)
    plan = memory_plan(graph, board.core)
    return Prediction(
        board=board.name,
        model=graph.name,
        model_hash=quantized.model_hash,
        flash=image.flash_bytes,
        flash_size=_size(board.flash),
        ram=image.ram_bytes,
        ram_size=_size(board.ram),
        stack=image.stack,
        stack_bound=None if image.deepest is None else image.deepest.bytes,
        stack_path=() if image.deepest is None else image.deepest.path,
        arena=plan.arena_size,
        states=plan.state_size,
        modelled=time,
        warnings=tuple(warnings),
    )


def refuse_misfit(prediction: Prediction) -> None:
    """UsageError where the image is too large for its board."""
    if prediction.shortfalls:
        raise UsageError(
            f"{prediction.model} does not fit {prediction.board}: it needs {'; and '.join(prediction.shortfalls)}",
            hint="Give a smaller --budget (or --budget flash), a smaller model, or a larger board (`edge-tqs boards`).",
        )


def _size(memory: Memory | None) -> int | None:
    return None if memory is None else memory.size_bytes
