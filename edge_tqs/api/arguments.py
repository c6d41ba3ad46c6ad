"""What the public functions' arguments share."""

from __future__ import annotations

import os
from typing import Any

StrPath = str | os.PathLike[str]


def silent(stage: str, done: int, total: int) -> None:
    """A progress that says nothing."""


def all_but(arguments: dict[str, Any], *left_out: str) -> dict[str, Any]:
    """The keywords of the function that passes its ``locals()``, so that its signature alone lists them."""
    return {name: value for name, value in arguments.items() if name not in left_out}
