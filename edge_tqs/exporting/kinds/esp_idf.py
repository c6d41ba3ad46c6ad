"""`--as esp-idf`: a component with its manifest, and an example project."""

from __future__ import annotations

from collections.abc import Mapping

from edge_tqs.emit_c.dense_kernels import PORTABLE
from edge_tqs.exporting.parts import Parts

FAMILIES: tuple[str, ...] | None = (PORTABLE,)


def files(parts: Parts) -> Mapping[str, str]:
    """Texts by path."""
    example = "examples/forecast"
    return {
        **{f"src/{name}": text for name, text in parts.of(PORTABLE).items()},
        "CMakeLists.txt": parts.filled("esp_idf.cmake.in"),
        "idf_component.yml": parts.filled("esp_idf.component.yml.in"),
        f"{example}/CMakeLists.txt": parts.filled("esp_idf.example.cmake.in"),
        f"{example}/main/CMakeLists.txt": 'idf_component_register(SRCS "main.c")\n',
        f"{example}/main/idf_component.yml": parts.filled("esp_idf.main.yml.in"),
        f"{example}/main/main.c": parts.filled("esp_idf.main.c.in", SELFTEST=str(int(parts.self_test))),
        "README.md": parts.filled("esp_idf.md.in", ABOUT=parts.readme),
    }
