"""What a forecast is worth: its errors by output and lead in the data's units, beside the forecasts that need no model.

Every figure is made of a mean over windows, so that its interval is that of the windows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from edge_tqs.building.evaluate import Evaluation, point_outputs
from edge_tqs.building.intervals import interval, mean, resampled
from edge_tqs.building.naive import Naive
from edge_tqs.graph.graph import Array, Forecast, Output
from edge_tqs.report.figures import FigureRow, Figures, Measure, Skill
from edge_tqs.report.format import Figure

#: Standard deviations within which a Gaussian has 90 % of its weight.
GAUSSIAN_90 = 1.6448536269514722
#: Levels of the distribution of an anomaly score that are shown.
SCORE_LEVELS = (0.5, 0.9, 0.99, 1.0)
#: Quantile of float's anomaly scores beyond which alarms are compared.
ALARM = 0.9
NAIVE = ("persistence", "seasonal")
#: A figure of a window is a mean over its steps; (mean over windows) -> what is shown.
Shown = Callable[[Any], Any]


@dataclass(frozen=True)
class _Group:
    """Outputs that say the same of one column at several leads: (lead, output, its step or None for all) each."""

    said: Output
    places: tuple[tuple[int, int, int | None], ...]

    def chosen(self) -> list[tuple[int, int, int | None]]:
        """The first, the quarter, the half and the last of them."""
        last = len(self.places)
        numbers = {1, max(1, last // 4), max(1, last // 2), last}
        return [self.places[number - 1] for number in sorted(numbers)]


def measure(evaluation: Evaluation, forecast: Forecast, naive: Naive, seed: int = 0) -> Figures:
    """The figures of an evaluation with truth. ``seed``: of the intervals."""
    assert evaluation.truth is not None
    truth = evaluation.truth.astype(np.float64)
    said = {name: values.astype(np.float64) for name, values in evaluation.outputs.items()}
    for name, values in (("persistence", naive.persistence), ("seasonal", naive.seasonal)):
        if values is not None:
            said[name] = values.astype(np.float64)
    blocks = resampled(len(truth), seed)
    if forecast.task == "classes":
        rows, skills = _classes(said, truth, naive, blocks)
    elif forecast.task == "reconstruction":
        rows, skills = _anomaly(said, truth, blocks), []
    else:
        rows, skills = _values(said, truth, forecast, naive, blocks), _skills(said, truth, forecast, naive, blocks)
    return Figures(len(truth), truth.shape[1], naive.season, tuple(rows), tuple(skills), _cost(said, truth, forecast))


def _groups(forecast: Forecast, horizon: int) -> list[_Group]:
    predicted = forecast.predicted or tuple(
        Output(name, lead, channel=channel)
        for name, lead, channel in zip(forecast.output_names, forecast.leads, forecast.output_channels, strict=True)
    )
    if not forecast.driven:
        steps = range(horizon)
        return [_Group(said, tuple((step + 1, at, step) for step in steps)) for at, said in enumerate(predicted)]
    found: dict[tuple[str, str, float | None], list[tuple[int, int, int | None]]] = {}
    for at, said in enumerate(predicted):
        found.setdefault((said.name, said.statistic, said.level), []).append((said.lead, at, None))
    return [_Group(predicted[places[0][1]], tuple(sorted(places))) for places in found.values()]


def _values(
    said: Mapping[str, Array], truth: Array, forecast: Forecast, naive: Naive, blocks: Array
) -> list[FigureRow]:
    std = np.asarray(forecast.scaling_of_outputs().std)
    rows = []
    groups = _groups(forecast, truth.shape[1])
    for group in groups:
        statistic, level = group.said.statistic, group.said.level
        if statistic == "deviation":
            rows += _gaussian(group, groups, said, truth, blocks)
            continue
        for lead, places in [(place[0], [place]) for place in group.chosen()] + [(None, list(group.places))]:
            if lead is None and len(group.places) == 1:
                continue
            row = partial(_row, group.said.name, lead, level, blocks=blocks)

            def error(name: str, places: list[tuple[int, int, int | None]] = places) -> Array:
                return np.stack([_at(said[name] - truth, at, step) * std[at] for _, at, step in places], axis=1)

            errors = {name: error(name) for name in said}
            if statistic == "quantile":
                tau = level or 0.0
                rows.append(row("pinball", "data", {n: _pinball(e, tau) for n, e in errors.items()}))
                below = {n: np.where(np.isnan(e), np.nan, e >= 0) for n, e in errors.items() if n not in NAIVE}
                rows.append(row("coverage", "none", below))
            if statistic != "quantile" or level == 0.5:
                absolute = {n: np.abs(e) for n, e in errors.items()}
                rows.append(row("rmse", "data", {n: np.square(e) for n, e in errors.items()}, shown=np.sqrt))
                rows.append(row("mae", "data", absolute))
                step = None if naive.step is None else naive.step[places[0][1]] * std[places[0][1]]
                if step:
                    rows.append(row("mase", "none", {n: e / step for n, e in absolute.items()}))
    return rows + _between(groups, said, truth, blocks)


def _at(values: Array, output: int, step: int | None) -> Array:
    """(N, steps) of one output: those of one step, or all."""
    return values[:, :, output] if step is None else values[:, step : step + 1, output]


def _pinball(error: Array, level: float) -> Array:
    """Of forecast less truth: what a quantile at ``level`` is judged by (Koenker and Bassett 1978)."""
    return np.maximum(-level * error, (1 - level) * error)


def _gaussian(
    group: _Group, groups: Sequence[_Group], said: Mapping[str, Array], truth: Array, blocks: Array
) -> list[FigureRow]:
    """How often the truth lies within the 90 % that a mean and its deviation say, where both are predicted."""
    means = [
        other for other in groups if other.said.name == group.said.name and other.said.statistic in ("mean", "value")
    ]
    if not means:
        return []
    of_mean = {place[0]: place for place in means[0].places}
    rows = []
    for lead, places in [(place[0], [place]) for place in group.chosen()] + [(None, list(group.places))]:
        if lead is None and len(group.places) == 1:
            continue
        pairs = [(at, of_mean[of][1], step) for of, at, step in places if of in of_mean]
        within = {
            name: np.stack(
                [
                    np.abs(_at(values - truth, expected, step)) <= GAUSSIAN_90 * _at(values, at, step)
                    for at, expected, step in pairs
                ],
                axis=1,
            ).astype(float)
            for name, values in said.items()
            if name not in NAIVE and pairs
        }
        if within:
            rows.append(_row(f"{group.said.name} mean and deviation", lead, 0.9, "coverage", "none", within, blocks))
    return rows


def _between(groups: Sequence[_Group], said: Mapping[str, Array], truth: Array, blocks: Array) -> list[FigureRow]:
    """How often the truth lies between the lowest and the highest quantile of a column, over all leads."""
    rows = []
    names = dict.fromkeys(group.said.name for group in groups if group.said.statistic == "quantile")
    for name in names:
        of_name = [g for g in groups if g.said.name == name and g.said.statistic == "quantile"]
        low, high = min(of_name, key=_level), max(of_name, key=_level)
        if low is high or len(low.places) != len(high.places):
            continue
        within = {
            variant: np.stack(
                [
                    (_at(values - truth, a, step) <= 0) & (_at(values - truth, b, step) >= 0)
                    for (_, a, step), (_, b, _) in zip(low.places, high.places, strict=True)
                ],
                axis=1,
            ).astype(float)
            for variant, values in said.items()
            if variant not in NAIVE
        }
        title = f"{name} between q{_level(low):g} and q{_level(high):g}"
        rows.append(_row(title, None, _level(high) - _level(low), "coverage", "none", within, blocks))
    return rows


def _level(group: _Group) -> float:
    return group.said.level or 0.0


def _classes(
    said: Mapping[str, Array], truth: Array, naive: Naive, blocks: Array
) -> tuple[list[FigureRow], list[Skill]]:
    """Accuracy, agreement with float, and what always saying the commonest class would reach."""
    label = truth.argmax(-1)
    chosen = {name: values.argmax(-1) for name, values in said.items()}
    right = {name: (classes == label).astype(float) for name, classes in chosen.items()}
    agree = {name: (classes == chosen["float"]).astype(float) for name, classes in chosen.items() if name != "float"}
    rows = [
        _row("class", None, None, "accuracy", "none", right, blocks),
        _row("class", None, None, "agreement", "none", agree, blocks),
    ]
    if naive.majority is None:
        return rows, []
    common = (label == naive.majority).astype(float)
    return rows, [_skill("majority", 1 - right["float"], 1 - right["mixed"], 1 - common, blocks, lambda part: part)]


def _anomaly(said: Mapping[str, Array], truth: Array, blocks: Array) -> list[FigureRow]:
    """The distribution of the anomaly score, the mean squared error of the window, and how far it is from float's."""
    scores = {name: np.square(values - truth).mean(axis=-1) for name, values in said.items()}
    rows = []
    for level in SCORE_LEVELS:
        figures = {name: float(np.quantile(score, level)) for name, score in scores.items()}
        rows.append(_made("anomaly score", None, level, "score", "model", figures))
    alarm = float(np.quantile(scores["float"], ALARM))
    alike = {name: ((score > alarm) == (scores["float"] > alarm)).astype(float) for name, score in scores.items()}
    rows.append(_row("alarms at float's quantile", None, ALARM, "agreement", "none", alike, blocks))
    off = {name: np.square(score - scores["float"]) for name, score in scores.items() if name != "float"}
    return [*rows, _row("anomaly score, from float's", None, None, "rmse", "model", off, blocks, np.sqrt)]


def _scaled(values: Array, truth: Array, outputs: list[int]) -> Array:
    """Squared errors of each window (N,), each output in terms of the variance of its truth where that moves; an output
    that does not counts only where none does."""
    variance = truth[:, :, outputs].var(axis=(0, 1))
    moving = [at for at, size in zip(outputs, variance, strict=True) if size > 0]
    unit = variance[variance > 0] if moving else np.ones(len(outputs))
    part: Array = (np.square(values - truth)[:, :, moving or outputs] / unit).mean(axis=(1, 2))
    return part


def _skills(said: Mapping[str, Array], truth: Array, forecast: Forecast, naive: Naive, blocks: Array) -> list[Skill]:
    """Against what can be had where the model runs: a soft sensor takes the place of what would be repeated."""
    outputs = point_outputs(forecast)
    of_float, of_mixed = (_scaled(said[name], truth, outputs) for name in ("float", "mixed"))
    if naive.mean is not None and all(forecast.leads[at] < 1 for at in outputs):
        of_mean = _scaled(np.broadcast_to(naive.mean, truth.shape), truth, outputs)
        return [_skill("mean", of_float, of_mixed, of_mean, blocks, np.sqrt)]
    return [
        _skill(name, of_float, of_mixed, _scaled(said[name], truth, outputs), blocks, np.sqrt)
        for name in NAIVE
        if name in said and np.isfinite(_scaled(said[name], truth, outputs)).sum() * 2 >= len(truth)
    ]


def _cost(said: Mapping[str, Array], truth: Array, forecast: Forecast) -> float | None:
    """RMSE of mixed over float's, less 1."""
    if forecast.task != "forecast":
        return None
    of_float, of_mixed = (_scaled(said[name], truth, point_outputs(forecast)).mean() for name in ("float", "mixed"))
    if not of_float or not np.isfinite(of_float + of_mixed):
        return None
    return float(np.sqrt(of_mixed / of_float) - 1)


def _skill(against: str, of_float: Array, of_mixed: Array, of_naive: Array, blocks: Array, root: Shown) -> Skill:
    """1 less the error over that of the naive forecast: 1 is perfect, 0 is no better; over the windows that have both.

    of_*: what is averaged, (N,) or (N, T).
    """
    per = [values.reshape(len(values), -1).mean(axis=1) for values in (of_float, of_mixed, of_naive)]
    both = np.isfinite(per[2])
    one, two, three = (np.where(both, values, np.nan) for values in per)

    def skill(error: Array, naive: Array) -> Array:
        with np.errstate(divide="ignore", invalid="ignore"):
            found: Array = 1 - np.asarray(root(np.nanmean(error, axis=-1) / np.nanmean(naive, axis=-1)))
        return found

    low, high = interval(skill(two[blocks], three[blocks]))
    return Skill(against, float(skill(one, three)), float(skill(two, three)), low, high)  # type: ignore[arg-type]


def _row(
    name: str,
    lead: int | None,
    level: float | None,
    measure: Measure,
    unit: str,
    values: Mapping[str, Array],
    blocks: Array,
    shown: Shown = lambda figure: figure,
) -> FigureRow:
    """``values`` by forecast, (N, ...): what is averaged over the windows, and then ``shown``."""
    per = {key: mean(value.reshape(len(value), -1)) for key, value in values.items()}
    figures = {key: float(shown(mean(value))) for key, value in per.items()}
    low, high = interval(np.asarray(shown(mean(per["mixed"][blocks]))))
    return _made(name, lead, level, measure, unit, figures, low, high)


def _made(
    name: str,
    lead: int | None,
    level: float | None,
    measure: Measure,
    unit: str,
    figures: Mapping[str, float],
    low: float | None = None,
    high: float | None = None,
) -> FigureRow:
    def figure(key: str) -> Figure:
        value = figures.get(key)
        return value if value is not None and np.isfinite(value) else None

    return FigureRow(
        name,
        lead,
        level,
        measure,
        unit,  # type: ignore[arg-type]
        figure("float"),
        figure("int8"),
        figure("int4"),
        figure("mixed"),
        low,
        high,
        figure("persistence"),
        figure("seasonal"),
    )
