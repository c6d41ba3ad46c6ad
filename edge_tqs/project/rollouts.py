"""What rollouts are compared on: seeds cut out of a measured series, and what really followed them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_tqs.errors import UsageError
from edge_tqs.graph.graph import Forecast, Scaling
from edge_tqs.project.series import AS_FOUND, Part, Series, normalise, origins, spread_origins, windows
from edge_tqs.project.series_format import SeriesFormat

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class ProjectData:
    """A series as a model's: its columns are ``inputs``, and those that are predicted without being inputs.

    train_rows: rows of the training part. scaling: of the inputs to the model's units. inputs: names, in the order of
    the model's channels. output_scaling: of the outputs; None: those that are inputs share their scaling, others have
    none. how: what was said of reading the files.
    """

    series: Series
    train_rows: int
    scaling: Scaling | None
    inputs: tuple[str, ...]
    output_scaling: Scaling | None = None
    how: SeriesFormat = AS_FOUND


def room(data: ProjectData, forecast: Forecast, horizon: int, part: Part) -> tuple[int, int]:
    """(rollouts of ``horizon`` steps that can begin in a part of the series, those that would cross a hole)."""
    possible, lost = origins(data.series, forecast.window, horizon + _late(forecast), part=part, rows=data.train_rows)
    return len(possible), lost


def cut(data: ProjectData, forecast: Forecast, horizon: int, count: int, part: Part) -> tuple[Array, Array]:
    """``count`` evenly spaced rollouts of ``horizon`` steps from one part of the series.

    Returns seeds (N, W + T, F), all samples of the rollout with what followed the window, and truth (N, T, outputs):
    for each step and output the measured value of its time. Both in the model's units. Of classes truth is 1 for the
    class of the label and 0 for the others.

    Raises UsageError where the part is too short, or an output speaks of no column of the series.
    """
    rows = _rows(data, forecast, horizon, count, part)
    seeds = _seeds(data, forecast, horizon, rows)
    return seeds, _truth(data, forecast, rows, seeds, horizon)


def seeds_of(data: ProjectData, forecast: Forecast, horizon: int, count: int, part: Part) -> Array:
    """The seeds that `cut` gives, without what followed. Raises UsageError where the part is too short."""
    return _seeds(data, forecast, horizon, _rows(data, forecast, horizon, count, part))


def _rows(data: ProjectData, forecast: Forecast, horizon: int, count: int, part: Part) -> Array:
    """All rows of each rollout (N, W + T and later, columns), as they were measured."""
    length = horizon + _late(forecast)
    window, following = windows(data.series, forecast.window, length, count, part=part, rows=data.train_rows)
    return np.concatenate([window, following], axis=1)


def _seeds(data: ProjectData, forecast: Forecast, horizon: int, rows: Array) -> Array:
    inputs = [data.series.columns.index(name) for name in data.inputs]
    return normalise(rows[:, : forecast.window + horizon, inputs], forecast.scaling)


def _late(forecast: Forecast) -> int:
    """Rows of truth beyond the last step: those of outputs that speak of later samples than the next."""
    return max(0, max(forecast.leads) - 1) if forecast.driven else 0


def _truth(data: ProjectData, forecast: Forecast, rows: Array, seeds: Array, horizon: int) -> Array:
    newest = forecast.window - 1  # of step 0 of a driven rollout
    if forecast.task == "reconstruction":
        spans = [seeds[:, t : t + forecast.window] for t in range(horizon)]
        return np.stack(spans, axis=1).reshape(len(seeds), horizon, -1)
    scaling = forecast.scaling_of_outputs()
    if forecast.task == "classes":
        return _labels(data, forecast, rows[:, newest : newest + horizon])
    truth = np.empty((len(rows), horizon, forecast.outputs))
    for output, column in enumerate(target_columns(data, forecast)):
        first = newest + forecast.leads[output]
        truth[:, :, output] = rows[:, first : first + horizon, column]
    return normalise(truth.astype(np.float32), scaling)


def target_columns(data: ProjectData, forecast: Forecast) -> list[int]:
    """For each output the column of the series that it speaks of. Raises UsageError where there is none."""
    columns, named, found = data.series.columns, forecast.predicted, []
    for output, channel in enumerate(forecast.output_channels):
        name = named[output].name if named else data.inputs[channel] if channel is not None else ""
        if name not in columns:
            raise UsageError(
                f"{data.series.path}: output {output} ({name or 'unnamed'}) is no column of it",
                hint="Name what the model predicts: outputs = [...] under [data], or --target-column COLUMN.",
            )
        found.append(columns.index(name))
    return found


def evaluation_origins(data: ProjectData, forecast: Forecast, horizon: int, count: int, part: Part) -> Array:
    """The rows (N,) at which the rollouts that `cut` gives begin: of each the first that is predicted."""
    length = horizon + _late(forecast)
    return spread_origins(data.series, forecast.window, length, count, part=part, rows=data.train_rows)


def _labels(data: ProjectData, forecast: Forecast, rows: Array) -> Array:
    """(N, T, classes): 1 at the class whose number the label column holds."""
    column = label_column(data)
    numbers = rows[:, :, column]
    classes = np.arange(forecast.outputs)
    if not np.isin(numbers, classes).all():
        odd = numbers[~np.isin(numbers, classes)].flat[0]
        raise UsageError(
            f"{data.series.path}, column {data.series.columns[column]}: {odd:g} is no number of one of "
            f"{forecast.outputs} classes",
            hint="Number the classes from 0 in the order of the model's outputs.",
        )
    found: Array = (numbers[:, :, None] == classes).astype(np.float32)
    return found


def labelled(data: ProjectData) -> bool:
    """Whether the series has columns beside the inputs, one of which may hold the class of each sample."""
    return any(name not in data.inputs for name in data.series.columns)


def label_column(data: ProjectData) -> int:
    """The column of the series that holds the number of each sample's class. Raises UsageError without one."""
    labels = [name for name in data.series.columns if name not in data.inputs]
    if len(labels) != 1:
        raise UsageError(
            f"{data.series.path}: {len(labels)} columns could hold the label of a class",
            hint='Name it: label = "COLUMN" under [data]. It holds 0 for the first class, 1 for the second, ...',
        )
    return data.series.columns.index(labels[0])
