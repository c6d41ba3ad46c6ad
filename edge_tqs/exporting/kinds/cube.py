"""`--as cube`: a folder for a project of STM32CubeIDE, with what its main.c calls, and the steps."""

from __future__ import annotations

from collections.abc import Mapping

from edge_tqs.exporting.guarded import FAMILIES as _FAMILIES
from edge_tqs.exporting.guarded import library
from edge_tqs.exporting.parts import Parts

FAMILIES: tuple[str, ...] | None = _FAMILIES


def files(parts: Parts) -> Mapping[str, str]:
    """Texts by path. Nothing has a main: STM32CubeIDE compiles every source of a folder."""
    p = parts.prefix
    return {
        **library(parts),
        f"src/{p}_app.h": parts.filled("cube.app.h.in"),
        f"src/{p}_app.c": parts.filled("cube.app.c.in", SELFTEST=str(int(parts.self_test))),
        "README.md": parts.filled("cube.md.in", ABOUT=parts.readme),
    }
