"""forecastd's report card: what it judges, what it keeps over a restart, and that no moment is a wrong one to end."""

from __future__ import annotations

import json
import math
import random
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import gateways
import numpy as np
import pytest
from forecastd.card import Card
from forecastd.model import UNKNOWN, Range, Target, Training
from forecastd.report import Forecast
from forecastd.resample import Sample
from gateways import HORIZON, bundle, config, graph_of, lines, physical, run

from edge_tqs.graph.graph import Array

MINUTES = 10 * 60 * 10**9
COUNT = 60
TARGETS = tuple(Target(lead, name, name, True) for lead in (1, 2, 3) for name in gateways.COLUMNS)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Array]:
    """(bundle of a model whose states are never reset, series)."""
    graph, codes, _ = graph_of("stateful")
    found = physical(graph, codes).reshape(-1, 2)
    return bundle(graph, tmp_path_factory.mktemp("card")), np.resize(np.concatenate([found, found[::-1]]), (COUNT, 2))


def series(count: int, seed: int = 0) -> Array:
    return np.cumsum(np.random.default_rng(seed).normal(size=(count, 2)), axis=0)


def play(card: Card, samples: Array, forecasts: Array, missing: Array, first: int = 0) -> None:
    for number, (values, said, lacks) in enumerate(zip(samples, forecasts, missing, strict=True), first):
        sample = Sample(number * MINUTES, tuple(values.tolist()), tuple((~lacks).tolist()))
        card.truth(sample)
        card.made(Forecast(sample.time, tuple(said.tolist())), sample)


def test_errors_are_those_of_each_forecast_at_its_time() -> None:
    rng, rolling = np.random.default_rng(1), 20
    samples, forecasts, missing = series(70), rng.normal(size=(70, 6)), rng.random((70, 2)) < 0.2
    card = Card(gateways.COLUMNS, TARGETS, MINUTES, UNKNOWN, rolling)
    play(card, samples, forecasts, missing)
    rows = {(row.label, row.lead): row for row in card.rows()}
    judged = [t for t in range(70) if t and not missing[t].all()][-rolling:]
    for number, target in enumerate(TARGETS):
        column = gateways.COLUMNS.index(target.column)
        known = [t for t in judged if not missing[t, column] and t >= target.lead]
        errors = [abs(forecasts[t - target.lead, number] - samples[t, column]) for t in known]
        naive = [
            abs(samples[t - target.lead, column] - samples[t, column])
            for t in known
            if not missing[t - target.lead, column]
        ]
        row = rows[target.label, target.lead]
        assert (row.truths, row.mae) == (len(errors), pytest.approx(np.mean(errors)))
        assert row.naive == pytest.approx(np.mean(naive))
        assert row.promised is None


def test_a_card_that_goes_on_is_the_card_that_never_stopped() -> None:
    samples, forecasts, missing = series(50), series(50, 3)[:, [0, 1, 0, 1, 0, 1]], np.zeros((50, 2), bool)
    whole = Card(gateways.COLUMNS, TARGETS, MINUTES, UNKNOWN, 15)
    play(whole, samples, forecasts, missing)
    first, kept = Card(gateways.COLUMNS, TARGETS, MINUTES, UNKNOWN, 15), []
    pending = []
    for number in range(30):
        sample = Sample(number * MINUTES, tuple(samples[number].tolist()), (True, True))
        kept.append(first.truth(sample))
        pending.append(first.made(Forecast(sample.time, tuple(forecasts[number].tolist())), sample))
    second = Card(gateways.COLUMNS, TARGETS, MINUTES, UNKNOWN, 15)
    second.restore([one for one in pending[-4:] if one], [one for one in kept if one][-15:], [])
    play(second, samples[30:], forecasts[30:], missing[30:], 30)
    for a, b in zip(whole.rows(), second.rows(), strict=True):
        assert (a.label, a.lead, a.truths, a.mae) == (b.label, b.lead, b.truths, pytest.approx(b.mae))


def test_what_was_said_by_a_clock_that_was_wrong_is_forgotten() -> None:
    card = Card(gateways.COLUMNS, TARGETS, MINUTES, UNKNOWN, 15)
    play(card, series(20), np.zeros((20, 6)), np.zeros((20, 2), bool))
    card.rewind(0)
    assert card.rows() == []
    sample = Sample(1 * MINUTES, (0.0, 0.0), (True, True))
    assert card.truth(sample) is None


def test_alarms() -> None:
    promised = {(name, lead): 1.0 for name in gateways.COLUMNS for lead in (1, 2, 3)}
    columns = {"flow": Range(-1, 1, 0, 1, 3, (-0.1, 0.1)), "load": Range(-100, 100, 0, 1, 3, (-90.0, 90.0))}
    training = Training("m", MINUTES, columns, 10, promised, {})
    card = Card(gateways.COLUMNS, TARGETS, MINUTES, training, 20)
    missing = np.zeros((40, 2), bool)
    samples = np.stack([np.full(40, 3.0), np.sin(np.arange(40))], axis=1)
    play(card, samples[:9], np.zeros((9, 6)), missing[:9])
    assert card.alarms(card.by_label(card.rows())) == []  # too few to say
    play(card, samples[9:], np.zeros((31, 6)), missing[9:], 9)
    assert card.alarms(card.by_label(card.rows())) == [
        "flow: forecasts are worse than the last value, 3 against 0",
        "flow: the error is 3, validation promised 1",
        "flow: 100% of the last 10 samples are outside the training's range",
        "flow: drifted, the mean is 3, in training it was -0.1 to 0.1",
    ]


def plain(report: dict[str, Any]) -> dict[str, Any]:
    """A report less what is of one run."""
    return {key: report[key] for key in ("time", "sample", "states", "window", "forecast", "alarms", "card")}


def contents(path: Path) -> dict[str, list[Any]]:
    with sqlite3.connect(path) as data:
        return {name: list(data.execute(f"SELECT * FROM {name}")) for name in ("sample", "forecast", "error", "state")}


def test_each_truth_is_judged_and_the_card_is_printed(made: tuple[Path, Array], tmp_path: Path) -> None:
    folder, samples = made
    settings = config(tmp_path / "c.json", store=str(tmp_path / "card.sqlite"), rolling=200)
    _, reports, said = run(folder, "--config", settings, text=lines(samples))
    assert said == ""
    errors = {name: [] for name in gateways.COLUMNS}
    at = {report["time"]: report for report in reports}
    for report in reports:
        for row in report["forecast"]["values"] if report["forecast"] else []:
            if row["for"] in at:
                for name, found in errors.items():
                    found.append(abs(row[name] - at[row["for"]]["sample"][name]))
    counts = {name: len(found) for name, found in errors.items()}
    assert set(counts.values()) == {HORIZON * (len(samples) - 4) - HORIZON * (HORIZON + 1) // 2}
    code = subprocess.run(
        [sys.executable, str(folder / "edge-tqs-forecastd"), "--config", str(settings), "--card"],
        capture_output=True,
        text=True,
        check=True,
    )
    head, *rows = code.stdout.splitlines()
    assert head.split() == ["what", "lead", "truths", "error", "last", "value", "promised"]
    by_lead = [line.split() for line in rows if line.split()[1] != "all"]
    assert len(by_lead) == 2 * HORIZON
    for name in gateways.COLUMNS:
        of = [(int(row[2]), float(row[3])) for row in by_lead if row[0] == name]
        total = sum(count * error for count, error in of)
        assert sum(count for count, _ in of) == counts[name]
        assert total == pytest.approx(sum(errors[name]), rel=2e-3)


@pytest.fixture
def killed(made: tuple[Path, Array], tmp_path: Path) -> Any:
    folder, samples = made
    (tmp_path / "in.csv").write_text(lines(samples))

    def settings(name: str) -> Path:
        return config(
            tmp_path / f"{name}.json",
            source={"kind": "csv", "path": str(tmp_path / "in.csv")},
            sinks=[{"kind": "jsonl", "path": str(tmp_path / f"{name}.jsonl")}],
            store=str(tmp_path / f"{name}.sqlite"),
            rolling=20,
        )

    return folder, settings, tmp_path


def test_sigkill_at_any_moment_loses_no_truth_and_makes_no_other_forecast(killed: Any) -> None:
    folder, settings, tmp_path = killed
    assert run(folder, "--config", settings("whole"))[0] == 0
    command = [sys.executable, str(folder / "edge-tqs-forecastd"), "--config", str(settings("cut"))]
    rng, out = random.Random(4), tmp_path / "cut.jsonl"
    for _ in range(8):
        before = out.stat().st_size if out.exists() else 0
        with subprocess.Popen(command) as process:
            while process.poll() is None and (not out.exists() or out.stat().st_size == before):
                time.sleep(0.001)
            time.sleep(rng.uniform(0, 0.01))
            process.kill()
    assert run(folder, "--config", settings("cut"))[0] == 0
    expected = [plain(json.loads(line)) for line in (tmp_path / "whole.jsonl").read_text().splitlines()]
    found: dict[str, Any] = {}
    for line in out.read_text().splitlines():
        try:
            report = plain(json.loads(line))
        except json.JSONDecodeError:
            continue  # a line that was cut; the report is made again
        assert found.setdefault(report["time"], report)["forecast"] == report["forecast"]
        found[report["time"]] = report
    assert [found[report["time"]]["forecast"] for report in expected] == [report["forecast"] for report in expected]
    for a, b in zip(found.values(), expected, strict=True):
        for label, row in b["card"].items():
            assert a["card"][label]["truths"] == row["truths"]
            assert a["card"][label]["mae"] == pytest.approx(row["mae"])
    assert contents(tmp_path / "cut.sqlite") == contents(tmp_path / "whole.sqlite")
    assert len(contents(tmp_path / "cut.sqlite")["error"]) == 20


def test_a_store_that_is_damaged_or_of_another_build_begins_anew(killed: Any) -> None:
    folder, settings, tmp_path = killed
    path = settings("one")
    (tmp_path / "one.sqlite").write_bytes(b"no database at all" * 100)
    assert run(folder, "--config", path)[0] == 0
    first = json.loads((tmp_path / "one.jsonl").read_text().splitlines()[0])
    assert "was damaged" in first["notices"][0]
    assert (tmp_path / "one.sqlite.damaged").exists()
    with sqlite3.connect(tmp_path / "one.sqlite") as data:
        data.execute("UPDATE state SET value = 'other' WHERE key = 'judged'")
    (tmp_path / "in.csv").write_text(lines(np.concatenate([series(COUNT), np.zeros((1, 2))])))
    assert run(folder, "--config", path)[0] == 0
    report = json.loads((tmp_path / "one.jsonl").read_text().splitlines()[-1])
    assert "another build" in report["notices"][0]
    assert report["window"] == [5, 5]  # the samples are those of the sensors, whatever the build
    assert report["card"] == {}


def test_a_disk_that_is_full_is_counted_and_forecasts_go_on(made: tuple[Path, Array]) -> None:
    from forecastd.store import Change, Store

    store = Store(":memory:", "s", "j", period=MINUTES, samples=5, reach=3, rolling=5)
    store._data.execute("PRAGMA max_page_count = 1")
    store.commit(Change(0, 1, b"x" * 100_000, Sample(0, (1.0, math.nan), (True, False))))
    assert store.counters == {"not stored": 1}
    assert store.load().closed is None
