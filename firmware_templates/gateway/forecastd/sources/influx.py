# SPDX-License-Identifier: Apache-2.0
"""InfluxDB's line protocol, as Telegraf writes it to a socket: datagrams of lines (UDP)."""

from __future__ import annotations

import math
import re
import select
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from forecastd.clock import UNITS
from forecastd.resample import Reading
from forecastd.settings import flag, key, one_of, text
from forecastd.sources import Column, Context, SourceError

_LONGEST = 1 << 16
_ESCAPED = re.compile(r"\\([, =\\])")
#: Split at separators that no backslash precedes, and that lie in no text between quotes.
_PART = {
    separator: re.compile(rf'((?:\\.|"(?:\\.|[^"\\])*"|[^\\{separator}])*)({separator}|$)') for separator in (" ", ",")
}


def _tags(value: Any) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(one, str) for one in value.values()):
        raise ValueError("a table of texts")
    return value


@dataclass(frozen=True)
class Settings:
    """listen: address and port for datagrams. tags: that a line must have to count. precision: of its times. live: the
    wall clock tells that a sensor is missing. `from` of a column is MEASUREMENT.FIELD."""

    listen: str = key(text, '"listen": "127.0.0.1:8094"', "127.0.0.1:8094")
    tags: dict[str, str] | None = key(_tags, '"tags": {"room": "north"}', None)
    precision: str = key(one_of("ns", "us", "ms", "s"), '"precision": "ns"', "ns")
    live: bool = key(flag, '"live": true', True)


class Source:
    """Raises SourceError where nothing can listen there."""

    def __init__(self, settings: Settings, context: Context) -> None:
        self.live = settings.live
        self._tags, self._unit = settings.tags or {}, UNITS[settings.precision]
        self._columns: dict[str, list[Column]] = {}
        for column in context.columns:
            self._columns.setdefault(column.source, []).append(column)
        self.counters = {"unreadable": 0}
        host, _, port = settings.listen.rpartition(":")
        self._socket = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        try:
            self._socket.bind((host.strip("[]"), int(port)))
        except (OSError, ValueError, OverflowError) as error:
            self._socket.close()
            raise SourceError(f'nothing can listen at {settings.listen}: {error}; name another "listen"') from error
        self._socket.setblocking(False)

    def poll(self, seconds: float) -> Sequence[Reading]:
        found: list[Reading] = []
        if not select.select([self._socket], [], [], seconds)[0]:
            return found
        try:
            while len(found) < 256:
                data = self._socket.recv(_LONGEST)
                for line in data.decode("utf-8", "replace").splitlines():
                    found += self._reading(line.strip())
        except BlockingIOError:
            pass
        return found

    def _reading(self, line: str) -> list[Reading]:
        if not line or line.startswith("#"):
            return []
        try:
            measurement, tags, fields, stamp = parse(line)
            if any(tags.get(name) != value for name, value in self._tags.items()):
                return []
            values = {}
            for name, value in fields.items():
                for column in self._columns.get(f"{measurement}.{name}", ()):
                    values[column.name] = column.value(value)
        except ValueError:
            self.counters["unreadable"] += 1
            return []
        return [Reading(time.time_ns() if stamp is None else stamp * self._unit, values)] if values else []

    def close(self) -> None:
        self._socket.close()


def parse(line: str) -> tuple[str, dict[str, str], dict[str, float], int | None]:
    """(measurement, tags, fields that are numbers, time) of a line. Raises ValueError.

    Source: https://docs.influxdata.com/influxdb/v1/write_protocols/line_protocol_reference/
    """
    parts = [part for part in _split(line, " ") if part]
    if len(parts) not in (2, 3):
        raise ValueError("a line has a measurement, fields and perhaps a time")
    measurement, *tags = _split(parts[0], ",")
    named = {}
    for tag in tags:
        name, value = _pair(tag)
        named[_plain(name)] = _plain(value)
    fields = {}
    for field in _split(parts[1], ","):
        name, value = _pair(field)
        if value[:1] == '"' or value.lower() in ("t", "f", "true", "false"):
            continue  # a text or a truth is no measured value
        number = float(value[:-1] if value[-1:] in ("i", "u") else value)
        if not math.isfinite(number) or "_" in value:
            raise ValueError(f"{value} is no number")
        fields[_plain(name)] = number
    return _plain(measurement), named, fields, int(parts[2]) if len(parts) == 3 else None


def _split(text: str, separator: str) -> list[str]:
    parts, at = [], 0
    while at <= len(text):
        found = _PART[separator].match(text, at)
        if found is None:
            raise ValueError("quotes or a backslash without an end")
        parts.append(found[1])
        if not found[2]:
            break
        at = found.end()
    return parts


def _pair(text: str) -> tuple[str, str]:
    found = re.fullmatch(r"((?:\\.|[^\\=])+)=(.+)", text, re.DOTALL)
    if found is None:
        raise ValueError(f"{text} is no name with a value")
    return found[1], found[2]


def _plain(text: str) -> str:
    return _ESCAPED.sub(r"\1", text)
