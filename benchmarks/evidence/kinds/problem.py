"""What a model of each kind is asked: which columns of a series it takes, what it is to say, and what is naive.

Everything is a label of a sample: values of ``targets``, ``leads`` samples after it. Of a reconstruction these are
all samples of the window again; of classes, which third of the training part's values the target's is in.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from benchmarks.evidence.data import Series
from edge_tqs.graph.graph import Array
from edge_tqs.system.reading import Said

#: Samples that a direct forecast predicts at once, and the lead of a single value.
AHEAD = 12
#: Deviation of the noise that a filter is to take away, in standard deviations.
MEASUREMENT_NOISE = 0.5


@dataclass(frozen=True, eq=False)
class Problem:
    """values of ``series`` (n, columns) as inputs and labels.

    leads: of the labels, samples after the newest input. held: inputs of a closed loop that keep their last value; None
    where nothing is fed back. edges: between the classes. naive: what a model must beat.
    """

    series: Series
    inputs: tuple[int, ...]
    targets: tuple[int, ...]
    leads: tuple[int, ...]
    said: Said
    naive: str
    held: tuple[int, ...] | None = None
    edges: tuple[float, ...] = ()

    @property
    def channels(self) -> int:
        return len(self.inputs)

    @property
    def outputs(self) -> int:
        return len(self.edges) + 1 if self.edges else len(self.leads) * len(self.targets)

    def starts(self, length: int, *, held_out: bool) -> Array:
        """First rows of stretches of ``length`` input samples all of whose labels are there."""
        return self.series.starts(length + max(0, *self.leads), held_out=held_out)

    def windows(self, starts: Array, length: int) -> Array:
        """Inputs (N, length, F)."""
        found: Array = self.series.values[starts[:, None] + np.arange(length)][:, :, list(self.inputs)]
        return found

    def labels(self, newest: Array) -> Array:
        """What is to be said at rows ``newest`` (...): (..., outputs); of classes, one of them is 1."""
        rows = newest[..., None] + np.array(self.leads)
        found: Array = self.series.values[rows][..., list(self.targets)].reshape(*newest.shape, -1)
        if self.edges:
            return np.eye(self.outputs, dtype=np.float32)[np.digitize(found[..., 0], self.edges)]
        return found

    def seeds(self, window: int, horizon: int, count: int, *, held_out: bool) -> Array:
        """``count`` evenly spaced seeds (N, W + T, F); (N, W, F) where what is not predicted is held."""
        starts = self._spread(window, horizon, count, held_out=held_out)
        return self.windows(starts, window + (horizon if self.held is None else 0))

    def truth(self, window: int, horizon: int, count: int, *, held_out: bool) -> Array:
        """The labels (N, T, outputs) of those rollouts."""
        starts = self._spread(window, horizon, count, held_out=held_out)
        return self.labels(starts[:, None] + window - 1 + np.arange(horizon))

    def naive_error(self, window: int, horizon: int, count: int) -> float:
        """RMSE of the naive answer over the held-out rollouts; of classes, the share that is wrong."""
        starts = self._spread(window, horizon, count, held_out=True)
        newest = starts[:, None] + window - 1 + np.arange(horizon)
        truth = self.labels(newest)
        return error(NAIVE[self.naive](self, newest, window), truth, classes=bool(self.edges))

    def _spread(self, window: int, horizon: int, count: int, *, held_out: bool) -> Array:
        starts = self.starts(window + horizon, held_out=held_out)
        chosen: Array = starts[np.linspace(0, len(starts) - 1, count).astype(int)]
        return chosen


def error(made: Array, truth: Array, *, classes: bool) -> float:
    """RMSE, or the share of wrong classes."""
    if classes:
        return float(np.mean(made.argmax(axis=-1) != truth.argmax(axis=-1)))
    return float(np.sqrt(np.mean(np.square(made.astype(np.float64) - truth))))


# --- the kinds --------------------------------------------------------------------------------------------------------


def soft_sensor(series: Series) -> Problem:
    """The first column from all others, of the same time."""
    columns = tuple(range(1, series.channels))
    said = Said(kind="direct", lead=0, targets=("target",), columns=_names(columns))
    return Problem(series, columns, (0,), (0,), said, "training mean")


def classes(series: Series) -> Problem:
    """As ``soft_sensor``, but which third of its values the first column is in."""
    known = series.values[: series.train_end, 0]
    edges = tuple(float(edge) for edge in np.quantile(known, [1 / 3, 2 / 3]))
    return replace(soft_sensor(series), said=Said(kind="classes"), naive="most frequent class", edges=edges)


def direct(series: Series) -> Problem:
    """The next AHEAD samples of the first of all columns."""
    columns = tuple(range(series.channels))
    said = Said(kind="direct", targets=("column 0",), columns=_names(columns))
    return Problem(series, columns, (0,), tuple(range(1, AHEAD + 1)), said, "last value")


def lagged(series: Series) -> Problem:
    """The first of all columns, AHEAD samples later."""
    found = direct(series)
    return replace(found, leads=(AHEAD,), said=replace(found.said, lead=AHEAD))


def reconstruction(window: int) -> Callable[[Series], Problem]:
    """The window again."""

    def made(series: Series) -> Problem:
        columns = tuple(range(series.channels))
        leads = tuple(range(1 - window, 1))
        return Problem(series, columns, columns, leads, Said(kind="reconstruction"), "mean of the window")

    return made


def filtering(series: Series) -> Problem:
    """What sensors would say without noise; columns that are known ahead have none."""
    rng = np.random.default_rng(11)
    noisy = series.values.copy()
    noisy[:, : series.outputs] += MEASUREMENT_NOISE * rng.standard_normal((len(noisy), series.outputs))
    values = np.concatenate([series.values, noisy.astype(np.float32)], axis=1)
    wide = replace(series, values=values)
    inputs = tuple(range(series.channels, 2 * series.channels))
    targets = tuple(range(series.outputs))
    said = Said(kind="direct", lead=0, last_only=True, targets=_names(targets), columns=_names(inputs))
    return Problem(wide, inputs, targets, (0,), said, "noisy measurement")


#: The measured input that is held, of the series that have one whose last value is worth something.
HELD = {"greensboro": 2, "lorenz96": 5}


def partly_fed_back(series: Series) -> Problem:
    """All columns but one are predicted and fed back; that one is held at its last value."""
    held = HELD[series.name]
    columns = tuple(range(series.channels))
    targets = tuple(column for column in columns if column != held)
    feedback = tuple(None if column == held else targets.index(column) for column in columns)
    said = Said(kind="closed loop", feedback=feedback, held=(held,))
    return Problem(series, columns, targets, (1,), said, "last value", held=(held,))


def _names(columns: tuple[int, ...]) -> tuple[str, ...]:
    return tuple(f"column {column}" for column in columns)


# --- naive answers: (problem, newest (N, T), W) -> (N, T, outputs) ----------------------------------------------------


def _training_mean(problem: Problem, newest: Array, _: int) -> Array:
    return np.zeros((*newest.shape, problem.outputs))  # series are scaled by their training part


def _most_frequent(problem: Problem, newest: Array, window: int) -> Array:
    counts = problem.labels(np.arange(problem.series.train_end)).sum(axis=0)
    return np.broadcast_to(counts, (*newest.shape, problem.outputs))


def _last_value(problem: Problem, newest: Array, _: int) -> Array:
    last = newest if problem.held is None else np.broadcast_to(newest[:, :1], newest.shape)
    found: Array = np.tile(problem.series.values[last][..., list(problem.targets)], len(problem.leads))
    return found


def _window_mean(problem: Problem, newest: Array, window: int) -> Array:
    rows = newest[..., None] + np.arange(1 - window, 1)
    means = problem.series.values[rows][..., list(problem.inputs)].mean(axis=-2)
    return np.tile(means, window)


def _measurement(problem: Problem, newest: Array, _: int) -> Array:
    found: Array = problem.series.values[newest][..., list(problem.inputs[: problem.outputs])]
    return found


NAIVE: dict[str, Callable[[Problem, Array, int], Array]] = {
    "training mean": _training_mean,
    "most frequent class": _most_frequent,
    "last value": _last_value,
    "mean of the window": _window_mean,
    "noisy measurement": _measurement,
}
