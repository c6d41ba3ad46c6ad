# SPDX-License-Identifier: Apache-2.0
"""The command: options, configuration, then one loop. Exit code 0 at the end of the source, 2 for wrong use."""

from __future__ import annotations

import argparse
import dataclasses
import signal
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from forecastd import sinks, sources
from forecastd.card import Card
from forecastd.config import FILE, STORE, Config, read_config
from forecastd.engines import load_engine
from forecastd.gateway import Gateway
from forecastd.model import Model, ModelError, Training, read_model, read_training
from forecastd.notify import Notifier
from forecastd.report import Report
from forecastd.settings import ConfigError
from forecastd.store import Store, StoreError

_POLL_S = 1.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, check, forecast. ConfigError are one line each on standard error."""
    bundle = Path(__file__).resolve().parent.parent
    parser = argparse.ArgumentParser(prog="edge-tqs-forecastd", description="Forecast live with the model of a bundle.")
    parser.add_argument("--config", type=Path, help=f"default: {FILE} in the bundle")
    parser.add_argument("--bundle", type=Path, default=bundle, help="default: where this program lies")
    parser.add_argument(
        "--broker", metavar="HOST[:PORT]", help="MQTT in place of source and sinks: topics NAME/COLUMN, Home Assistant"
    )
    parser.add_argument("--check", action="store_true", help="only say what is wrong with the configuration")
    parser.add_argument("--card", action="store_true", help="only print the report card: errors by lead, and alarms")
    options = parser.parse_args(arguments)
    path = options.config or options.bundle / FILE
    try:
        model, training = read_model(options.bundle), read_training(options.bundle)
        config = read_config(path, model, training, options.broker)
        if options.check:
            print(f"{path}: no mistakes")
            return 0
        if options.card:
            _print_card(_of_service(config, training), model, training)
            return 0
        return _run(config, model, training, options.bundle)
    except ConfigError as mistakes:
        for sentence in mistakes.sentences:
            print(f"edge-tqs-forecastd: {sentence}", file=sys.stderr)
    except (ModelError, StoreError, sources.SourceError, sinks.SinkError) as error:
        print(f"edge-tqs-forecastd: {error}", file=sys.stderr)
    return 2


def _run(config: Config, model: Model, training: Training, bundle: Path) -> int:
    engine, instead = load_engine(bundle, model)
    notices = [f"the compiled library is not used, LiteRT is: {instead}"] if instead else []
    store = _store(config, model, training)
    gateway = Gateway(
        model, training, engine, config.grid, config.horizon, config.watch, store, config.rolling, notices, config.known
    )
    targets = model.targets(config.horizon)
    about = sinks.About(
        training.name, model, targets, config.grid.period, config.units, training.promised, gateway.history
    )
    kind, settings = config.source
    source: sources.SourceProtocol = sources.module_of(kind).Source(
        settings, sources.Context(config.columns, config.zone, gateway.resumed)
    )
    opened: list[tuple[str, sinks.SinkProtocol]] = []
    try:
        for kind, settings in config.outputs:
            opened.append((kind, sinks.module_of(kind).Sink(settings, about)))
        _loop(source, gateway, opened, Notifier())
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return 1
    finally:
        source.close()
        for _, sink in opened:
            sink.close()
        store.close()
    return 0


def _store(config: Config, model: Model, training: Training) -> Store:
    grid = config.grid
    series = f"{grid.period} {grid.phase} {' '.join(model.columns)}"
    reach = max((target.lead for target in model.targets(config.horizon)), default=0)
    return Store(
        config.store,
        series,
        f"{model.model_hash} {config.horizon}",
        period=grid.period,
        samples=max(model.window, config.rolling, training.rolling),
        reach=reach,
        rolling=config.rolling,
    )


def _of_service(config: Config, training: Training) -> Config:
    """With the store of the service, where no other is named and there is one: root may read that."""
    kept = Path(f"/var/lib/edge-tqs-{training.name}") / STORE
    try:
        there = config.store == ":memory:" and kept.exists()
    except OSError:
        return config
    return dataclasses.replace(config, store=str(kept)) if there else config


def _print_card(config: Config, model: Model, training: Training) -> None:
    """The rolling errors as a table: - where something is not known."""
    store = _store(config, model, training)
    kept = store.load()
    store.close()
    card = Card(model.columns, model.targets(config.horizon), config.grid.period, training, config.rolling)
    card.restore(kept.pending, kept.judged, kept.samples)
    rows = card.rows()
    labels = card.by_label(rows)
    lines: list[tuple[str, ...]] = [("what", "lead", "truths", "error", "last value", "promised")]
    for row in [*labels.values(), *rows]:
        figures = ("-" if value is None else f"{value:.4g}" for value in (row.mae, row.naive, row.promised))
        lines.append((row.label, str(row.lead) if row.lead else "all", str(row.truths), *figures))
    widths = [max(map(len, column)) for column in zip(*lines)]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip())
    for alarm in card.alarms(labels):
        print(alarm)


def _loop(
    source: sources.SourceProtocol, gateway: Gateway, opened: list[tuple[str, sinks.SinkProtocol]], notifier: Notifier
) -> None:
    """Until the source ends or SIGTERM comes; a sample that was begun is finished."""
    stopped: list[int] = []
    signal.signal(signal.SIGTERM, lambda signum, frame: stopped.append(signum))
    notifier.ready()
    status = "no sample yet"
    while not stopped and (readings := source.poll(_POLL_S)) is not None:
        for reading in readings:
            status = _publish(gateway.take(reading, _counters(source, opened)), opened) or status
            notifier.turn(status)
        if source.live:
            status = _publish(gateway.tick(time.time_ns(), _counters(source, opened)), opened) or status
        notifier.turn(status)
    notifier.stopping()


def _counters(source: sources.SourceProtocol, opened: list[tuple[str, sinks.SinkProtocol]]) -> dict[str, int]:
    """What the source dropped and, by the kind of sink, what could not be published."""
    counted = dict(source.counters)
    for kind, sink in opened:
        for why, count in sink.counters.items():
            name = f"{kind} {why}"
            counted[name] = counted.get(name, 0) + count
    return counted


def _publish(reports: Iterable[Report], opened: list[tuple[str, sinks.SinkProtocol]]) -> str:
    """What the newest report comes to, for people; nothing where there is none."""
    status = ""
    for report in reports:
        for _, sink in opened:
            sink.publish(report)
        status = report.status()
    return status
