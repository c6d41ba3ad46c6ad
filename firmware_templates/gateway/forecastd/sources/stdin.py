# SPDX-License-Identifier: Apache-2.0
"""Lines of comma-separated values on standard input: a header first, then a time and a value for each column."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from forecastd.resample import Reading
from forecastd.settings import character, flag, key, text
from forecastd.sources import Context
from forecastd.table import Table

_CHUNK = 1 << 16
#: A line that has no end is no line.
_LONGEST = 1 << 20


@dataclass(frozen=True)
class Settings:
    """time: the column of times. time_format: clock.reader's. live: readings are of now, so that the wall clock tells
    that a sensor is missing."""

    time: str = key(text, '"time": "time"', "time")
    time_format: str | None = key(text, '"time_format": "s"', None)
    delimiter: str = key(character, '"delimiter": ";"', ",")
    live: bool = key(flag, '"live": true', False)


class Source:
    """Standard input, read as it comes."""

    def __init__(self, settings: Settings, context: Context) -> None:
        self.live = settings.live
        self._table = Table("standard input", settings.time, settings.time_format, settings.delimiter, context)
        self.counters = self._table.counters
        self._rest = b""
        self._descriptor = sys.stdin.fileno()

    def poll(self, seconds: float) -> Sequence[Reading] | None:
        if not select.select([self._descriptor], [], [], seconds)[0]:
            return ()
        data = os.read(self._descriptor, _CHUNK)
        lines = (self._rest + (data or b"\n")).split(b"\n")
        self._rest = lines.pop()
        if len(self._rest) > _LONGEST:
            self._rest, self.counters["unreadable"] = b"", self.counters["unreadable"] + 1
        found = [reading for line in lines if (reading := self._table.line(line.decode("utf-8", "replace")))]
        return found if data or found else None

    def close(self) -> None:
        """Standard input is not ours to close."""
