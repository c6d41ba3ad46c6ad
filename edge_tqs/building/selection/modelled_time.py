"""The milliseconds of a compiled firmware, as a report says them."""

from __future__ import annotations

from pathlib import Path

from edge_tqs.boards.board import Board
from edge_tqs.boards.timing.modelled import modelled
from edge_tqs.errors import ToolError
from edge_tqs.report.modelled_time import ModelledTime, OperatorShare


def modelled_time(board: Board, folder: Path, steps: int) -> ModelledTime | None:
    """Of the firmware in ``folder``, an evaluation of which predicts ``steps`` samples; None where the board has no
    model of its time. Raises ToolError where nothing can be counted."""
    found = modelled(board, folder)
    if found is None:
        return None
    operators = tuple(
        OperatorShare(item.tensor, item.kind, item.instructions, round(item.cycles)) for item in found.operators
    )
    return ModelledTime(
        found.milliseconds,
        round(found.cycles),
        found.instructions,
        found.hz,
        found.band,
        steps,
        found.source,
        operators,
    )


def modelled_or_warned(board: Board, folder: Path, steps: int, warnings: list[str]) -> ModelledTime | None:
    """The same; where nothing can be counted, a warning."""
    try:
        return modelled_time(board, folder, steps)
    except ToolError as error:
        warnings.append(f"No milliseconds are modelled: {error.message}. {error.hint or ''}".rstrip())
        return None
