"""`--as pico-sdk`: a library for projects of the Pico SDK, and an example that forecasts on the second core."""

from __future__ import annotations

from collections.abc import Mapping

from edge_tqs.exporting.guarded import FAMILIES as _FAMILIES
from edge_tqs.exporting.guarded import library
from edge_tqs.exporting.parts import Parts

FAMILIES: tuple[str, ...] | None = _FAMILIES


def files(parts: Parts) -> Mapping[str, str]:
    """Texts by path."""
    example = "examples/forecast"
    return {
        **library(parts),
        "CMakeLists.txt": parts.filled("pico_sdk.cmake.in"),
        f"{example}/CMakeLists.txt": parts.filled("pico_sdk.example.cmake.in"),
        f"{example}/main.c": parts.filled("pico_sdk.main.c.in", SELFTEST=str(int(parts.self_test))),
        "README.md": parts.filled("library.md.in", ABOUT=parts.readme, HOW=_how(parts.prefix)),
    }


def _how(prefix: str) -> str:
    return (
        f"After `pico_sdk_init()` in the project's CMakeLists.txt: `add_subdirectory({prefix})` and "
        f"`target_link_libraries(application {prefix})`. With PICO_SDK_PATH set, `cmake -S examples/forecast -B build "
        "-DPICO_BOARD=pico` configures the example: core 0 takes samples, core 1 forecasts."
    )
