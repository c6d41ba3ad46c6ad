# SPDX-License-Identifier: Apache-2.0
"""Tables of the configuration read strictly into frozen dataclasses: each mistake is one sentence with a line to write.

A field of such a class is made by `key`: what its value must be, and an example of the line.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import json
from collections.abc import Mapping
from dataclasses import MISSING
from typing import Any, Callable, TypeVar

Settings = TypeVar("Settings")


class ConfigError(Exception):
    """What is wrong with a configuration, in sentences."""

    def __init__(self, sentences: list[str]) -> None:
        super().__init__("; ".join(sentences))
        self.sentences = sentences


def key(check: Callable[[Any], Any], line: str, default: Any = MISSING, name: str = "") -> Any:
    """A field. check: gives the value, or raises ValueError with what it must be. line: what to write, an example.
    name: in the file, where Python has no such name."""
    return dataclasses.field(default=default, metadata={"check": check, "line": line, "name": name})


def text(value: Any) -> str:
    """Check: some text."""
    if not isinstance(value, str) or not value:
        raise ValueError("some text")
    return value


def address(value: Any) -> tuple[str, int]:
    """Check: "127.0.0.1:8088", where something can listen."""
    host, _, port = text(value).rpartition(":")
    host = host.strip("[]")
    try:
        ipaddress.ip_address("127.0.0.1" if host == "localhost" else host)
    except ValueError as error:
        raise ValueError("an address of this machine and a port") from error
    if not (port.isascii() and port.isdigit() and 0 <= int(port) <= 65_535):
        raise ValueError("an address of this machine and a port")
    return host, int(port)


def character(value: Any) -> str:
    """Check: what may stand between the values of a line."""
    if not isinstance(value, str) or len(value) != 1 or value in '"\r\n':
        raise ValueError("one character")
    return value


def flag(value: Any) -> bool:
    """Check: true or false."""
    if not isinstance(value, bool):
        raise ValueError("true or false")
    return value


def number(value: Any) -> float:
    """Check: a finite number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < 1e300:
        raise ValueError("a number")
    return float(value)


def whole(least: int, greatest: int = 10**9) -> Callable[[Any], int]:
    """Check: a whole number within bounds."""

    def check(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= greatest:
            raise ValueError(f"a whole number from {least} to {greatest}")
        return value

    return check


def one_of(*allowed: str) -> Callable[[Any], str]:
    """Check: one of some words."""

    def check(value: Any) -> str:
        if value not in allowed:
            raise ValueError("one of " + ", ".join(f'"{word}"' for word in allowed))
        return str(value)

    return check


def read(kind: type[Settings], table: Any, where: str, mistakes: list[str]) -> Settings | None:
    """``table`` as a ``kind``; None where it has mistakes, which are added to ``mistakes``."""
    if not isinstance(table, dict):
        mistakes.append(f"{where} is {shown(table)}, not a table: write {{...}}")
        return None
    fields = {field.metadata["name"] or field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    before, values = len(mistakes), {}
    for name in table:
        if name not in fields:
            mistakes.append(f'{where}: there is no "{name}"; there is {listed(fields)}')
    for name, field in fields.items():
        line = field.metadata["line"]
        if name not in table:
            if field.default is MISSING:
                mistakes.append(f'{where}: "{name}" is missing: write {line}')
            continue
        try:
            values[field.name] = field.metadata["check"](table[name])
        except ValueError as error:
            mistakes.append(f'{where}: "{name}" is {shown(table[name])}, not {error}: write {line}')
    return kind(**values) if len(mistakes) == before else None


def listed(names: Mapping[str, Any]) -> str:
    """Names with quotes and commas."""
    return ", ".join(f'"{name}"' for name in names)


def shown(value: Any) -> str:
    """A value as JSON, cut where it is long."""
    made = json.dumps(value, ensure_ascii=False)
    return made if len(made) <= 60 else made[:57] + "..."
