# SPDX-License-Identifier: Apache-2.0
"""A report in the text format of Prometheus, 0.0.4: gauges of the newest sample, and counters since the start."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Optional

from forecastd.clock import SECOND
from forecastd.report import Report
from forecastd.sinks import About
from forecastd.states import FILLED, MISSING, OK, OUT_OF_RANGE, STUCK

_Rows = Iterable[tuple[Mapping[str, str], Optional[float]]]


def metrics(about: About, report: Report | None) -> str:
    """All metrics of one model; before its first report only what it is."""
    model = about.model
    said = {"model_hash": model.model_hash, "kind": model.kind}
    lines = _metric(about, "info", "gauge", "The model that forecasts.", [(said, 1.0)])
    if report is None:
        return "\n".join(lines) + "\n"

    def gauge(name: str, help_text: str, rows: _Rows) -> None:
        lines.extend(_metric(about, name, "gauge", help_text, rows))

    gauge("sample_timestamp_seconds", "The time of the newest sample.", [({}, report.time / SECOND)])
    gauge(
        "sample", "The newest sample, in the units of training.", [({"column": c}, v) for c, v in report.sample.items()]
    )
    states = (OK, FILLED, MISSING, STUCK, OUT_OF_RANGE)
    gauge(
        "sensor_state",
        "1 for the state that a sensor is in.",
        [({"column": c, "state": s}, float(s == now)) for c, now in report.states.items() for s in states],
    )
    gauge("window_samples", "Samples of the window that are there.", [({}, float(min(report.have, report.window)))])
    gauge("problems", "Sensors and forecasts that something is wrong with.", [
        ({"of": "sensors"}, float(len(report.problems))), ({"of": "forecasts"}, float(len(report.alarms)))
    ])  # fmt: skip
    if report.forecast is not None:
        values = [
            ({"output": target.label, "lead": str(target.lead)}, value)
            for target, value in zip(report.targets, report.forecast.values)
        ]
        gauge("forecast", "The newest forecast, by samples ahead.", values)
        if report.forecast.score is not None:
            gauge(
                "anomaly_score", "Mean squared difference from what the model expects.", [({}, report.forecast.score)]
            )
    for name, help_text in (
        ("mae", "Rolling mean absolute error of the forecasts."),
        ("naive", "The same of repeating the last value."),
        ("promised", "What validation had on held-out data."),
    ):
        rows = [({"output": one.label, "lead": str(one.lead)}, getattr(one, name)) for one in report.errors]
        gauge({"mae": "error", "naive": "naive_error", "promised": "promised_error"}[name], help_text, rows)
    events = [({"event": event}, float(count)) for event, count in report.counters.items()]
    lines += _metric(about, "events_total", "counter", "What was dropped or left out since the start, by why.", events)
    return "\n".join(lines) + "\n"


def _metric(about: About, name: str, kind: str, help_text: str, rows: _Rows) -> list[str]:
    full = f"edge_tqs_{name}"
    made = [
        f"{full}{{{_labels({'model': about.name, **labels})}}} {value!r}" for labels, value in rows if value is not None
    ]
    return [f"# HELP {full} {help_text}", f"# TYPE {full} {kind}", *made] if made else []


def _labels(labels: Mapping[str, str]) -> str:
    def escaped(value: str) -> str:
        return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')

    return ",".join(f'{name}="{escaped(value)}"' for name, value in labels.items())
