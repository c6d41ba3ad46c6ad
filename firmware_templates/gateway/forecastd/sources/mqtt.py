# SPDX-License-Identifier: Apache-2.0
"""Messages of an MQTT broker: a topic for each column, or one topic with an object of JSON that holds all."""

from __future__ import annotations

import json
import math
import queue
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from forecastd.clock import reader
from forecastd.mqtt import Connection, PackageError
from forecastd.resample import Reading
from forecastd.settings import flag, key, shown, text, whole
from forecastd.sources import Column, Context, SourceError
from forecastd.trouble import Trouble

#: Messages that wait to be taken, the bytes that one may have, and those that are taken at once.
_WAITING, _LONGEST, _AT_ONCE = 10_000, 1 << 16, 256
_NO_VALUE = {"", "none", "null", "nan", "unknown", "unavailable"}
PLACE = "{column}"


@dataclass(frozen=True)
class Settings:
    """broker, port, user, password, tls: how it is reached. topic: with {column} for a topic each, else the one of all.

    field: of a topic each, where its value is within an object of JSON; payloads are plain numbers without. time: the
    field of the time within the object; times of arrival without. time_format: clock.reader's. live: the wall clock
    tells that a sensor is missing; false for a replay.
    """

    broker: str = key(text, '"broker": "192.168.1.10"')
    topic: str = key(text, '"topic": "greenhouse/{column}", or of objects of JSON "topic": "greenhouse/state"')
    port: int = key(whole(1, 65_535), '"port": 1883', 1883)
    user: str = key(text, '"user": "NAME"', "")
    password: str = key(text, '"password": "WORD"', "")
    tls: bool = key(flag, '"tls": true', False)
    field: str | None = key(text, '"field": "value"', None)
    time: str | None = key(text, '"time": "ts"', None)
    time_format: str | None = key(text, '"time_format": "s"', None)
    live: bool = key(flag, '"live": true', True)


def check(settings: Settings) -> list[str]:
    """Mistakes of settings that are each right."""
    found = []
    if "+" in settings.topic or "#" in settings.topic:
        found.append(f'"topic" is "{settings.topic}", which stands for many: write "topic": "greenhouse/{PLACE}"')
    if settings.field is not None and PLACE not in settings.topic:
        found.append('"field" is of a topic for each column: leave it out, "from" of a column names its field')
    if settings.time is not None and PLACE in settings.topic and settings.field is None:
        found.append('"time" is a field of an object of JSON: write "field": "value" too, or leave it out')
    if settings.time is None and not settings.live:
        found.append('times of arrival are live: write "time": "ts", the field of the time, or leave "live" out')
    return found


class Source:
    """What was published since it connected; values that the broker kept from before have no time of arrival and are
    left out. Raises SourceError where paho-mqtt is missing."""

    def __init__(self, settings: Settings, context: Context) -> None:
        self._settings, self.live = settings, settings.live
        self._read_time = reader(settings.time_format, context.zone)
        self._columns: dict[str, list[Column]] = {}
        for column in context.columns:
            self._columns.setdefault(settings.topic.replace(PLACE, column.source), []).append(column)
        self.counters = {"garbage": 0, "kept from before": 0, "overrun": 0}
        self._trouble = Trouble("source mqtt")
        self._queue: queue.Queue[tuple[int, str, bytes]] = queue.Queue(_WAITING)
        try:
            self._connection = Connection(settings, "source", subscribe=tuple(self._columns), message=self._arrived)
        except PackageError as error:
            raise SourceError(str(error)) from error

    def _arrived(self, topic: str, payload: bytes, kept: bool) -> None:
        if kept and self._settings.time is None:
            self.counters["kept from before"] += 1
            return
        try:
            self._queue.put_nowait((time.time_ns(), topic, payload))
        except queue.Full:
            self.counters["overrun"] += 1

    def poll(self, seconds: float) -> Sequence[Reading]:
        found = []
        try:
            for number in range(_AT_ONCE):
                reading = self._reading(*self._queue.get(number == 0, seconds))  # it waits for the first alone
                if reading is not None:
                    found.append(reading)
        except queue.Empty:
            pass
        return found

    def _reading(self, arrived: int, topic: str, payload: bytes) -> Reading | None:
        try:
            return self._read(arrived, topic, payload)
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
            self.counters["garbage"] += 1
            lacks = f'no field "{self._settings.time}"' if isinstance(error, KeyError) else str(error)
            held = shown(payload[:80].decode("utf-8", "replace"))
            self._trouble.once(f"{topic} holds {held}: {lacks[:200]}")
            return None

    def _read(self, arrived: int, topic: str, payload: bytes) -> Reading:
        if len(payload) > _LONGEST:
            raise ValueError("too long")
        settings, columns = self._settings, self._columns[topic]
        plain = PLACE in settings.topic and settings.field is None
        if plain:
            return Reading(arrived, _values(columns, [payload.decode("utf-8")]))
        told = json.loads(payload)
        if not isinstance(told, dict):
            raise TypeError("no object")
        when = arrived if settings.time is None else self._read_time(_text(told[settings.time]))
        if settings.field is not None:
            return Reading(when, _values(columns, [told[settings.field]]))
        return Reading(when, _values(columns, [told.get(column.source) for column in columns]))

    def close(self) -> None:
        self._connection.close()


def _values(columns: Sequence[Column], told: Sequence[Any]) -> dict[str, float]:
    """Values by column; those that say that there is none are left out. Raises ValueError, TypeError."""
    found = {}
    for column, one in zip(columns, told):
        if one is None or (isinstance(one, str) and one.strip().lower() in _NO_VALUE):
            continue
        if isinstance(one, bool) or (isinstance(one, str) and "_" in one):
            raise ValueError(f"{one!r} is no number")
        value = float(one)
        if not math.isfinite(value):
            raise ValueError(f"{one!r} is not finite")
        found[column.name] = column.value(value)
    return found


def _text(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise TypeError(f"{value!r} is no time")
    return value if isinstance(value, str) else repr(value)
