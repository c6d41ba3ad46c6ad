"""The folder that a build is written into: known to be writable before the work, and no build while it is written.

What reads a build asks for report.json first. It goes before anything else is touched and comes when all else is there:
so a build that was killed, over an older one of another board too, is none.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from edge_tqs.errors import UsageError
from edge_tqs.report.format import REPORT_JSON

_LOCK = ".edge-tqs.lock"


@contextmanager
def reserved(out: Path) -> Iterator[None]:
    """Makes ``out``, where it is not there, and takes an empty one away again where nothing came of the work.

    Raises UsageError at once where it cannot be written.
    """
    first = next(path for path in (out, *out.parents) if _there(path))
    made = first != out
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out) as probe:
            probe.write(b"\0" * 4096)
    except OSError as error:
        _remove_empty(out, first)
        reason = "it is a file" if isinstance(error, FileExistsError) else error.strerror or str(error)
        raise UsageError(f"{out} cannot be written: {reason}", hint="Name another folder with --out.") from error
    try:
        yield
    finally:
        if made:
            _remove_empty(out, first)


def _there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name that is too long
        return False


def _remove_empty(out: Path, first: Path) -> None:
    """``out`` and the folders above it down from ``first``, as far as they are empty."""
    path = out
    with suppress(OSError):
        while path not in (first, path.parent):
            path.rmdir()
            path = path.parent


@contextmanager
def written(out: Path) -> Iterator[None]:
    """While a build is written into ``out``: it is none, and no other one is written there.

    Raises UsageError where another process writes it.
    """
    with (out / _LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise UsageError(
                f"another build is being written into {out}", hint="Wait for it, or name another folder with --out."
            ) from error
        (out / REPORT_JSON).unlink(missing_ok=True)
        try:
            yield
        finally:
            (out / _LOCK).unlink(missing_ok=True)


def write_last(out: Path, text: str) -> None:
    """report.json, whole or not at all."""
    beside = out / f"{REPORT_JSON}.new"
    with beside.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(out / REPORT_JSON)
