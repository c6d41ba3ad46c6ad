"""Text templates with @NAME@ placeholders, and where the shipped templates and board files are."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from edge_tqs.errors import ToolError

_PLACEHOLDER = re.compile(r"@([A-Z][A-Z0-9_]*)@")
_PACKAGE = Path(__file__).resolve().parent


def fill(text: str, values: Mapping[str, str]) -> str:
    """Replace every ``@NAME@`` of ``text`` by ``values["NAME"]``.

    Values are inserted as they are and not searched again. The placeholders and the keys must be the same set:

    Raises:
        ValueError: A placeholder has no value, or a value has no placeholder: a mistake in this package.
    """
    wanted = set(_PLACEHOLDER.findall(text))
    missing, unused = sorted(wanted - set(values)), sorted(set(values) - wanted)
    if missing or unused:
        raise ValueError(f"template: no value for {missing}, no placeholder for {unused}")
    return _PLACEHOLDER.sub(lambda match: values[match.group(1)], text)


def template_root() -> Path:
    """The directory ``firmware_templates`` of the checkout, or its copy in the installed package."""
    return _data("firmware_templates")


def boards_root() -> Path:
    """The directory ``boards`` of the checkout, or its copy in the installed package."""
    return _data("boards")


def emulator_root() -> Path:
    """Where tools/setup puts what emulators need and no package of the system has; it need not exist.

    ``.emulators`` beside edge_tqs, or the directory that the environment's EDGE_TQS_EMULATORS names.
    """
    return Path(os.environ.get("EDGE_TQS_EMULATORS") or _PACKAGE.parent / ".emulators").absolute()


def _data(name: str) -> Path:
    for root in (_PACKAGE / "_data" / name, _PACKAGE.parent / name):
        if root.is_dir():
            return root
    raise ToolError(
        f"edge-tqs: the data directory {name} is missing from {_PACKAGE / '_data'}",
        hint="The installation is damaged: install edge-tqs again (pip install --force-reinstall edge-tqs).",
    )
