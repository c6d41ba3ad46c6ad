# SPDX-License-Identifier: Apache-2.0
"""What is wrong with a sensor, told from its samples and from what it did in training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from forecastd.model import Range
from forecastd.resample import Sample

OK, MISSING, FILLED, STUCK, OUT_OF_RANGE = "ok", "missing", "filled", "stuck", "out of range"


@dataclass(frozen=True)
class Watch:
    """margin: part of the training range that a value may lie outside of it. stuck: samples in a row without a change
    that are too many; None: twice as many as training ever had, and six at least."""

    margin: float = 0.1
    stuck: int | None = None


class Sensors:
    """The states of ``columns``. A column of which training is not known, or in which it never changed, is watched for
    missing values alone, and for changes where ``watch.stuck`` is given."""

    def __init__(self, columns: tuple[str, ...], training: Mapping[str, Range], watch: Watch) -> None:
        self._columns, self._training, self._watch = columns, training, watch
        self._last: list[float | None] = [None] * len(columns)
        self._same = [0] * len(columns)

    def of_sample(self, sample: Sample) -> dict[str, str]:
        """The states with a new sample; a value that was filled says nothing of a change."""
        states = {}
        for place, (name, value, measured) in enumerate(zip(self._columns, sample.values, sample.measured)):
            if not measured:
                states[name] = FILLED
                continue
            self._same[place] = self._same[place] + 1 if value == self._last[place] else 1
            self._last[place] = value
            states[name] = self._state(name, value, self._same[place])
        return states

    def of_gap(self, missing: tuple[str, ...]) -> dict[str, str]:
        """The states where a sample could not be had."""
        return {name: MISSING if name in missing else OK for name in self._columns}

    def _state(self, name: str, value: float, same: int) -> str:
        trained = self._training.get(name)
        if trained is not None:
            away = self._watch.margin * (trained.greatest - trained.least)
            if not trained.least - away <= value <= trained.greatest + away:
                return OUT_OF_RANGE
        limit = self._watch.stuck
        if limit is None and trained is not None and trained.greatest > trained.least:
            limit = max(6, 2 * trained.longest)
        return STUCK if limit is not None and same >= limit else OK
