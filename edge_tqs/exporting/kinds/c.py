"""`--as c`: sources and headers of the board's core, an example with a main, and how to compile them."""

from __future__ import annotations

from collections.abc import Mapping

from edge_tqs.exporting.guarded import refusal
from edge_tqs.exporting.parts import Parts

FAMILIES: tuple[str, ...] | None = None


def files(parts: Parts) -> Mapping[str, str]:
    """Texts by path."""
    sources = {f"src/{name}": text for name, text in parts.of(parts.own).items()}
    sources[f"src/{parts.prefix}_network.c"] = refusal(parts) + sources[f"src/{parts.prefix}_network.c"]
    return {
        **sources,
        "examples/main.c": parts.filled("main.c.in", SELFTEST=str(int(parts.self_test))),
        "README.md": parts.filled("c.md.in", ABOUT=parts.readme, SOURCES="src/*.c", INCLUDE="src", CORE=parts.own),
    }
