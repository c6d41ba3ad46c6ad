"""The prefix of every symbol, macro and file of an export."""

from __future__ import annotations

import re

from edge_tqs.errors import UsageError

DEFAULT = "tqs"

#: Longer than this, names are no longer told apart by every linker (C99 5.2.4.1: 31 characters of an external name).
_MOST = 8
_SYMBOL, _MACRO = re.compile(r"\btqs_"), re.compile(r"\bTQS_")


def check_prefix(prefix: str) -> None:
    """Raise UsageError unless ``prefix`` is a short name in C."""
    if not re.fullmatch(r"[a-z][a-z0-9]*", prefix) or len(prefix) > _MOST:
        raise UsageError(
            f"{prefix!r} is no prefix of names",
            hint=f"Up to {_MOST} small letters and digits, the first a letter: --prefix room.",
        )


def named(name: str, prefix: str) -> str:
    """A file's name: model.c is the generated network, of which there is one a model."""
    own = {"model.c": "tqs_network.c", "model.h": "tqs_network.h", "board.h": "tqs_board.h"}.get(name, name)
    return _SYMBOL.sub(f"{prefix}_", own)


def prefixed(text: str, prefix: str) -> str:
    """``text`` of a source with the names of ``prefix``."""
    text = text.replace('#include "model.h"', '#include "tqs_network.h"').replace(
        '#include "board.h"', '#include "tqs_board.h"'
    )
    return _MACRO.sub(f"{prefix.upper()}_", _SYMBOL.sub(f"{prefix}_", text))
