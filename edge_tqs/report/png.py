"""A plot of plot.py as a PNG, for where an SVG is not shown."""

from __future__ import annotations

import re
from pathlib import Path

from edge_tqs.errors import ToolError

#: Pixels an SVG unit.
ZOOM = 2.0
#: file -> its family; the first that is there is used.
_FONTS = {
    "DejaVuSans.ttf": "DejaVu Sans",
    "LiberationSans-Regular.ttf": "Liberation Sans",
    "NotoSans-Regular.ttf": "Noto Sans",
    "Arial.ttf": "Arial",
    "arial.ttf": "Arial",
}
_FONT_FOLDERS = ("/usr/share/fonts", "/usr/local/share/fonts", "/System/Library/Fonts", "C:/Windows/Fonts")


def render(svg: str) -> bytes:
    """The PNG of a plot, in the light colours; its words in the machine's sans-serif font.

    Raises ToolError when the renderer or a font is missing.
    """
    try:
        import resvg_py
    except ImportError as error:
        raise ToolError(
            "a PNG is drawn by the Python package resvg-py, which is not installed",
            hint="Run: pip install 'edge-tqs[png]', or name a file that ends in .svg.",
        ) from error
    plain = re.sub(r"<style>.*?</style>", "", svg, flags=re.DOTALL)
    plain = re.sub(r"var\(--[\w-]+,\s*(#[0-9a-f]+)\)", r"\1", plain)  # the renderer knows no CSS variables
    file, family = _font()
    return bytes(
        resvg_py.svg_to_bytes(
            svg_string=plain,
            zoom=ZOOM,
            background="#ffffff",
            skip_system_fonts=True,
            font_files=[str(file)],
            sans_serif_family=family,
        )
    )


def _font() -> tuple[Path, str]:
    for name, family in _FONTS.items():
        for folder in (*map(Path, _FONT_FOLDERS), Path.home() / ".fonts"):
            found = next(folder.rglob(name), None)
            if found is not None:
                return found, family
    raise ToolError(
        "a PNG needs a font for its words, and none of " + ", ".join(dict.fromkeys(_FONTS.values())) + " is there",
        hint="On Debian: sudo apt install fonts-dejavu-core; or name a file that ends in .svg.",
    )
