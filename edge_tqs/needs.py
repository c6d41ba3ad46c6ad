"""What must be on this machine for a job, stated by the module that does the job; `edge-tqs doctor` asks them all."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Need:
    """One thing that must be there.

    name: what is looked for; purpose: what it does, as a sentence without its subject; find: where it is, None when it
    is missing; package: Debian's, "" when that is not known; pip: what to give pip instead; command: what to run when
    it is no package at all.
    """

    name: str
    purpose: str
    find: Callable[[], str | None]
    package: str = ""
    pip: str = ""
    command: str = ""


def program(names: Sequence[str], purpose: str, package: str) -> Need:
    """A program in PATH: the first of ``names`` that is there."""
    return Need(names[0], purpose, lambda: next(filter(None, map(shutil.which, names)), None), package)


def python_package(module: str, purpose: str, pip: str) -> Need:
    """A package of this Python, looked for without importing it. pip: its requirement."""

    def find() -> str | None:
        spec = importlib.util.find_spec(module)
        return None if spec is None else spec.origin or module

    return Need(f"Python package {module}", purpose, find, pip=pip)
