"""Running a flash tool: found by its Need, its words kept, its failures made one message."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_tqs.boards.flash import FlashResult
from edge_tqs.errors import DeviceError, ToolError, UsageError
from edge_tqs.needs import Need

TIMEOUT_SECONDS = 180


@dataclass(frozen=True)
class ToolOutput:
    """What a tool wrote, standard error included, and its exit code."""

    text: str
    code: int

    @property
    def last(self) -> str:
        """What went wrong: the first line that begins as an error, else the last that mentions one or says anything."""
        lines = [line.strip(" \t*") for line in self.text.splitlines() if line.strip(" \t*-=")]
        telling = [line for line in lines if "rror" in line or "ailed" in line or "annot" in line or "No " in line]
        errors = [line for line in lines if line.lower().startswith("error")]
        return (errors[:1] or telling or lines or ["it said nothing"])[-1][:200]


def tool(need: Need) -> list[str]:
    """The command that starts the tool: a program, or a module of this Python. ToolError, with how to get it."""
    found = need.find()
    if found is None:
        command = f"pip install {need.pip!r}" if need.pip else f"sudo apt install {need.package}"
        raise ToolError(f"{need.name} is missing: it {need.purpose}", hint=f"Install it: `{command}`.")
    return [sys.executable, "-m", need.name.rsplit(" ", 1)[-1]] if need.pip else [found]


def run(command: Sequence[str], where: str, timeout: float = TIMEOUT_SECONDS) -> ToolOutput:
    """Run it to its end. DeviceError when it takes longer than ``timeout`` seconds."""
    try:
        done = subprocess.run(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
            env=os.environ | {"LC_ALL": "C", "NO_COLOR": "1", "COLUMNS": "200", "DEBUGINFOD_URLS": ""},
        )
    except OSError as error:
        raise ToolError(f"{command[0]} does not run: {error.strerror}", hint="Install it anew.") from error
    except subprocess.TimeoutExpired as error:
        raise DeviceError(
            f"{where}: {Path(command[0]).name} took longer than {timeout:.0f} s",
            hint="Reset the board, put it into its boot loader, and try again.",
        ) from error
    return ToolOutput(done.stdout, done.returncode)


def binary_of(image: Path, board: str) -> Path:
    """The raw binary that `make` wrote beside the ELF. UsageError where it is missing."""
    path = image.with_suffix(".bin")
    if not path.is_file():
        raise UsageError(f"{board}: {path} is missing beside {image.name}", hint="Build again: `edge-tqs build`.")
    return path


def compare(written: Path, read: Path, board: str, port: str) -> None:
    """DeviceError unless ``read`` begins with all of ``written``."""
    want, got = written.read_bytes(), read.read_bytes()
    if got[: len(want)] != want:
        at = next((i for i, (a, b) in enumerate(zip(want, got, strict=False)) if a != b), len(got))
        raise DeviceError(
            f"{board} at {port}: what was read back differs from {written.name} from byte {at} on",
            hint="The flash is worn, protected, or not where the board file says; erase it and try again.",
        )


def folder() -> tempfile.TemporaryDirectory[str]:
    """For files read back."""
    return tempfile.TemporaryDirectory(prefix="edge-tqs-")


__all__ = ["FlashResult", "ToolOutput", "binary_of", "compare", "folder", "run", "tool"]
