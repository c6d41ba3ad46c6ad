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
    """Where runners/fetch.sh puts what emulators need and no package of the system has; it need not exist.

    The directory that the environment's EDGE_TQS_EMULATORS names; else ``.emulators`` in a checkout, and a folder in
    the user's cache for an installed package.
    """
    if named := os.environ.get("EDGE_TQS_EMULATORS"):
        return Path(named).absolute()
    if (_PACKAGE / "_data").is_dir():
        return cache_root() / "emulators"
    return _PACKAGE.parent / ".emulators"


def cache_root() -> Path:
    """The user's cache folder for this tool, as the XDG Base Directory Specification says."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edge-tqs"


def _data(name: str) -> Path:
    for root in (_PACKAGE / "_data" / name, _PACKAGE.parent / name):
        if root.is_dir():
            return root
    raise ToolError(
        f"edge-tqs: the data directory {name} is missing from {_PACKAGE / '_data'}",
        hint="The installation is damaged: install edge-tqs again (pip install --force-reinstall edge-tqs).",
    )
