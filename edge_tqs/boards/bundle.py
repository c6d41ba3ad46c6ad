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
LIVE_UNIT = "edge-tqs-forecastd.service"
REQUIREMENTS = "requirements.txt"
LOCK = "requirements.lock"
README = "README.txt"
LIVE = "edge-tqs-forecastd"
SHARED = "libforecaster.so"
FACTS = "gateway.json"
CONFIG = "forecastd.json"

#: Of a build without data.
UNTRAINED: Mapping[str, Any] = {"period": None, "rolling": 0, "columns": {}, "errors": []}
UNCONFIGURED: Mapping[str, Any] = {"source": {"kind": "stdin"}, "sinks": [{"kind": "jsonl", "path": "-"}]}

_PACKAGE = "forecastd"
_EXECUTABLE = 0o755


def write_bundle(
    out_dir: Path,
    model: bytes,
    program: Path | None,
    board: Board,
    *,
    name: str,
    metadata: Mapping[str, Any],
    library: Path | None = None,
    facts: Mapping[str, Any] = UNTRAINED,
    config: Mapping[str, Any] = UNCONFIGURED,
) -> tuple[Path, ...]:
    """Write the bundle; files of an earlier one there are replaced.

    Args:
        out_dir: The directory; made if missing.
        model: model.tflite.
        program: The static program for the board, built from the same model; None leaves it out.
        board: Its name is what the agent answers HELLO with.
        name: The model's.
        metadata: What model.tflite says of itself, model_hash among it; model.json is this, with sorted keys.
        library: The model as a shared library, which forecastd computes with; None leaves it to LiteRT.
        facts: What forecastd must know of the training (building/gateway.py).
        config: forecastd.json.

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
        LOCK: _template(LOCK),
        UNIT: _unit(UNIT),
        LIVE_UNIT: _unit(LIVE_UNIT),
        DESCRIPTION: json.dumps(metadata, indent=1, sort_keys=True, ensure_ascii=False) + "\n",
        FACTS: json.dumps({"name": unit_name(name), **facts}, indent=1, ensure_ascii=False) + "\n",
        CONFIG: json.dumps(config, indent=2, ensure_ascii=False) + "\n",
        **_live(),
        INSTALLER: fill(_template(f"{INSTALLER}.in"), values | {"PROGRAM": PROGRAM if program else ""}),
        README: fill(_template(f"{README}.in"), values | {"MODEL_HASH": metadata["model_hash"], "PROGRAM_LINE": line}),
    }
    try:
        out_dir.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(out_dir / _PACKAGE, ignore_errors=True)
        for file, text in texts.items():
            (out_dir / file).parent.mkdir(parents=True, exist_ok=True)
            (out_dir / file).write_text(text, encoding="utf-8")
        (out_dir / MODEL).write_bytes(model)
        executables = [AGENT, INSTALLER, LIVE]
        for file, source in ((PROGRAM, program), (SHARED, library)):
            (out_dir / file).unlink(missing_ok=True)
            if source is not None:
                shutil.copyfile(source, out_dir / file)
                executables.append(file)
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


def _live() -> dict[str, str]:
    """forecastd by path: the command, and the package that it is."""
    root = template_root() / "gateway"
    files = [root / LIVE, *(root / _PACKAGE).rglob("*.py"), *(root / _PACKAGE / "web").iterdir()]
    return {path.relative_to(root).as_posix(): path.read_text(encoding="utf-8") for path in sorted(files)}


def _unit(name: str) -> str:
    """A unit with what both are held to; install.sh fills in the rest."""
    return _template(name).replace("@HARDENED@\n", _template("hardened.conf"))


def _template(name: str) -> str:
    return (template_root() / "agent" / name).read_text(encoding="utf-8")
