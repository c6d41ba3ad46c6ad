"""What a command leaves: text or JSON on standard output, and the files that options name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from edge_tqs.errors import UsageError


def check_writable(path: Path | None, option: str = "--out", kinds: tuple[str, ...] = ()) -> None:
    """Raise UsageError where a file could not be written once the work is done, or is of none of ``kinds``."""
    if path is None:
        return
    if kinds and path.suffix.lower() not in kinds:
        raise UsageError(f"{path} is no {' or '.join(kinds)} file", hint=f"Choose another {option}.")
    try:
        was = path.exists()
        if path.is_fifo():  # whose reader would take the try for the end
            return
        path.open("ab").close()
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}", hint=f"Choose another {option}.") from error
    if not was:
        path.unlink()


def write_file(path: Path | None, content: str | bytes, option: str = "--out") -> None:
    """Write the file that ``option`` names, if it does. Raises UsageError where it cannot be."""
    if path is not None:
        try:
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        except OSError as error:
            raise UsageError(f"{path} cannot be written: {error.strerror}", hint=f"Choose another {option}.") from error


def print_result(as_json: bool, body: Any, text: str) -> None:
    """``body`` where JSON is asked for, else ``text``."""
    click.echo(json.dumps(body, indent=2) if as_json else text)
