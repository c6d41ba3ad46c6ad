"""`--as cmake`: a package for add_subdirectory, FetchContent and find_package; its kernels are those of the compiler's
core."""

from __future__ import annotations

from collections.abc import Mapping

from edge_tqs.exporting.parts import CORES, Parts

FAMILIES: tuple[str, ...] | None = tuple(CORES)


def files(parts: Parts) -> Mapping[str, str]:
    """Texts by path."""
    made = {f"src/{name}": text for name, text in parts.common.items()}
    for family in CORES:
        made |= {f"src/{family}/{name}": text for name, text in parts.families[family].items()}
    return {
        **made,
        "CMakeLists.txt": parts.filled("CMakeLists.txt.in", OWN=parts.own),
        "cmake/Config.cmake.in": parts.filled("Config.cmake.in"),
        "examples/main.c": parts.filled("main.c.in", SELFTEST=str(int(parts.self_test))),
        "README.md": parts.filled("cmake.md.in", ABOUT=parts.readme),
    }
