"""A limit on the modelled time of an evaluation: a choice beyond it is not taken."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from edge_tqs.boards.board import Board
from edge_tqs.boards.timing.modelled import model_of, modelled
from edge_tqs.building.selection.candidate import Candidate, Selection
from edge_tqs.building.selection.flash_room import ANY_HASH, linked, roomy
from edge_tqs.errors import UsageError


def within_latency(
    selection: Selection, limit: float, board: Board | None, more: Callable[[], Iterable[Candidate]]
) -> Selection:
    """``selection`` where its choice is modelled to take ``limit`` ms at most; else the most accurate of ``more`` that
    does. Raises UsageError where none does, or the board has no model of its time; ToolError as `modelled`."""
    time = _milliseconds(selection.chosen, board)
    if time <= limit:
        return replace(selection, why=_with(selection.why, time, limit))
    timed = [(selection.chosen, time)]
    timed += [(item, _milliseconds(item, board)) for item in more() if item.fits and not item.same(selection.chosen)]
    able = [pair for pair in timed if pair[1] <= limit]
    if not able:
        fastest, least = min(timed, key=lambda pair: pair[1])
        how = f"{fastest.activations} activations, {fastest.narrow} of {len(fastest.plan.tensors)} weights int4"
        raise UsageError(
            f"--latency {limit:g} ms cannot be kept: the fastest that was tried takes {least:.3g} ms, modelled ({how})",
            hint="Give a longer --latency, a smaller or streamed model, or a faster board (`edge-tqs boards`).",
        )
    chosen, time = min(able, key=lambda pair: pair[0].error)
    kept = [item for item in selection.others if not item.same(chosen)]
    first = replace(selection.chosen, option="no --latency")
    return replace(
        selection, chosen=replace(chosen, option=""), others=(first, *kept), why=_with(selection.why, time, limit)
    )


def _milliseconds(item: Candidate, board: Board | None) -> float:
    found = None
    if board is not None and model_of(board) is not None:
        with linked(item.integer, roomy(board), ANY_HASH) as (folder, _):
            found = modelled(board, folder)
    if found is None:
        where = "without a board" if board is None else f"for {board.name}"
        raise UsageError(
            f"--latency: no time is modelled {where}",
            hint="`edge-tqs boards` says which boards have a model; on others `validate` measures.",
        )
    return found.milliseconds


def _with(why: str, time: float, limit: float) -> str:
    said = f"{time:.3g} ms modelled, within --latency {limit:g} ms"
    return f"{why}; {said}" if why else said
