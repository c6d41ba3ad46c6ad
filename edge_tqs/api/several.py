"""Many models for one board, each a build of its own."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_tqs.api.arguments import StrPath, silent
from edge_tqs.api.steps import Source, build
from edge_tqs.boards.board import Board, load_board
from edge_tqs.building.folder.directory import BuildDir
from edge_tqs.errors import StorageError, TqsError, UsageError
from edge_tqs.progress import Progress


@dataclass(frozen=True, eq=False)
class ModelOutcome:
    """What became of a model file: ``built``, or the ``error`` with its ``hint``, "" where there is none."""

    model: Path
    out: Path
    built: BuildDir | None
    error: str = ""
    hint: str = ""


def build_all(
    models: Sequence[StrPath],
    *,
    board: str | os.PathLike[str] | Board,
    out: StrPath | None = None,
    opened: Callable[[Path], Source] = lambda path: path,
    progress: Progress = silent,
    **settings: Any,
) -> tuple[ModelOutcome, ...]:
    """`build` each model file into a folder of its own; a model that fails does not keep the others from being built.

    Args:
        models: Their files.
        board: As of `build`.
        out: The folder of the folders, which have the names of the files; build/BOARD unless said otherwise.
        opened: How a file is opened; `open_model` with its keywords, for example.
        progress: Called with what is being done; the stage begins with the model's name.
        settings: Further keywords of `build`.

    Raises UsageError for a board that is none and for two files of one name; StorageError where the disk takes no more.
    """
    target = board if isinstance(board, Board) else load_board(board if isinstance(board, str) else Path(board))
    folder = Path("build") / target.name if out is None else Path(out)
    places = [(Path(model), folder / Path(model).stem) for model in models]
    for model, place in places:
        same = [str(other) for other, taken in places if taken == place]
        if len(same) > 1:
            raise UsageError(
                f"{' and '.join(same)} would be built into one folder, {place}",
                hint=f"Build {model} by itself with --out, or give it another name.",
            )
    found = []
    for model, place in places:

        def of_this(stage: str, done: int, total: int, name: str = model.stem) -> None:
            progress(f"{name}: {stage}", done, total)

        try:
            made = build(opened(model), board=target, out=place, progress=of_this, **settings)
            found.append(ModelOutcome(model, place, made))
        except StorageError:
            raise
        except TqsError as error:
            found.append(ModelOutcome(model, place, None, error.message, error.hint))
    return tuple(found)
