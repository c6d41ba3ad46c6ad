"""The structs of the kernels' headers as ctypes has them, read from the headers: nothing of them is written twice."""

from __future__ import annotations

import ctypes
import re
from functools import cache
from typing import Any

from edge_tqs.templates import template_root

_SCALARS = {f"{sign}int{bits}_t": getattr(ctypes, f"c_{sign}int{bits}") for sign in ("", "u") for bits in (8, 16, 32)}
_FIELD = re.compile(r"(?:const )?(?:TQS_FLASH )?(?P<type>\w+) (?P<pointer>\*?)(?P<name>\w+)(?:\[(?P<count>\d+)\])?")


@cache
def structs() -> dict[str, type[ctypes.Structure]]:
    """By the name of the C type, ``tqs_fc_t``. A declaration that is not understood fails here."""
    found: dict[str, type[ctypes.Structure]] = {}
    for header in sorted((template_root() / "kernels").glob("*.h")):
        text = re.sub(r"/\*.*?\*/", "", header.read_text(), flags=re.DOTALL)
        for body, name in re.findall(r"typedef struct \w+ \{(.*?)\} (\w+);", text, re.DOTALL):
            fields = [_field(line.strip()) for line in body.split(";") if line.strip()]
            found[name] = type(name, (ctypes.Structure,), {"_fields_": fields})
    return found


def struct(name: str) -> type[ctypes.Structure]:
    """The struct of a C type."""
    return structs()[name]


def names_of(layer: type[ctypes.Structure]) -> set[str]:
    """Those of its fields."""
    return {field[0] for field in layer._fields_}


def _field(declaration: str) -> tuple[str, Any]:
    match = _FIELD.fullmatch(declaration)
    assert match is not None, declaration
    if match["pointer"]:
        return match["name"], ctypes.c_void_p
    scalar: Any = _SCALARS[match["type"]]
    return match["name"], scalar * int(match["count"]) if match["count"] else scalar
