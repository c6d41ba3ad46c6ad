# SPDX-License-Identifier: Apache-2.0
"""Sensors that say nothing by themselves: they are asked, so often."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, Callable

from forecastd.clock import SECOND, parse_period
from forecastd.resample import Reading
from forecastd.settings import text


def every(value: Any) -> float:
    """Check of a setting: seconds of "10s", a tenth at least."""
    seconds = parse_period(text(value)) / SECOND
    if seconds < 0.1:
        raise ValueError("a time of 100ms at least")
    return seconds


class Asking:
    """``ask`` is called each ``seconds``, the first time at once; it gives values by column, and leaves out those that
    cannot be had."""

    def __init__(self, seconds: float, ask: Callable[[], Mapping[str, float]]) -> None:
        self._seconds, self._ask, self._due = seconds, ask, time.monotonic()

    def poll(self, seconds: float) -> Sequence[Reading]:
        """As of a source: what it says if it is due within ``seconds``."""
        now = time.monotonic()
        if self._due > now + seconds:
            time.sleep(seconds)
            return ()
        time.sleep(max(0.0, self._due - now))
        values = self._ask()
        # Late ones are not made up for: one answer now is as good as several.
        self._due = max(self._due + self._seconds, time.monotonic())
        return [Reading(time.time_ns(), values)] if values else ()
