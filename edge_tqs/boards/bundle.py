"""The bundle of a Linux board: a directory to copy there, which serves the model without edge-tqs or TensorFlow."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edge_tqs.boards.board import Board
from edge_tqs.errors import UsageError
from edge_tqs.templates import fill, template_root

AGENT = "agent.py"
LIBRARY = "forecaster.py"
MODEL = "model.tflite"
DESCRIPTION = "model.json"
PROGRAM = "forecaster"
INSTALLER = "install.sh"
UNIT = "edge-tqs.service"
REQUIREMENTS = "requirements.txt"
README = "README.txt"

_EXECUTABLE = 0o755


def write_bundle(
    out_dir: Path, model: bytes, program: Path | None, board: Board, *, name: str, metadata: Mapping[str, Any]
) -> tuple[Path, ...]:
    """Write the bundle; files of an earlier one there are replaced.

    Args:
        out_dir: The directory; made if missing.
        model: model.tflite.
        program: The static program for the board, built from the same model; None leaves it out.
        board: Its name is what the agent answers HELLO with.
        name: The model's.
        metadata: What model.tflite says of itself, model_hash among it; model.json is this, with sorted keys.

    Returns:
        The files, sorted.

    Raises:
        UsageError: The directory cannot be written, or the program is missing.
    """
    values = {"NAME": unit_name(name), "BOARD": board.name}
    line = f"{PROGRAM:<18} the same model as a static program, compiled from C" if program else "(no program)"
    texts = {
        AGENT: _template(AGENT),
        LIBRARY: _template(LIBRARY),
        REQUIREMENTS: _template(REQUIREMENTS),
        UNIT: _template(UNIT),
        DESCRIPTION: json.dumps(metadata, indent=1, sort_keys=True, ensure_ascii=False) + "\n",
        INSTALLER: fill(_template(f"{INSTALLER}.in"), values | {"PROGRAM": PROGRAM if program else ""}),
        README: fill(_template(f"{README}.in"), values | {"MODEL_HASH": metadata["model_hash"], "PROGRAM_LINE": line}),
    }
    try:
        out_dir.mkdir(parents=True, exist_ok=True)
        (out_dir / PROGRAM).unlink(missing_ok=True)
        for file, text in texts.items():
            (out_dir / file).write_text(text, encoding="utf-8")
        (out_dir / MODEL).write_bytes(model)
        executables = [AGENT, INSTALLER]
        if program is not None:
            shutil.copyfile(program, out_dir / PROGRAM)
            executables.append(PROGRAM)
        for file in executables:
            (out_dir / file).chmod(_EXECUTABLE)
    except OSError as error:
        raise UsageError(
            f"the bundle cannot be written: {error}",
            hint="Give a directory that you may write to, on a disk with space.",
        ) from error
    return tuple(sorted(out_dir / file for file in {*texts, MODEL, *executables}))


def unit_name(model_name: str) -> str:
    """The model's name as it can stand in a systemd unit's name and in a path."""
    return re.sub(r"[^a-z0-9]+", "-", model_name.lower()).strip("-")[:64] or "model"


def _template(name: str) -> str:
    return (template_root() / "agent" / name).read_text(encoding="utf-8")
