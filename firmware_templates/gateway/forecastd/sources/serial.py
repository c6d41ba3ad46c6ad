# SPDX-License-Identifier: Apache-2.0
"""Lines on a serial port, as a microcontroller prints them: values with commas between, or an object of JSON each."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from forecastd.resample import Reading
from forecastd.settings import key, one_of, shown, text, whole
from forecastd.sources import Context, SourceError
from forecastd.trouble import Trouble

#: A line that has no end is no line. Seconds until a port that went away is tried again.
_LONGEST, _AGAIN_S = 4096, 2.0


def _fields(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or not all(isinstance(one, str) and one for one in value):
        raise ValueError("a list of names")
    return tuple(value)


@dataclass(frozen=True)
class Settings:
    """port, baud: of the serial port. format: "csv" or "json". fields: names of the values of a line of CSV in their
    order, which `from` of the columns names; left out, the model's columns in theirs. delimiter: between them."""

    port: str = key(text, '"port": "/dev/ttyUSB0"')
    baud: int = key(whole(50, 4_000_000), '"baud": 115200', 115_200)
    format: str = key(one_of("csv", "json"), '"format": "csv"', "csv")
    fields: tuple[str, ...] | None = key(_fields, '"fields": ["T1", "RH"]', None)
    delimiter: str = key(text, '"delimiter": ";"', ",")


def check(settings: Settings) -> list[str]:
    """Mistakes of settings that are each right."""
    if settings.format == "json" and settings.fields is not None:
        return ['"fields" is of lines of CSV: leave it out, "from" of a column names its field']
    return []


class Source:
    """Readings are of the time at which their line ends. A port that goes away is opened again once it is back; it need
    not be there at the beginning. Raises SourceError where pyserial is missing, or a column is in no field."""

    live = True

    def __init__(self, settings: Settings, context: Context) -> None:
        try:
            import serial
        except ImportError as error:
            raise SourceError(
                f"a serial port needs pyserial: {error}. Try: sudo apt install python3-serial, or pip install pyserial"
            ) from error
        self._serial: Any = serial
        self._settings, self._columns = settings, context.columns
        self.counters = {"unreadable": 0, "port lost": 0}
        self._fields = settings.fields or tuple(column.source for column in context.columns)
        for column in context.columns:
            if settings.format == "csv" and column.source not in self._fields:
                raise SourceError(
                    f"no field is {column.source}, which column {column.name} is read from; there is "
                    f'{", ".join(self._fields)}: write "{column.name}": {{"from": "{self._fields[0]}"}} under "columns"'
                )
        self._trouble = Trouble("source serial")
        self._port: Any = None
        self._again, self._rest = 0.0, b""
        self._whole = False  # the first line after a start is often half of one

    def poll(self, seconds: float) -> Sequence[Reading]:
        if self._port is None and not self._opened():
            time.sleep(seconds)
            return ()
        try:
            self._port.timeout = seconds
            data = self._port.read(1)
            data += self._port.read(self._port.in_waiting) if data else b""
        except (self._serial.SerialException, OSError) as error:
            self._lost(error)
            return ()
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > _LONGEST:
            self._rest, self.counters["unreadable"] = b"", self.counters["unreadable"] + 1
        now = time.time_ns()
        return [Reading(now, values) for line in lines if (values := self._values(line))]

    def _opened(self) -> bool:
        if time.monotonic() < self._again:
            return False
        self._again = time.monotonic() + _AGAIN_S
        try:
            self._port = self._serial.Serial(self._settings.port, self._settings.baud)
        except (self._serial.SerialException, OSError, ValueError) as error:
            self._trouble.said(f"{self._settings.port} is not opened: {error}")
            return False
        self._trouble.over()
        self._rest = b""
        return True

    def _lost(self, error: Exception) -> None:
        self.counters["port lost"] += 1
        self._trouble.said(f"{self._settings.port} went away: {error}")
        self.close()

    def _values(self, line: bytes) -> Mapping[str, float]:
        text = line.decode("utf-8", "replace").strip()
        if not text or text.startswith("#"):
            return {}
        try:
            told: Any = json.loads(text) if self._settings.format == "json" else self._cells(text)
            if not isinstance(told, dict):
                raise ValueError("no object")
            values = {}
            for column in self._columns:
                one = told.get(column.source)
                if one is None or one == "" or (isinstance(one, str) and one.strip().lower() in ("nan", "null")):
                    continue
                value = float(one)
                if isinstance(one, bool) or not math.isfinite(value) or (isinstance(one, str) and "_" in one):
                    raise ValueError(f"{one!r} is no number")
                values[column.name] = column.value(value)
        except (ValueError, TypeError, OverflowError, RecursionError) as error:
            self.counters["unreadable"] += 1
            if self._whole:
                self._trouble.once(f"the line {shown(text[:80])} is not read: {str(error)[:200]}")
            return {}
        finally:
            self._whole = True
        return values

    def _cells(self, text: str) -> dict[str, str]:
        cells = [cell.strip() for cell in text.split(self._settings.delimiter)]
        if len(cells) != len(self._fields):
            raise ValueError(f"it has {len(cells)} values, not the {len(self._fields)} of {', '.join(self._fields)}")
        return dict(zip(self._fields, cells))

    def close(self) -> None:
        if self._port is not None:
            self._port.close()
        self._port = None
