"""Pieces of C text: identifiers, literals, comments and wrapped tables."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable

import numpy as np

COLUMNS = 120


def identifier(text: str) -> str:
    """``text`` (a tensor's name) as a part of a C identifier, at most 40 characters."""
    plain = re.sub(r"[^0-9A-Za-z]+", "_", text).strip("_").lower()[:40]
    return plain if plain and not plain[0].isdigit() else f"t_{plain}"


def plain(text: str) -> str:
    """``text`` as it may stand in a comment: printable ASCII that does not end the comment or continue the line."""
    ascii_only = re.sub(r"[^ -~]", "?", text)
    return ascii_only.replace("*/", "* /").replace("/*", "/ *").replace("\\", "/").replace("??", "? ?")


def string(text: str) -> str:
    """``text`` between the quotes of a string literal; what is not printable ASCII becomes a question mark."""
    return re.sub(r'(["\\?])', r"\\\1", re.sub(r"[^ -~]", "?", text))


def number(value: float) -> str:
    """A float literal that reads back as the same float32; ``value`` is finite."""
    return f"{np.float32(value)!s}f"


def comment_lines(text: str) -> list[str]:
    """``text`` in lines of a block comment, each with " * " before it."""
    return [f" * {line}" for line in textwrap.wrap(plain(text), COLUMNS - 3)]


def wrap(values: Iterable[str]) -> str:
    """Comma-separated values in lines of at most COLUMNS characters, indented by four."""
    text = ", ".join(values)
    return textwrap.fill(text, COLUMNS, initial_indent="    ", subsequent_indent="    ", break_on_hyphens=False)
