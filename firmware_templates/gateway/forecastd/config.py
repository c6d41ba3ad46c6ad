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
from forecastd.known import CLOCKS, Known, Table, clock_range
from forecastd.model import Model, Training
from forecastd.resample import Grid
from forecastd.settings import ConfigError, flag, key, listed, number, one_of, read, shown, text, whole
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
    clock: str | None = key(one_of(*CLOCKS), '"clock": "hour"', None)
    ahead: bool = key(flag, '"ahead": true', False)


@dataclass(frozen=True)
class _AheadTable:
    path: str = key(text, '"path": "/home/pi/tariff.csv"')
    time: str = key(text, '"time": "time"', "time")
    time_format: str | None = key(text, '"time_format": "s"', None)


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
    ahead: dict[str, Any] | None = key(_table, '"ahead": {"path": "/home/pi/tariff.csv"}', None)
    watch: dict[str, Any] | None = key(_table, '"watch": {"margin": 0.1}', None)
    time_zone: tzinfo | None = key(_zone, '"time_zone": "Europe/Berlin"', None)
    store: str | None = key(text, '"store": "/var/lib/edge-tqs/model.sqlite"', None)
    rolling: int = key(whole(2, 100_000), '"rolling": 336', 336)


@dataclass(frozen=True)
class Config:
    """forecastd.json, checked. source, outputs: (kind, its settings). columns: those that the source delivers; known:
    the others, told by a clock or a file. units: of columns that have one. store: the file of the report card.
    rolling: samples that its errors are means of."""

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
    known: Known


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
    tables = _columns(table.get("columns"), model, f"{path.name}: columns", mistakes)
    ahead = None if table.get("ahead") is None else read(_AheadTable, table["ahead"], f"{path.name}: ahead", mistakes)
    _check_known(tables, ahead, model, training, path.name, mistakes)
    if file is not None and file.time_zone is None and any(one.clock for one in tables.values()):
        mistakes.append(f'{path.name}: a "clock" is of local time: write "time_zone": "Europe/Berlin", or "UTC"')
    fill = read(_Fill, table.get("fill", {"most": 0}), f"{path.name}: fill", mistakes)
    watch = read(_WatchTable, table.get("watch", {}), f"{path.name}: watch", mistakes)
    if file is not None and training.period and file.period != training.period:
        mistakes.append(
            f"{path.name}: the model was trained at a period of {period_text(training.period)}, not "
            f'{period_text(file.period)}: write "period": "{period_text(training.period)}"'
        )
    if mistakes or file is None or source is None or fill is None or watch is None:
        raise ConfigError(mistakes)
    columns = {
        name: sources.Column(name, one.source or name, one.scale, one.offset)
        for name, one in tables.items()
        if one.clock is None
    }
    from_file = tuple(column for name, column in columns.items() if tables[name].ahead)
    given = None
    if ahead is not None:
        given = Table(ahead.path, ahead.time, ahead.time_format, file.time_zone, file.period, from_file)
    return Config(
        path=path,
        source=source,
        outputs=tuple(output for output in outputs if output is not None),
        columns=tuple(column for name, column in columns.items() if not tables[name].ahead),
        units={name: one.unit for name, one in tables.items() if one.unit},
        grid=Grid(file.period, file.phase % file.period, file.resample, fill.most, fill.by),
        horizon=file.horizon,
        watch=Watch(watch.margin, watch.stuck),
        zone=file.time_zone,
        store=file.store or _own_store(),
        rolling=file.rolling,
        known=Known({name: one.clock for name, one in tables.items() if one.clock}, file.time_zone, given),
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


def _columns(tables: Any, model: Model, where: str, mistakes: list[str]) -> dict[str, _ColumnTable]:
    """What is said of each column of the model, in its order."""
    found: dict[str, _ColumnTable] = {}
    if not isinstance(tables, dict):
        return found
    for name in tables:
        if name not in model.columns:
            mistakes.append(f'{where}: the model has no column "{name}"; it has {listed(dict.fromkeys(model.columns))}')
    for name in model.columns:
        if name not in tables:
            mistakes.append(f'{where}: "{name}" is missing: write "{name}": {{}}')
            continue
        table = read(_ColumnTable, tables[name], f'{where}: "{name}"', mistakes)
        if table is not None:
            found[name] = table
    read_from = [one.source or name for name, one in found.items() if one.clock is None and not one.ahead]
    for twice in sorted({one for one in read_from if read_from.count(one) > 1}):
        mistakes.append(f'{where}: two columns are read from "{twice}": write another "from" in one of them')
    return found


def _check_known(
    tables: dict[str, _ColumnTable],
    ahead: _AheadTable | None,
    model: Model,
    training: Training,
    where: str,
    mistakes: list[str],
) -> None:
    """Mistakes of columns that are known ahead, and of those that should be."""
    for name, one in tables.items():
        if name in model.ahead and one.clock is None and not one.ahead:
            mistakes.append(
                f'{where}: columns: "{name}" must be known at each time that is forecast: write "{name}": '
                f'{{"clock": "hour"}} for what a clock says, or "{name}": {{"ahead": true}} and "ahead": {{"path": '
                '"/home/pi/tariff.csv"}, a file with times to come'
            )
        if one.clock is not None and (one.ahead or one.source is not None or (one.scale, one.offset) != (1.0, 0.0)):
            mistakes.append(
                f'{where}: columns: "{name}" is what a clock says: leave "ahead", "from", "scale" and "offset" out'
            )
        if one.ahead and ahead is None:
            mistakes.append(
                f'{where}: "{name}" is known ahead from a file: write "ahead": {{"path": "/home/pi/tariff.csv"}}'
            )
        trained = training.columns.get(name)
        if one.clock is not None and trained is not None:
            _check_clock(name, one.clock, (trained.least, trained.greatest), where, mistakes)
    if ahead is not None and not any(one.ahead for one in tables.values()):
        mistakes.append(
            f'{where}: no column is in the file of "ahead": write "NAME": {{"ahead": true}} under "columns"'
        )
    if tables and all(one.clock is not None or one.ahead for one in tables.values()):
        mistakes.append(
            f'{where}: columns: nothing is left for the source to read: leave "clock" or "ahead" out of one'
        )


def _check_clock(name: str, clock: str, trained: tuple[float, float], where: str, mistakes: list[str]) -> None:
    """A clock that says what training never saw is another one than the column's."""
    least, greatest = clock_range(clock)
    slack = 0.05 * (greatest - least)
    if least - slack <= trained[0] and trained[1] <= greatest + slack:
        return
    fits = [
        f'"{other}"'
        for other in CLOCKS
        for low, high in [clock_range(other)]
        if abs(trained[0] - low) <= 0.05 * (high - low) and abs(trained[1] - high) <= 0.05 * (high - low)
    ]
    mistakes.append(
        f'{where}: columns: "{name}" was {trained[0]:g} to {trained[1]:g} in training, and "{clock}" is {least:g} to '
        f"{greatest:g}: " + (f'write "clock": {fits[0]}' if fits else 'take another "clock"')
        + (f" (or {', '.join(fits[1:])})" if len(fits) > 1 else "")
    )  # fmt: skip
