# SPDX-License-Identifier: Apache-2.0
"""A line of JSON for each report, on standard output or at the end of a file."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass

from forecastd.report import Report
from forecastd.settings import key, text
from forecastd.sinks import About, SinkError


@dataclass(frozen=True)
class Settings:
    """path: the file, made where there is none; "-" is standard output."""

    path: str = key(text, '"path": "-"', "-")


class Sink:
    """Whole lines: one that a full disk or a lost process cut is ended before the next. Raises SinkError where the file
    cannot be written."""

    def __init__(self, settings: Settings, about: About) -> None:
        self.counters = {"lost": 0}
        self._cut = False
        if settings.path == "-":
            self._descriptor = sys.stdout.fileno()
            return
        try:
            self._descriptor = os.open(settings.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
            size = os.fstat(self._descriptor).st_size
            self._cut = size > 0 and os.pread(self._descriptor, 1, size - 1) != b"\n"
        except OSError as error:
            raise SinkError(f"{settings.path} cannot be written: {error.strerror}") from error

    def publish(self, report: Report) -> None:
        line = json.dumps(report.as_json(), ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
        data = b"\n" + line if self._cut else line
        try:
            while data:
                data = data[os.write(self._descriptor, data) :]
                self._cut = bool(data)
        except BrokenPipeError:
            raise
        except OSError:  # a full disk: the next report is tried again
            self.counters["lost"] += 1

    def close(self) -> None:
        if self._descriptor != sys.stdout.fileno():
            os.close(self._descriptor)
