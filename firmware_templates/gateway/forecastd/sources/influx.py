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

from forecastd.clock import LATEST, UNITS
from forecastd.resample import Reading
from forecastd.settings import address, flag, key, one_of, shown
from forecastd.sources import Column, Context, SourceError
from forecastd.trouble import Trouble

#: Bytes of a datagram, and datagrams that are taken at once.
_LONGEST, _AT_ONCE = 1 << 16, 256
_ESCAPED = re.compile(r"\\([, =\\])")
#: Pieces of a line, each read once whatever follows: what a backslash precedes, a text between quotes, the rest.
_IN_NAMES, _IN_FIELDS = re.compile(r"\\.|[^\\ ,]+|[ ,]"), re.compile(r'\\.|"(?:\\.|[^"\\])*"|[^\\ ,"]+|[ ,]')


def _tags(value: Any) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(one, str) for one in value.values()):
        raise ValueError("a table of texts")
    return value


@dataclass(frozen=True)
class Settings:
    """listen: address and port for datagrams. tags: that a line must have to count. precision: of its times. live: the
    wall clock tells that a sensor is missing. `from` of a column is MEASUREMENT.FIELD."""

    listen: tuple[str, int] = key(address, '"listen": "127.0.0.1:8094"', ("127.0.0.1", 8094))
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
        self._trouble = Trouble("source influx")
        family = socket.AF_INET6 if ":" in settings.listen[0] else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        try:
            self._socket.bind(settings.listen)
        except OSError as error:
            self._socket.close()
            where = "{}:{}".format(*settings.listen)
            raise SourceError(f'nothing can listen at {where}: {error}; name another "listen"') from error
        self._socket.setblocking(False)

    def poll(self, seconds: float) -> Sequence[Reading]:
        found: list[Reading] = []
        if not select.select([self._socket], [], [], seconds)[0]:
            return found
        try:
            for _ in range(_AT_ONCE):
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
            at = time.time_ns() if stamp is None else stamp * self._unit
            if not 0 <= at < LATEST:
                raise ValueError(f'the time {stamp} is none of our days: is "precision" that of the lines?')
        except ValueError as error:
            self.counters["unreadable"] += 1
            self._trouble.once(f"the line {shown(line[:80])} is not read: {str(error)[:200]}")
            return []
        return [Reading(at, values)] if values else []

    def close(self) -> None:
        self._socket.close()


def parse(line: str) -> tuple[str, dict[str, str], dict[str, float], int | None]:
    """(measurement, tags, fields that are numbers, time) of a line. Raises ValueError.

    Source: https://docs.influxdata.com/influxdb/v1/write_protocols/line_protocol_reference/
    """
    head = _split(line, " ", _IN_NAMES)[0]  # quotes are letters there
    parts = [part for part in _split(line[len(head) :], " ", _IN_FIELDS) if part]
    if not head or len(parts) not in (1, 2):
        raise ValueError("a line has a measurement, fields and perhaps a time")
    measurement, *tags = _split(head, ",", _IN_NAMES)
    named = {}
    for tag in tags:
        name, value = _pair(tag)
        named[_plain(name)] = _plain(value)
    fields = {}
    for field in _split(parts[0], ",", _IN_FIELDS):
        name, value = _pair(field)
        if value[:1] == '"' or value.lower() in ("t", "f", "true", "false"):
            continue  # a text or a truth is no measured value
        number = float(value[:-1] if value[-1:] in ("i", "u") else value)
        if not math.isfinite(number) or "_" in value:
            raise ValueError(f"{value} is no number")
        fields[_plain(name)] = number
    return _plain(measurement), named, fields, int(parts[1]) if len(parts) == 2 else None


def _split(text: str, separator: str, piece: re.Pattern[str]) -> list[str]:
    parts, start, at = [], 0, 0
    while at < len(text):
        found = piece.match(text, at)
        if found is None:
            raise ValueError("quotes or a backslash without an end")
        if found[0] == separator:
            parts.append(text[start:at])
            start = found.end()
        at = found.end()
    return [*parts, text[start:]]


def _pair(text: str) -> tuple[str, str]:
    found = re.fullmatch(r"((?:\\.|[^\\=])+)=(.+)", text, re.DOTALL)
    if found is None:
        raise ValueError(f"{text} is no name with a value")
    return found[1], found[2]


def _plain(text: str) -> str:
    return _ESCAPED.sub(r"\1", text)
