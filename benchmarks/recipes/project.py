"""A recipe as its user has it: a folder with the model and the CSV, init, a line at most, build, validate."""

from __future__ import annotations

import difflib
import shutil
from dataclasses import dataclass
from pathlib import Path

import edge_tqs
from benchmarks.recipes.recipe import HORIZON, Trained
from edge_tqs.api.steps import init

BOARD = "qemu-mps2-an386"


@dataclass(frozen=True, eq=False)
class Project:
    """What came of it. lines: those of edge-tqs.toml that `init` did not write; error: what refused, or empty.

    steps: that were compared on the board; size: bytes of model.tflite.
    """

    folder: Path
    lines: tuple[str, ...]
    error: str = ""
    size: int = 0
    bit_exact: bool = False
    steps: int = 0

    @property
    def content(self) -> bytes:
        return (self.folder / "build" / BOARD / "model.tflite").read_bytes()


def built(trained: Trained, folder: Path) -> Project:
    """Make the folder, build with every weight at int8, and validate two rollouts on the emulated board."""
    lines = written(trained, folder)
    try:
        model = edge_tqs.open_model(folder, horizon=HORIZON)
        made = edge_tqs.build(model, board=BOARD, bits=8, out=folder / "build" / BOARD)
        checked = edge_tqs.validate(made, rollouts=2, horizon=HORIZON)
    except edge_tqs.TqsError as error:
        return Project(folder, lines, f"{error.message} {error.hint}")
    size = (folder / "build" / BOARD / "model.tflite").stat().st_size
    refused = "" if checked.passed else "; ".join(checked.failures)
    return Project(folder, lines, refused, size, bool(checked.bit_exact), checked.steps)


def written(trained: Trained, folder: Path) -> tuple[str, ...]:
    """Make the folder; the lines of its edge-tqs.toml that `init` did not write."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    trained.model.save(folder / "model.keras")
    trained.series.write(folder / "series.csv", trained.recipe.columns)
    found: list[str] = []
    file = init(folder, say=found.append)
    (folder / "init.txt").write_text("\n".join(found) + "\n", encoding="utf-8")
    begun = file.read_text(encoding="utf-8")
    file.write_text(with_line(begun, trained.recipe.line), encoding="utf-8")
    return added(begun, file.read_text(encoding="utf-8"))


def with_line(text: str, line: tuple[str, str] | None) -> str:
    """``text`` of a project with one line more below the head of its section, in place of one of the same key."""
    if line is None:
        return text
    section, said = line
    key = said.partition("=")[0].strip()
    found, inside = [], False
    for row in text.splitlines():
        inside = row.startswith(f"[{section}]") or (inside and not row.startswith("["))
        if not (inside and row.partition("=")[0].strip() == key):
            found.append(row)
        if row.startswith(f"[{section}]"):
            found.append(said)
    return "\n".join(found) + "\n"


def added(before: str, after: str) -> tuple[str, ...]:
    """The lines of ``after`` that are not in ``before``."""
    rows = difflib.ndiff(before.splitlines(), after.splitlines())
    return tuple(row[2:] for row in rows if row.startswith("+ "))
