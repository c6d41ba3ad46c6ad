# SPDX-License-Identifier: Apache-2.0
"""A file of comma-separated values: replayed to its end, or followed as it grows."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from forecastd.resample import Reading
from forecastd.settings import character, flag, key, text
from forecastd.sources import Context, SourceError
from forecastd.table import Table

_LINES, _WAIT_S = 256, 0.2
#: Bytes of a line: one that has no end is no line, as of a disk that lost its power.
_LONGEST = 1 << 20


@dataclass(frozen=True)
class Settings:
    """path: the file. time, time_format, delimiter: as of standard input. follow: go on as the file grows, a file that
    takes its place included; the wall clock then tells that a sensor is missing."""

    path: str = key(text, '"path": "/home/pi/measurements.csv"')
    time: str = key(text, '"time": "time"', "time")
    time_format: str | None = key(text, '"time_format": "s"', None)
    delimiter: str = key(character, '"delimiter": ";"', ",")
    follow: bool = key(flag, '"follow": true', False)


class Source:
    """The lines of the file. A line counts once it ends; at the end of a file that is not followed, without an end too.

    Raises SourceError where the file cannot be read or lacks a column.
    """

    def __init__(self, settings: Settings, context: Context) -> None:
        self.live = settings.follow
        self._settings, self._context = settings, context
        self.counters: dict[str, int] = {}
        self._open()

    def _open(self) -> None:
        settings = self._settings
        try:
            self._file: IO[bytes] = open(settings.path, "rb")  # noqa: SIM115
        except OSError as error:
            raise SourceError(f"{settings.path} cannot be read: {error.strerror}") from error
        self._table = Table(settings.path, settings.time, settings.time_format, settings.delimiter, self._context)
        self.counters = self._table.counters = {**self._table.counters, **self.counters}
        self._rest = b""

    def poll(self, seconds: float) -> Sequence[Reading] | None:
        found: list[Reading] = []
        until = time.monotonic() + seconds
        while not found:
            lines = self._lines()
            found = [reading for line in lines if (reading := self._table.line(line.decode("utf-8", "replace")))]
            if lines:
                continue
            if not self._settings.follow:
                return None
            if self._replaced():
                self._file.close()
                self._open()
                continue
            if time.monotonic() >= until:
                break
            time.sleep(_WAIT_S)
        return found

    def _lines(self) -> list[bytes]:
        lines: list[bytes] = []
        while len(lines) < _LINES and (line := self._file.readline(_LONGEST)):
            self._rest += line
            if line.endswith(b"\n") or (not self._settings.follow and len(line) < _LONGEST):
                lines.append(self._rest)
                self._rest = b""
            elif len(self._rest) >= _LONGEST:
                self._rest, self.counters["unreadable"] = b"", self.counters["unreadable"] + 1
        return lines

    def _replaced(self) -> bool:
        """Whether another file has the name, or the file was cut."""
        try:
            there, mine = Path(self._settings.path).stat(), self._file.fileno()
        except OSError:
            return False  # between the two files of a rotation
        from os import fstat

        own = fstat(mine)
        return (there.st_dev, there.st_ino) != (own.st_dev, own.st_ino) or there.st_size < self._file.tell()

    def close(self) -> None:
        self._file.close()
