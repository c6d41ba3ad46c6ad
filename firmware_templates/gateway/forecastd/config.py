# SPDX-License-Identifier: Apache-2.0
"""forecastd.json: where readings come from, how samples are made of them, where forecasts go.

JSON, since it is what Python 3.9's standard library reads that has numbers and tables within tables.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from datetime import timezone, tzinfo
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from forecastd import sinks, sources
from forecastd.clock import parse_period, period_text
from forecastd.model import Model, Training
from forecastd.resample import Grid
from forecastd.settings import ConfigError, key, listed, number, one_of, read, shown, text, whole
from forecastd.states import Watch

FILE = "forecastd.json"
STORE = "forecastd.sqlite"


def _period(value: Any) -> int:
    return parse_period(text(value))


def _moved(value: Any) -> int:
    return 0 if value == "0" else parse_period(text(value))


def _zone(value: Any) -> tzinfo:
    if value == "UTC":
        return timezone.utc
    try:
        return ZoneInfo(text(value))
    except Exception as error:  # zoneinfo raises whatever the name makes a path of
        raise ValueError("a zone that this machine knows") from error


def _table(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("a table")
    return value


def _tables(value: Any) -> list[Any]:
    if not isinstance(value, list) or not value:
        raise ValueError("a list of tables")
    return value


@dataclass(frozen=True)
class _ColumnTable:
    source: str | None = key(text, '"from": "NAME"', None, "from")
    unit: str = key(text, '"unit": "°C"', "")
    scale: float = key(number, '"scale": 0.5556', 1.0)
    offset: float = key(number, '"offset": -273.15', 0.0)


@dataclass(frozen=True)
class _Fill:
    most: int = key(whole(0, 10_000), '"most": 3')
    by: str = key(one_of("hold", "linear"), '"by": "hold"', "hold")


@dataclass(frozen=True)
class _WatchTable:
    margin: float = key(number, '"margin": 0.1', Watch.margin)
    stuck: int | None = key(whole(2), '"stuck": 60', None)


@dataclass(frozen=True)
class _File:
    source: dict[str, Any] = key(_table, '"source": {"kind": "stdin"}')
    sinks: list[Any] = key(_tables, '"sinks": [{"kind": "jsonl"}]')
    columns: dict[str, Any] = key(_table, '"columns": {"temperature": {"unit": "°C"}}')
    period: int = key(_period, '"period": "30min"')
    horizon: int = key(whole(1, 10_000), '"horizon": 24')
    phase: int = key(_moved, '"phase": "15min"', 0)
    resample: str = key(one_of("last", "mean"), '"resample": "last"', "last")
    fill: dict[str, Any] | None = key(_table, '"fill": {"most": 3, "by": "hold"}', None)
    watch: dict[str, Any] | None = key(_table, '"watch": {"margin": 0.1}', None)
    time_zone: tzinfo | None = key(_zone, '"time_zone": "Europe/Berlin"', None)
    store: str | None = key(text, '"store": "/var/lib/edge-tqs/model.sqlite"', None)
    rolling: int = key(whole(2, 100_000), '"rolling": 336', 336)


@dataclass(frozen=True)
class Config:
    """forecastd.json, checked. source, outputs: (kind, its settings). units: of columns that have one. store: the file
    of the report card. rolling: samples that its errors are means of."""

    path: Path
    source: tuple[str, Any]
    outputs: tuple[tuple[str, Any], ...]
    columns: tuple[sources.Column, ...]
    units: dict[str, str]
    grid: Grid
    horizon: int
    watch: Watch
    zone: tzinfo | None
    store: str
    rolling: int


def read_config(path: Path, model: Model, training: Training, broker: str | None = None) -> Config:
    """The configuration for ``model``. Raises ConfigError with all that is wrong.

    broker: HOST[:PORT] of an MQTT broker, in place of the source and the sinks: topics NAME/COLUMN, and forecasts for
    Home Assistant.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_distinct)
    except OSError as error:
        raise ConfigError([f"{path} cannot be read: {error.strerror}: name the file with --config"]) from error
    except json.JSONDecodeError as error:
        where = f"{path}, line {error.lineno}: {error.msg.lower()}"
        raise ConfigError(
            [f'{where}: JSON has quotes around names, and commas between, as {{"kind": "stdin"}}']
        ) from error
    except ValueError as error:
        raise ConfigError([f"{path}: {error}"]) from error
    mistakes: list[str] = []
    if broker is not None and isinstance(found, dict):
        found = {**found, **_of_broker(broker, training.name)}
    file = read(_File, found, path.name, mistakes)
    table = found if isinstance(found, dict) else {}
    source = _of_kind(sources, table.get("source"), f"{path.name}: source", mistakes)
    outputs = [
        _of_kind(sinks, one, f"{path.name}: sinks, number {number + 1}", mistakes)
        for number, one in enumerate(table["sinks"] if isinstance(table.get("sinks"), list) else [])
    ]
    columns, units = _columns(table.get("columns"), model, f"{path.name}: columns", mistakes)
    fill = read(_Fill, table.get("fill", {"most": 0}), f"{path.name}: fill", mistakes)
    watch = read(_WatchTable, table.get("watch", {}), f"{path.name}: watch", mistakes)
    if file is not None and training.period and file.period != training.period:
        mistakes.append(
            f"{path.name}: the model was trained at a period of {period_text(training.period)}, not "
            f'{period_text(file.period)}: write "period": "{period_text(training.period)}"'
        )
    if mistakes or file is None or source is None or fill is None or watch is None:
        raise ConfigError(mistakes)
    return Config(
        path=path,
        source=source,
        outputs=tuple(output for output in outputs if output is not None),
        columns=columns,
        units=units,
        grid=Grid(file.period, file.phase % file.period, file.resample, fill.most, fill.by),
        horizon=file.horizon,
        watch=Watch(watch.margin, watch.stuck),
        zone=file.time_zone,
        store=file.store or _own_store(),
        rolling=file.rolling,
    )


def _own_store() -> str:
    """Where no file is named: in the folder that systemd gave the service, else in memory."""
    folder = os.environ.get("STATE_DIRECTORY", "").partition(":")[0]
    return f"{folder}/{STORE}" if folder else ":memory:"


def _of_broker(broker: str, name: str) -> dict[str, Any]:
    host, _, port = broker.partition(":")
    if not host or (port and not (port.isascii() and port.isdigit())):
        raise ConfigError([f"--broker {broker!r} is no address: write --broker 192.168.1.10, or --broker HOST:1883"])
    reached = {"kind": "mqtt", "broker": host, **({"port": int(port)} if port else {})}
    return {"source": {**reached, "topic": name + "/{column}"}, "sinks": [reached, {"kind": "page"}]}


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f'"{name}" is there twice: keep one of them')
    return dict(pairs)


def _of_kind(package: Any, table: Any, where: str, mistakes: list[str]) -> tuple[str, Any] | None:
    """(kind, settings) of a table of a source or a sink."""
    if not isinstance(table, dict):
        return None  # said by whoever read the list
    kind = table.get("kind")
    if kind not in package.KINDS:
        first = next(iter(package.KINDS))
        mistakes.append(f'{where}: "kind" is {shown(kind)}, there is {listed(package.KINDS)}: write "kind": "{first}"')
        return None
    rest = {name: value for name, value in table.items() if name != "kind"}
    module = package.module_of(kind)
    settings = read(module.Settings, rest, where, mistakes)
    if settings is not None and hasattr(module, "check"):
        mistakes += [f"{where}: {mistake}" for mistake in module.check(settings)]
    return None if settings is None else (str(kind), settings)


def _columns(
    tables: Any, model: Model, where: str, mistakes: list[str]
) -> tuple[tuple[sources.Column, ...], dict[str, str]]:
    """Where each column of the model is found, and the units of those that have one."""
    columns, units = [], {}
    if not isinstance(tables, dict):
        return (), {}
    for name in tables:
        if name not in model.columns:
            mistakes.append(f'{where}: the model has no column "{name}"; it has {listed(dict.fromkeys(model.columns))}')
    for name in model.columns:
        if name not in tables:
            mistakes.append(f'{where}: "{name}" is missing: write "{name}": {{}}')
            continue
        table = read(_ColumnTable, tables[name], f'{where}: "{name}"', mistakes)
        if table is not None:
            columns.append(sources.Column(name, table.source or name, table.scale, table.offset))
            if table.unit:
                units[name] = table.unit
    found = [column.source for column in columns]
    for twice in sorted({one for one in found if found.count(one) > 1}):
        mistakes.append(f'{where}: two columns are read from "{twice}": write another "from" in one of them')
    return tuple(columns), units
