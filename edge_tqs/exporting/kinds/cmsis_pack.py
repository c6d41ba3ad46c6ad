"""`--as cmsis-pack`: a pack for Keil MDK, IAR, CMSIS-Toolbox and STM32CubeMX, and the folder that it is made of."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from xml.sax.saxutils import escape

from edge_tqs import __version__
from edge_tqs.exporting.guarded import FAMILIES as _FAMILIES
from edge_tqs.exporting.guarded import library
from edge_tqs.exporting.parts import Parts

FAMILIES: tuple[str, ...] | None = _FAMILIES
VENDOR = "edge-tqs"
#: A zip file has no older one; equal exports give equal bytes.
_WHEN = (1980, 1, 1, 0, 0, 0)


def files(parts: Parts) -> Mapping[str, str | bytes]:
    """Texts by path, and the pack."""
    name = f"{VENDOR}.{parts.prefix}"
    sources = library(parts)
    template = parts.filled("main.c.in", SELFTEST=str(int(parts.self_test)))
    made = {
        **sources,
        f"{name}.pdsc": _description(parts, list(sources)),
        f"templates/{parts.prefix}_main.c": template,
        "LICENSE": parts.licence,
        "README.md": parts.filled("library.md.in", ABOUT=parts.readme, HOW=_how(name, parts.prefix)),
    }
    return {**made, f"{name}.{__version__}.pack": _zipped(made)}


def _description(parts: Parts, sources: list[str]) -> str:
    # Headers of a family lie beside what includes them: as headers of the pack their folders would be searched too.
    kinds = [("sourceC", name) for name in sources if name.endswith(".c")]
    kinds += [("header", name) for name in sources if name.endswith(".h") and name.count("/") == 1]
    listed = [f'        <file category="{kind}" name="{name}"/>' for kind, name in sorted(kinds)]
    return parts.filled(
        "cmsis.pdsc.in", VENDOR=VENDOR, ABOUT=escape("; ".join(parts.about)), NAME=escape(parts.title),
        FILES="\n".join(listed),
    )  # fmt: skip


def _zipped(texts: Mapping[str, str]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in sorted(texts.items()):
            archive.writestr(zipfile.ZipInfo(name, _WHEN), text, zipfile.ZIP_DEFLATED)
    return made.getvalue()


def _how(name: str, prefix: str) -> str:
    return (
        f"`cpackget add {name}.{__version__}.pack` installs the pack, and so do the installers of Keil MDK and IAR; "
        "in STM32CubeMX it is Software Packs > Manage > From Local. Then take the component Machine Learning, "
        f"Forecaster, {prefix}. `{prefix}_main.c` is its template of a main."
    )
