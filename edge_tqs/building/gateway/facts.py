"""What forecastd must know of the training: how columns moved, and how large errors were on held-out data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from edge_tqs.building.evaluate import Evaluation
from edge_tqs.building.request import ModelRequest
from edge_tqs.building.windows import Windows
from edge_tqs.graph.graph import Array, Forecast
from edge_tqs.project.rollouts import ProjectData
from edge_tqs.project.series_format import period_text

#: Samples of a rolling mean, at least and where the training part has four times as many.
ROLLING = 48
#: Statistics of an output that are one number for what is measured.
POINTS = ("value", "mean")


def facts(request: ModelRequest, forecast: Forecast, evaluation: Evaluation, windows: Windows) -> dict[str, Any]:
    """gateway.json less the model's name: period, what each column was in the training part, and the errors on held-out
    data, in physical units. Without data all of it is empty."""
    data = None if request.series is None else request.series.data
    if data is None:
        return {"period": None, "rolling": 0, "columns": {}, "errors": []}
    rolling = max(1, min(max(ROLLING, 2 * request.horizon, forecast.window), data.train_rows // 4))
    return {
        "period": None if data.series.period is None else period_text(data.series.period),
        "rolling": rolling,
        "columns": {name: _range(data, name, rolling) for name in forecast.columns},
        "errors": _errors(forecast, evaluation, windows),
    }


def label(forecast: Forecast, output: int) -> str:
    """What forecastd calls an output."""
    if not forecast.predicted:
        return forecast.output_names[output]
    said = forecast.predicted[output]
    statistic = "" if said.statistic in ("value", "class") else f" {said.statistic}"
    return said.name + statistic + ("" if said.level is None else f" {said.level:g}")


def _range(data: ProjectData, name: str, rolling: int) -> dict[str, Any]:
    values = data.series.values[: data.train_rows, data.series.columns.index(name)].astype(np.float64)
    changes = np.flatnonzero(np.diff(values))
    runs = np.diff(np.concatenate([[-1], changes, [len(values) - 1]]))
    means = [_rolling(values[start : min(end, data.train_rows)], rolling) for start, end in data.series.spans]
    found = np.concatenate([part for part in means if len(part)] or [np.zeros(0)])
    return {
        "least": float(values.min()),
        "greatest": float(values.max()),
        "mean": float(values.mean()),
        "std": float(values.std()),
        "longest": int(runs.max()),
        "means": [float(found.min()), float(found.max())] if len(found) else None,
    }


def _rolling(values: Array, count: int) -> Array:
    """Means of each ``count`` values in a row."""
    if len(values) < count:
        return np.zeros(0)
    sums = np.concatenate([[0.0], np.cumsum(values)])
    means: Array = (sums[count:] - sums[:-count]) / count
    return means


def _errors(forecast: Forecast, evaluation: Evaluation, windows: Windows) -> list[Mapping[str, Any]]:
    """Mean absolute errors of what the board computes, and of repeating the last sample, by output and lead."""
    if evaluation.truth is None or forecast.task != "forecast":
        return []
    std = np.abs(np.asarray(forecast.scaling_of_outputs().std, np.float64))
    of_model = np.abs(evaluation.outputs["mixed"].astype(np.float64) - evaluation.truth) * std
    naive = windows.naive
    of_naive = None
    if naive is not None and naive.persistence is not None:
        of_naive = np.abs(naive.persistence.astype(np.float64) - evaluation.truth) * std
    rows: list[Mapping[str, Any]] = []
    for output in range(forecast.outputs):
        said = forecast.predicted[output] if forecast.predicted else None
        if said is not None and said.statistic not in POINTS and said.level != 0.5:
            continue
        steps = [slice(None)] if forecast.driven else [slice(step, step + 1) for step in range(of_model.shape[1])]
        for number, step in enumerate(steps):
            lead = forecast.leads[output] if forecast.driven else number + 1
            rows.append(
                {
                    "label": label(forecast, output),
                    "lead": lead,
                    "mae": _mean(of_model[:, step, output]),
                    "naive": None if of_naive is None else _mean(of_naive[:, step, output]),
                }
            )
    return [row for row in rows if row["mae"] is not None]


def _mean(values: Array) -> float | None:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else None
