"""What else a model is, by the data, than what was said: shares of classes, other columns, another order, labels.

One is named only where the float model's error is then far smaller than as was said, and than that of repeating the
last sample. Errors are of windows of the training part, in standard deviations.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, permutations

import numpy as np

from edge_tqs.building.finding.candidates import candidates
from edge_tqs.building.finding.deciding import CLEAR, CLEAR_ALONE, FEWEST, MOST_LEAD, WINDOWS, clearly_less
from edge_tqs.building.finding.one_step import Fit, one_step
from edge_tqs.building.finding.trial import Candidate, Trial
from edge_tqs.graph.graph import Array, Forecast, Scaling
from edge_tqs.project.roles import Roles
from edge_tqs.project.rollouts import ProjectData, target_columns
from edge_tqs.project.series import normalise, origins, windows
from edge_tqs.system.reading import IN_FILE
from edge_tqs.system.system import System

#: How far the sum of shares may be from one; how far that of the truth moves, at least, where it is no shares.
ROUNDED, MOVES = 1e-3, 0.05
#: The squared error of what is not finite.
FAR = 1e12
#: Windows that orders of columns are compared on; columns of which all orders are tried, and pairs are exchanged.
FEW_WINDOWS, ALL_ORDERS, MOST_COLUMNS = 64, 4, 16


@dataclass(frozen=True)
class Otherwise:
    """The error as what the sentence ``text`` says, with the line to write."""

    error: float
    text: str


def as_shares(forecast: Forecast, y: Array, truth: Array, data: ProjectData) -> Otherwise | None:
    """Of values (N, outputs) that add up to one where those of their columns do not: evidence for classes."""
    count = y.shape[1]
    if forecast.task != "forecast" or count < 2 or (y < 0).any() or np.abs(y.sum(axis=1) - 1).max() > ROUNDED:
        return None
    if truth.sum(axis=1).std() < MOVES:
        return None
    return Otherwise(
        0.0,
        f"Its {count} values add up to one in each window, and those of {', '.join(_names(data, forecast))} do not: "
        f'they are shares, evidence for classes. Write kind = "classes" under [forecast] {IN_FILE}, in place of '
        f'outputs; and label = "COLUMN" under [data], where a column numbers the classes from 0 to {count - 1}.',
    )


def as_labels(forecast: Forecast, y: Array, truth: Array) -> Otherwise | None:
    """Of values (N, W * F) taken for the window again that are each nearer to the sample after.

    Those of the second half are compared: what came before the window is not known to the first.
    """
    if forecast.task != "reconstruction" or forecast.window < 3:
        return None
    size = (len(y), forecast.window, forecast.channels)
    made, real = y.reshape(size), truth.reshape(size)
    spreads = real.std(axis=(0, 1))
    if not spreads.all():
        return None
    half = slice(forecast.window // 2, -1)
    here, later = (
        np.mean(((made[:, half] - part[:, half]) / spreads) ** 2, axis=(1, 2)) for part in (real, np.roll(real, -1, 1))
    )
    error, said = float(np.sqrt(later.mean())), float(np.sqrt(here.mean()))
    if not (error * CLEAR_ALONE < said and clearly_less(later, here)):
        return None
    return Otherwise(
        error,
        f"Each of its values is nearer to the sample after ({error:.3g}) than to its own ({said:.3g}): they are "
        f'labels, of which the last is the forecast. Write labels = "wide" under [forecast] {IN_FILE}, in place of '
        'kind = "reconstruction".',
    )


# --- other columns, or samples --------------------------------------------------------------------------------------


def as_columns(system: System, forecast: Forecast, data: ProjectData, fit: Fit) -> Otherwise | None:
    """Of values of which each reading is tried: other columns, samples of one column, the window again."""
    plain = all(output.statistic == "value" for output in forecast.predicted)
    steps = forecast.steps
    length = MOST_LEAD + steps * forecast.outputs
    possible, _ = origins(data.series, forecast.window, length, part="train", rows=data.train_rows)
    if not plain or forecast.task != "forecast" or len(possible) < FEWEST:
        return None
    rows = _rows(data, forecast, length, min(WINDOWS, len(possible)))
    inputs = [data.series.columns.index(name) for name in data.inputs]
    seeds = normalise(rows[:, : forecast.window + steps, inputs].astype(np.float32), forecast.scaling)
    y = system.roll(seeds[:, : system.seed_length(steps)], steps).astype(np.float64)
    if not np.isfinite(y).all():
        return None
    scaling = forecast.scaling or Scaling((0.0,) * forecast.channels, (1.0,) * forecast.channels)
    columns = data.series.columns
    trial = Trial(
        Roles(inputs=data.inputs), scaling, scaling, y.reshape(len(y), -1), rows, forecast.window, columns, columns
    )
    shape = (steps, forecast.outputs) if steps > 1 else (forecast.outputs,)
    found = sorted(candidates(trial, shape, forecast.channels), key=lambda one: one.error)
    if not found or not _clear(found, fit):
        return None
    best = found[0]
    return Otherwise(
        best.error,
        f"As {best.words} its error is {best.error:.3g}, and {fit.error:.3g} as was said: if that is what it predicts, "
        f"write {best.lines} {IN_FILE}.",
    )


def _clear(found: Sequence[Candidate], fit: Fit) -> bool:
    """Whether the first is beyond doubt what the model gives, and what was said is not."""
    best, others = found[0], [one for one in found[1:] if one.words != found[0].words]
    rivals = [one for one in others if one.error < best.error * CLEAR_ALONE]
    return not (best.doubt or rivals) and best.error < best.naive and best.error * CLEAR < fit.error


# --- columns in another order -----------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Order:
    """One order of the input columns (their numbers, by channel), as it fits. moved: the outputs are in it too."""

    order: tuple[int, ...]
    moved: bool
    squared: Array
    naive: float

    @property
    def error(self) -> float:
        return float(np.sqrt(self.squared.mean()))


def in_another_order(
    system: System, forecast: Forecast, data: ProjectData, given: bool, outputs_said: bool
) -> Otherwise | None:
    """Of columns that fit far better in another order. given: the scaling is in numbers, which are the model's.

    All orders of few columns are tried; of more those by name and backwards, the first or the last at the other end,
    and exchanges of pairs, one after the other.
    """
    count = len(data.inputs)
    free = [channel for channel in range(count) if channel not in dict(system.whole)]
    leads = [max(1, lead) for lead in forecast.leads]
    possible, _ = origins(data.series, forecast.window, max(leads), part="train", rows=data.train_rows)
    if forecast.task != "forecast" or not 2 <= len(free) <= MOST_COLUMNS or len(possible) < FEWEST:
        return None
    rows = _rows(data, forecast, max(leads), min(WINDOWS, len(possible)))
    few = rows[:: max(1, len(rows) // FEW_WINDOWS)]
    as_said = tuple(range(count))
    variants = (True, False) if outputs_said and any(c is not None for c in forecast.output_channels) else (True,)

    def fitted(order: tuple[int, ...], rows: Array) -> list[_Order]:
        return [_fit(system, forecast, data, rows, order, moved, given) for moved in variants]

    tried = [one for order in _orders(data, free) for one in fitted(order, few)]
    best = min(tried, key=lambda one: one.error)
    while len(free) > ALL_ORDERS:
        following = [one for order in _exchanged(best.order, free) for one in fitted(order, few)]
        better = min(following, key=lambda one: one.error)
        if not better.error < best.error:
            break
        tried += following
        best = better
    said, best = fitted(as_said, rows)[0], next(one for one in fitted(best.order, rows) if one.moved is best.moved)
    times = CLEAR if said.error < said.naive else CLEAR_ALONE
    clear = best.error < best.naive and best.error * times < said.error and clearly_less(best.squared, said.squared)
    if best.order == as_said or not clear:
        return None
    line = f"inputs = {_listed([data.inputs[at] for at in best.order])}"
    if best.moved and outputs_said and _names(data, forecast, best.order) != _names(data, forecast):
        line += f", outputs = {_listed(_names(data, forecast, best.order))}"
    return Otherwise(
        best.error,
        f"With its columns in another order its error is {best.error:.3g}, and {said.error:.3g} as was said: write "
        f"{line} under [data] {IN_FILE}, if it was trained so.",
    )


def _orders(data: ProjectData, free: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Orders in which only the channels ``free`` change places; the one that was said is among them."""
    count = len(data.inputs)
    if len(free) <= ALL_ORDERS:
        given: list[tuple[int, ...]] = list(permutations(free))
    else:
        by_name = sorted(free, key=lambda at: data.inputs[at])
        given = [tuple(free), tuple(by_name), tuple(reversed(free)), (*free[1:], free[0]), (free[-1], *free[:-1])]
    for order in dict.fromkeys(given):
        placed = dict(zip(free, order, strict=True))
        yield tuple(placed.get(channel, channel) for channel in range(count))


def _exchanged(order: tuple[int, ...], free: Sequence[int]) -> Iterator[tuple[int, ...]]:
    for one, other in combinations(free, 2):
        made = list(order)
        made[one], made[other] = made[other], made[one]
        yield tuple(made)


def _fit(
    system: System,
    forecast: Forecast,
    data: ProjectData,
    rows: Array,
    order: tuple[int, ...],
    moved: bool,
    given: bool,
) -> _Order:
    columns = data.series.columns
    numbers = [columns.index(data.inputs[at]) for at in order]
    scaling = forecast.scaling
    if scaling is not None and not given:
        scaling = Scaling(tuple(scaling.mean[at] for at in order), tuple(scaling.std[at] for at in order))
    newest = forecast.window - 1
    y = one_step(system, normalise(rows[:, : forecast.window + 1, numbers].astype(np.float32), scaling))
    units, of = forecast.scaling_of_outputs(), target_columns(data, forecast)
    squared, naive = [], []
    for output, channel in enumerate(forecast.output_channels):
        column, mean, std = of[output], units.mean[output], units.std[output]
        if channel is not None and forecast.output_scaling is None:
            at = channel if moved else order.index(channel)
            column = numbers[at]
            mean, std = (0.0, 1.0) if scaling is None else (scaling.mean[at], scaling.std[at])
        said = forecast.predicted[output] if forecast.predicted else None
        point = said is None or said.statistic in ("value", "mean") or said.level == 0.5
        lead = forecast.leads[output]
        truth = rows[:, newest + lead, column]
        if not point or truth.std() == 0:
            continue
        with np.errstate(over="ignore", invalid="ignore"):
            off = (y[:, output] * std + mean - truth) ** 2 / truth.var()
        squared.append(np.nan_to_num(off, nan=FAR, posinf=FAR))
        last = rows[:, newest, column] if channel is not None and lead > 0 else truth.mean()
        naive.append(np.mean((last - truth) ** 2) / truth.var())
    if not squared:
        return _Order(order, moved, np.full(len(rows), FAR), 0.0)
    return _Order(order, moved, np.mean(squared, axis=0), float(np.sqrt(np.mean(naive))))


def _rows(data: ProjectData, forecast: Forecast, length: int, count: int) -> Array:
    parts = windows(data.series, forecast.window, length, count, part="train", rows=data.train_rows)
    return np.concatenate(parts, axis=1).astype(np.float64)


def _names(data: ProjectData, forecast: Forecast, order: Sequence[int] | None = None) -> list[str]:
    """The columns that are predicted, each once; of inputs in another ``order`` those in their places."""
    names = []
    for column, channel in zip(target_columns(data, forecast), forecast.output_channels, strict=True):
        moved = order is not None and channel is not None
        names.append(data.inputs[order[channel]] if moved else data.series.columns[column])  # type: ignore[index]
    return list(dict.fromkeys(names))


def _listed(names: Sequence[str]) -> str:
    return json.dumps(list(names), ensure_ascii=False)  # which TOML reads alike
