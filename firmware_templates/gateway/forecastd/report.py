# SPDX-License-Identifier: Apache-2.0
"""What is published once a sample is closed: the same for every sink."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from forecastd.clock import iso
from forecastd.model import Target


@dataclass(frozen=True)
class Forecast:
    """made: the time of its newest sample. values: of the targets, in their order. score: of a reconstruction, the mean
    squared difference in the model's units. chosen: of a classifier, the class with the most evidence."""

    made: int
    values: tuple[float, ...]
    score: float | None = None
    chosen: str | None = None


@dataclass(frozen=True)
class ErrorRow:
    """Rolling mean absolute errors of a lead, physical units. truths: that it is the mean of. naive: of repeating the
    last value; promised: of validation; None where they are not known."""

    label: str
    lead: int
    truths: int
    mae: float
    naive: float | None
    promised: float | None


@dataclass(frozen=True)
class Report:
    """One closed sample. sample: values by column; empty at a gap. states: of each column. have, window: samples since
    the window began, and those that a forecast needs. notices: what happened, in sentences. counters: since the start.
    errors: rolling ones by label and lead; labels: over all leads. alarms: in sentences.
    """

    time: int
    sample: Mapping[str, float]
    states: Mapping[str, str]
    have: int
    window: int
    period: int
    forecast: Forecast | None
    targets: tuple[Target, ...]
    notices: tuple[str, ...]
    counters: Mapping[str, int] = field(default_factory=dict)
    errors: tuple[ErrorRow, ...] = ()
    labels: Mapping[str, ErrorRow] = field(default_factory=dict)
    alarms: tuple[str, ...] = ()

    @property
    def problems(self) -> tuple[str, ...]:
        """What is wrong, in words; empty when nothing is."""
        return tuple(f"{name} is {state}" for name, state in self.states.items() if state not in ("ok", "filled"))

    def status(self) -> str:
        """The report in one line, for `systemctl status`."""
        made = "" if self.forecast is not None else f", {min(self.have, self.window)} of {self.window} samples"
        wrong = "".join(f"; {problem}" for problem in (*self.problems, *self.alarms))
        return f"sample of {iso(self.time)}{made or ', forecast made'}{wrong}"

    def rows(self) -> list[tuple[int, dict[str, float]]]:
        """(the time that it is for, values by label) of the forecast, the earliest first."""
        if self.forecast is None:
            return []
        found: dict[int, dict[str, float]] = {}
        for target, value in zip(self.targets, self.forecast.values):
            found.setdefault(target.lead, {})[target.label] = value
        return [(self.forecast.made + lead * self.period, found[lead]) for lead in sorted(found)]

    def as_json(self) -> dict[str, Any]:
        """The report as JSON has it; times as ISO 8601 in UTC."""
        made: dict[str, Any] = {
            "time": iso(self.time),
            "sample": dict(self.sample),
            "states": dict(self.states),
            "problems": list(self.problems),
            "window": [min(self.have, self.window), self.window],
            "forecast": None,
            "notices": list(self.notices),
            "alarms": list(self.alarms),
            "card": {
                label: {"truths": row.truths, "mae": row.mae, "naive": row.naive, "promised": row.promised}
                for label, row in self.labels.items()
            },
            "counters": dict(self.counters),
        }
        if self.forecast is not None:
            forecast: dict[str, Any] = {"made": iso(self.forecast.made)}
            if self.forecast.score is not None:
                forecast["score"] = self.forecast.score
            if self.forecast.chosen is not None:
                forecast["class"] = self.forecast.chosen
            forecast["values"] = [{"for": iso(time), **values} for time, values in self.rows()]
            made["forecast"] = forecast
        return made
