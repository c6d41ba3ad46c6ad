# SPDX-License-Identifier: Apache-2.0
"""Topics of an MQTT broker, with what Home Assistant needs to find them: a sensor for each output, whose attributes
hold the forecast, and a binary sensor that is on when something is wrong."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from socket import gethostname
from typing import Any

from forecastd.clock import SECOND, iso
from forecastd.mqtt import Connection, PackageError
from forecastd.report import Report
from forecastd.settings import flag, key, text, whole
from forecastd.sinks import About, SinkError

#: Of units that are of one kind of quantity alone: what Home Assistant calls it, to convert and to draw it.
_CLASSES = {
    "°C": "temperature",
    "°F": "temperature",
    "W": "power",
    "kW": "power",
    "W/m²": "irradiance",
    "lx": "illuminance",
}


@dataclass(frozen=True)
class Settings:
    """broker, port, user, password, tls: how it is reached. prefix: of all topics. home_assistant: whether its
    configuration is published; discovery: the prefix that it looks under."""

    broker: str = key(text, '"broker": "192.168.1.10"')
    port: int = key(whole(1, 65_535), '"port": 1883', 1883)
    user: str = key(text, '"user": "NAME"', "")
    password: str = key(text, '"password": "WORD"', "")
    tls: bool = key(flag, '"tls": true', False)
    prefix: str = key(text, '"prefix": "edge-tqs"', "edge-tqs")
    home_assistant: bool = key(flag, '"home_assistant": true', True)
    discovery: str = key(text, '"discovery": "homeassistant"', "homeassistant")


class Sink:
    """Everything is kept by the broker, so that who comes later knows the newest. Raises SinkError where paho-mqtt is
    missing."""

    def __init__(self, settings: Settings, about: About) -> None:
        self.counters = {"lost": 0}
        self._settings, self._about = settings, about
        self._base = f"{settings.prefix}/{about.name}"
        self._outputs = _outputs(about)
        online = f"{self._base}/online"
        try:
            self._connection = Connection(settings, "sink", connected=self._connected, will=(online, "offline"))
        except PackageError as error:
            raise SinkError(str(error)) from error

    def _connected(self, connection: Connection) -> None:
        # Of a broker that lost what it kept this is all that Home Assistant finds again.
        connection.send(f"{self._base}/online", "online")
        model = self._about.model
        about = {"name": self._about.name, "model_hash": model.model_hash, "kind": model.kind, "host": gethostname()}
        connection.send(f"{self._base}/about", json.dumps(about))
        if self._settings.home_assistant:
            for topic, told in self._discovery():
                connection.send(topic, json.dumps(told, ensure_ascii=False))

    def _discovery(self) -> list[tuple[str, dict[str, Any]]]:
        about, settings = self._about, self._settings
        # By the whole topic: gateways of one model have prefixes of their own.
        unique = re.sub(r"[^A-Za-z0-9]+", "_", self._base)
        common = {
            "availability_topic": f"{self._base}/online",
            "device": {
                "identifiers": [unique],
                "name": f"Forecast {self._named()}",
                "manufacturer": "edge-tqs",
            },
        }
        # A forecast that is not renewed for three samples, and half a minute more, is none.
        expires = max(1, 3 * about.period // SECOND) + 30
        found = []
        for slug, (label, unit) in self._outputs.items():
            told: dict[str, Any] = {
                "name": label,
                "unique_id": f"{unique}_{slug}",
                "state_topic": f"{self._base}/{slug}",
                "value_template": "{{ value_json.value }}",
                "json_attributes_topic": f"{self._base}/{slug}",
                "expire_after": expires,
                **common,
            }
            if unit:
                told |= {"unit_of_measurement": unit, "state_class": "measurement"}
            if unit in _CLASSES:
                told["device_class"] = _CLASSES[unit]
            errors = [mae for (output, _), mae in about.promised.items() if output == label and mae > 0]
            if errors:  # a digit beyond the error says nothing
                told["suggested_display_precision"] = max(0, min(6, math.ceil(-math.log10(min(errors)))))
            found.append((f"{settings.discovery}/sensor/{unique}/{slug}/config", told))
        problem = {
            "name": "Problem",
            "unique_id": f"{unique}_problem",
            "device_class": "problem",
            "state_topic": f"{self._base}/problem",
            "value_template": "{{ value_json.state }}",
            "json_attributes_topic": f"{self._base}/problem",
            **common,
        }
        return [*found, (f"{settings.discovery}/binary_sensor/{unique}/problem/config", problem)]

    def _named(self) -> str:
        """The model, and where the prefix has more than one level the last one: which gateway it is."""
        _, gateway, place = self._settings.prefix.rpartition("/")
        return f"{self._about.name} {place}" if gateway else self._about.name

    def publish(self, report: Report) -> None:
        self._tell("report", report.as_json())
        wrong = [*report.problems, *report.alarms]
        self._tell(
            "problem",
            {
                "state": "ON" if wrong else "OFF",
                "problems": wrong,
                "states": dict(report.states),
                "notices": list(report.notices),
                "counters": dict(report.counters),
                "time": iso(report.time),
            },
        )
        if report.forecast is None:
            return
        rows = report.rows()
        for slug, (label, _) in self._outputs.items():
            series = [{"datetime": iso(time), "value": values[label]} for time, values in rows if label in values]
            if label == "anomaly score":
                series = [{"datetime": iso(report.time), "value": report.forecast.score}]
            elif label == "class":
                series = [{"datetime": iso(report.time), "value": report.forecast.chosen}]
            if series:
                row = report.labels.get(label)
                card = {} if row is None else {"error": row.mae, "error_of_last_value": row.naive}
                made = {"value": series[0]["value"], "made": iso(report.time), "forecast": series, **card}
                self._tell(slug, made)

    def _tell(self, topic: str, told: dict[str, Any]) -> None:
        if not self._connection.publish(f"{self._base}/{topic}", json.dumps(told, ensure_ascii=False)):
            self.counters["lost"] += 1

    def close(self) -> None:
        self._connection.close((f"{self._base}/online", "offline"))


def _outputs(about: About) -> dict[str, tuple[str, str]]:
    """By what stands in a topic: (label, unit) of what is published as a sensor."""
    labels = {target.label: about.units.get(target.column or "", "") for target in about.targets}
    if about.model.kind == "reconstruction":
        labels["anomaly score"] = ""
    if about.model.kind == "classes":
        labels = {"class": "", **labels}
    found: dict[str, tuple[str, str]] = {}
    for label, unit in labels.items():
        slug = re.sub(r"[^a-z0-9]+", "_", label.lower()).strip("_") or "output"
        while slug in found or slug in ("about", "report", "problem", "online"):
            slug += "_"
        found[slug] = (label, unit)
    return found
