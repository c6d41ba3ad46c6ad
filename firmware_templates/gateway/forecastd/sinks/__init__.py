# SPDX-License-Identifier: Apache-2.0
"""Where reports go: one module a kind, named as `"kind"` names it.

Such a module has `Settings`, a frozen dataclass whose fields are made by `settings.key`, and `Sink`, made of
(settings, About). A sink never holds up a forecast. Adding one touches nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from forecastd.model import Model, Target
from forecastd.report import Report
from forecastd.resample import Sample

#: "kind" -> its module
KINDS = {path.stem: f"forecastd.sinks.{path.stem}" for path in sorted(Path(__file__).parent.glob("[a-z]*.py"))}


class SinkError(Exception):
    """A sink cannot be opened."""


@dataclass(frozen=True)
class About:
    """What every sink is told. name: of the model, small letters, digits and dashes. units: by column. promised: errors
    of validation by (label, lead). history: samples of an earlier run, the oldest first."""

    name: str
    model: Model
    targets: tuple[Target, ...]
    period: int
    units: Mapping[str, str]
    promised: Mapping[tuple[str, int], float] = field(default_factory=dict)
    history: tuple[Sample, ...] = ()


class SinkProtocol(Protocol):
    """counters: what could not be published, by why."""

    counters: dict[str, int]

    def publish(self, report: Report) -> None:
        """Publish it, or count that it could not be."""

    def close(self) -> None:
        """Publish what waits, as far as that takes no second; let go of what is open."""


def module_of(kind: str) -> Any:
    """The module of a kind of KINDS."""
    return import_module(KINDS[kind])
