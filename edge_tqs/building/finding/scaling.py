"""Which scaling turns the data into the model's units: each is tried with the float model, one step from each window.

One is taken where its error is smaller than that of repeating the last sample (of the mean, for a column that is no
input), and at most half of the next best's. Four fifths are enough for one that alone is smaller than that, and for one
that is nearer beyond what windows differ by, with a forecast that moves as far as the truth. One is also taken with
which the model is half as far off as the mean where all others are further.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edge_tqs.building.finding.deciding import CLEAR, CLEAR_ALONE, FEWEST, WINDOWS, clearly_less, unbiased
from edge_tqs.errors import UsageError
from edge_tqs.graph.graph import Array, Forecast, Scaling
from edge_tqs.project.rollouts import ProjectData, cut, labelled, room
from edge_tqs.project.scales import METHODS, Method, keeping, scaling_by
from edge_tqs.project.series import normalise
from edge_tqs.system.reading import IN_FILE
from edge_tqs.system.system import System

WORDS: dict[Method, str] = {"none": "as it is", "standard": "standardised", "minmax": "min-max"}


class UndecidedError(UsageError):
    """The data do not tell how they become the model's units."""


@dataclass(frozen=True)
class FoundScaling:
    """The method of the inputs, that of outputs that are no inputs (None where there are none), and what was seen."""

    inputs: Method
    outputs: Method | None
    text: str


def find_scaling(
    system: System, forecast: Forecast, data: ProjectData, inputs: Method | Scaling | None, outputs: bool
) -> FoundScaling:
    """The scaling of ``inputs``, unless it is given, and of outputs that are no inputs, if ``outputs`` are asked for.

    forecast: how the system is fed, without scaling. Raises UsageError where the data do not tell, with the figures.
    """
    count = min(WINDOWS, room(data, forecast, 1, "train")[0])
    if forecast.task == "classes" and not labelled(data):
        raise _undecided(data, "no column holds the class of each sample (label under [data]), which would tell")
    if count < FEWEST:
        raise _undecided(data, f"the training part holds {count} windows, too few to find it out")
    seeds, truth = cut(data, forecast, 1, count, "train")
    usable = [
        number
        for number in range(forecast.outputs)
        if not forecast.predicted
        or forecast.predicted[number].statistic in ("value", "mean", "class")
        or forecast.predicted[number].level == 0.5
    ]
    usable = usable or list(range(forecast.outputs))
    own = [number for number in usable if forecast.output_channels[number] is None]
    vary = outputs and bool(own) and forecast.task == "forecast"
    columns = data.series.values[: data.train_rows, [data.series.columns.index(name) for name in data.inputs]]
    naive = _naive_error(forecast, seeds, truth, usable)
    tried: dict[tuple[Method | None, Method | None], float] = {}
    fits: dict[tuple[Method | None, Method | None], _Pairs] = {}
    given = inputs is not None and not isinstance(inputs, str)
    for method in [None] if given else methods_for(columns, inputs, system.whole):
        scaling = inputs if isinstance(inputs, Scaling) else scaling_by(method or "none", columns)
        scaling = keeping(scaling, system.whole)
        scaled = normalise(seeds, scaling)[:, : system.seed_length(1)]
        y = system.roll(scaled, 1)[:, 0].astype(np.float64)
        for own_method in methods_for(truth[:, 0, own], None) if vary else [None]:
            tried[method, own_method] = _error(forecast, y, truth[:, 0], usable, scaling, own_method)
            fits[method, own_method] = _pairs(forecast, y, truth[:, 0], usable, scaling, own_method)
    (best, error), *others = sorted(tried.items(), key=lambda item: item[1])
    figures = ", ".join(f"{_pair(*pair)} {figure:.3g}" for pair, figure in sorted(tried.items(), key=lambda i: i[1]))
    reference = f"{naive[1]} {naive[0]:.3g}"
    clear = CLEAR_ALONE if all(other > naive[0] for _, other in others) else CLEAR
    # beside scalings that are worse than the mean one is evident, though it may not be better than the naive forecast
    evident = error * CLEAR < 1 and all(other > 1 for _, other in others) and forecast.task == "forecast"
    told = all(error * CLEAR_ALONE < other and _told(fits[best], fits[pair]) for pair, other in others)
    rivalled = any(error * clear > other for _, other in others) and not (told and forecast.task == "forecast")
    if len(tried) > 1 and not evident and (not error < naive[0] or rivalled):
        why = f"the float model's one-step error is {figures}; {reference} (standard deviations)"
        near = [pair for pair, other in ((best, error), *others) if other < min(1.0, error * CLEAR)]
        raise _undecided(data, why, near)
    return FoundScaling(
        best[0] or "none",
        best[1],
        f"{_pair(*best)}: the float model's one-step error is then {error:.3g} of {_unit(forecast)}"
        + (f" ({', '.join(f'{_pair(*pair)} {figure:.3g}' for pair, figure in others)})" if others else "")
        + f"; {reference}",
    )


def _unit(forecast: Forecast) -> str:
    return "the windows" if forecast.task == "classes" else "a standard deviation"


def _undecided(data: ProjectData, why: str, near: Sequence[tuple[Method | None, Method | None]] = ()) -> UndecidedError:
    """near: the methods that fit alike, better than the mean does."""
    lines = "; or ".join(
        ", ".join([f'method = "{inputs}"'] * bool(inputs) + [f'outputs = {{method = "{own}"}}'] * bool(own))
        for inputs, own in near
    )
    said = (
        f"Write under [scaling] {IN_FILE} how it was trained: {lines}. On the command line --scaling says it of inputs."
        if lines
        else f'Write method = "standard", "minmax" or "none" under [scaling] {IN_FILE}, or the mean and std that it '
        "was trained with (outputs = {...} for targets); or --scaling standard, minmax or none. If none of them fits: "
        "are the columns in the model's order, and its targets among them?"
    )
    return UndecidedError(
        f"nothing says how {data.series.path.name} becomes the model's units, and the data do not tell: {why}",
        hint=said,
    )


def _pair(inputs: Method | None, outputs: Method | None) -> str:
    said = [WORDS[inputs]] if inputs else []
    if outputs:
        said.append(f"outputs {WORDS[outputs]}")
    return ", ".join(said) or "as given"


def methods_for(values: Array, said: Method | Scaling | None, whole: Sequence[tuple[int, int]] = ()) -> list[Method]:
    """The methods that make a difference to ``values``: of columns that are scaled already, only "none" is tried.

    whole: columns that no method scales.
    """
    if isinstance(said, str):
        return [said]
    found: list[Method] = []
    for method in METHODS:
        scaling = keeping(scaling_by(method, values), whole)
        same = np.allclose(scaling.mean, 0, atol=0.05) and np.allclose(scaling.std, 1, atol=0.1)
        if method == "none" or not same:
            found.append(method)
    return found


def _error(
    forecast: Forecast, y: Array, truth: Array, usable: Sequence[int], scaling: Scaling, own: Method | None
) -> float:
    """The error of outputs ``y`` (N, outputs), in the model's units, relative to the deviation of each column."""
    if forecast.task == "classes":
        return float(np.mean(y.argmax(axis=1) != truth.argmax(axis=1)))
    relative = []
    for number in usable:
        channel, target = forecast.output_channels[number], truth[:, number].astype(np.float64)
        if channel is not None:
            mean, std = scaling.mean[channel], scaling.std[channel]
        else:
            of_target = scaling_by(own or "none", truth[:, [number]])
            mean, std = of_target.mean[0], of_target.std[0]
        if target.std() > 0:
            relative.append(np.mean((y[:, number] * std + mean - target) ** 2) / target.var())
    return float(np.sqrt(np.mean(relative))) if relative else float("inf")


_Pairs = tuple[Array, Array]


def _pairs(
    forecast: Forecast, y: Array, truth: Array, usable: Sequence[int], scaling: Scaling, own: Method | None
) -> _Pairs:
    """Forecast and truth (N, usable), in standard deviations from the mean of each column."""
    made, real = [], []
    for number in usable:
        channel, target = forecast.output_channels[number], truth[:, number].astype(np.float64)
        of = scaling if channel is not None else scaling_by(own or "none", truth[:, [number]])
        mean, std = of.mean[channel or 0], of.std[channel or 0]
        if target.std() > 0:
            made.append((y[:, number] * std + mean - target.mean()) / target.std())
            real.append((target - target.mean()) / target.std())
    return np.array(made).T, np.array(real).T


def _told(best: _Pairs, other: _Pairs) -> bool:
    """Whether the ``best`` is nearer than the ``other`` beyond what windows differ by, and moves as far as the truth.

    So does a model in the units that it was fitted to.
    """
    here, there = (np.mean((made - real) ** 2, axis=1) for made, real in (best, other))
    return clearly_less(here, there) and unbiased(best[0].ravel(), best[1].ravel())


def _naive_error(forecast: Forecast, seeds: Array, truth: Array, usable: Sequence[int]) -> tuple[float, str]:
    """(error, words) of repeating the last sample, and of the mean where a value is of no input."""
    if forecast.task == "classes":
        share = truth[:, 0].mean(axis=0).max()
        return float(1 - share), "always the most frequent class"
    if forecast.task == "reconstruction":
        return 1.0, "the mean"
    relative, words = [], set()
    for number in usable:
        channel, target = forecast.output_channels[number], truth[:, 0, number].astype(np.float64)
        if target.std() == 0:
            continue
        last = None if channel is None else seeds[:, forecast.window - 1, channel]
        words.add("the mean" if last is None else "the last sample repeated")
        relative.append(1.0 if last is None else np.mean((last - target) ** 2) / target.var())
    return (float(np.sqrt(np.mean(relative))) if relative else 0.0), " and ".join(sorted(words)) or "nothing"
