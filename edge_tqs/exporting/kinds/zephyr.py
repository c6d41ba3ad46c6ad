"""`--as zephyr`: a module with Kconfig, and a sample whose self-test twister runs."""

from __future__ import annotations

from collections.abc import Mapping

from edge_tqs.exporting.guarded import FAMILIES as _FAMILIES
from edge_tqs.exporting.guarded import library
from edge_tqs.exporting.parts import Parts

FAMILIES: tuple[str, ...] | None = _FAMILIES


def files(parts: Parts) -> Mapping[str, str]:
    """Texts by path."""
    sample = "samples/forecast"
    return {
        **library(parts),
        "zephyr/module.yml": f"name: {parts.prefix}\nbuild:\n  cmake: zephyr\n  kconfig: zephyr/Kconfig\n",
        "zephyr/CMakeLists.txt": parts.filled("zephyr.cmake.in"),
        "zephyr/Kconfig": parts.filled("zephyr.Kconfig.in"),
        f"{sample}/CMakeLists.txt": parts.filled("zephyr.sample.cmake.in"),
        f"{sample}/prj.conf": f"CONFIG_{parts.prefix.upper()}=y\n",
        f"{sample}/sample.yaml": parts.filled("zephyr.sample.yaml.in"),
        f"{sample}/src/main.c": parts.filled("zephyr.main.c.in", SELFTEST=str(int(parts.self_test))),
        "README.md": parts.filled("library.md.in", ABOUT=parts.readme, HOW=_how(parts)),
    }


def _how(parts: Parts) -> str:
    return (
        "Name this folder in the application's CMakeLists.txt, before `find_package(Zephyr)`: `list(APPEND "
        f"ZEPHYR_EXTRA_MODULES PATH)`; set `CONFIG_{parts.prefix.upper()}=y` in prj.conf. `west build "
        "samples/forecast` builds the sample, `west twister -T samples` runs its self-test."
    )
