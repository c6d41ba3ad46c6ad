# SPDX-License-Identifier: Apache-2.0
"""Where readings come from: one module a kind, named as `"kind"` names it.

Such a module has `Settings`, a frozen dataclass whose fields are made by `settings.key`, and `Source`, made of
(settings, Context). Adding one touches nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import tzinfo
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from forecastd.resample import Reading

#: "kind" -> its module
KINDS = {path.stem: f"forecastd.sources.{path.stem}" for path in sorted(Path(__file__).parent.glob("[a-z]*.py"))}


class SourceError(Exception):
    """A source cannot be opened, or ended in a way that it should not have."""


@dataclass(frozen=True)
class Column:
    """Where a column is found. name: of the model. source: what the source calls it. value = scale * what is read +
    offset, so that units become those of training."""

    name: str
    source: str
    scale: float = 1.0
    offset: float = 0.0

    def value(self, read: float) -> float:
        """In the units of training."""
        return read if self.scale == 1.0 and self.offset == 0.0 else self.scale * read + self.offset


@dataclass(frozen=True)
class Context:
    """What every source is told. zone: of times without an offset. after: times up to it were taken before."""

    columns: tuple[Column, ...]
    zone: tzinfo | None
    after: int | None = None


class SourceProtocol(Protocol):
    """live: whether the wall clock closes samples, too. counters: what was dropped, by why."""

    live: bool
    counters: dict[str, int]

    def poll(self, seconds: float) -> Sequence[Reading] | None:
        """Readings that came within ``seconds``, at once when there are some; None once there will be no more."""

    def close(self) -> None:
        """Let go of what is open."""


def module_of(kind: str) -> Any:
    """The module of a kind of KINDS."""
    return import_module(KINDS[kind])
