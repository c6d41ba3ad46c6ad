"""What a model gives on windows of the data, and its error as a forecast of each column at each lead."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from edge_tqs.building.finding.deciding import MOST_LEAD
from edge_tqs.building.finding.scaling import methods_for
from edge_tqs.graph.graph import Array, Scaling
from edge_tqs.project.roles import Roles
from edge_tqs.project.scales import Method, scaling_by


@dataclass(frozen=True, eq=False)
class Trial:
    """What one set of inputs, scaled in one way, gives: y (N, H, Y); rows (N, W + T, columns), physical."""

    roles: Roles
    inputs: Method | Scaling
    scaling: Scaling
    y: Array
    rows: Array
    window: int
    columns: tuple[str, ...]
    allowed: tuple[str, ...]

    def units(self, name: str, method: Method | None, values: Array) -> tuple[float, float]:
        """(mean, std) of the column ``name`` in the model: an input's own, else those that ``method`` makes of it."""
        if name in self.roles.inputs:
            own = self.roles.inputs.index(name)
            return self.scaling.mean[own], self.scaling.std[own]
        scaling = scaling_by(method or "none", values.reshape(-1, 1))
        return scaling.mean[0], scaling.std[0]


@dataclass(frozen=True, eq=False)
class Candidate:
    """A reading that was tried: its error and that of the naive forecast; ``roles`` and ``lines`` say it.

    alike: the same at another lead, which fits as well.
    """

    error: float
    naive: float
    roles: Roles
    inputs: Method | Scaling
    outputs: Mapping[str, Method]
    words: str
    lines: str
    last_only: bool = False
    doubt: str = ""
    alike: Candidate | None = None

    @property
    def method(self) -> str:
        """The line of the scaling, behind others; empty where it was given."""
        return f', method = "{self.inputs}" under [scaling]' if isinstance(self.inputs, str) else ""


@dataclass(frozen=True, eq=False)
class Curve:
    """H samples of Y values, in physical units, as a forecast of one column at each lead of the first of them.

    made: (N, H, Y). series: (N, W + T), the column over the windows and after; newest: where the window ends in it.
    errors: (Y, leads), naive: (leads,), from lead 0 on, in standard deviations of the column; infinite at a lead that
    an input cannot have.
    """

    made: Array
    series: Array
    newest: int
    errors: Array
    naive: Array

    def squared(self, lead: int) -> Array:
        """(N, Y): the squared error, in variances of the column."""
        squared: Array = _squared(self.made, self.series, self.newest + lead) / self.series.var()
        return squared

    def pairs(self, lead: int) -> tuple[Array, Array]:
        """Forecast and truth, one after the other, in standard deviations from the column's mean."""
        truth = self.series[:, self.newest + lead :][:, : self.made.shape[1], None]
        centre, spread = self.series.mean(), self.series.std()
        both = (self.made, np.broadcast_to(truth, self.made.shape))
        made, true = (((values - centre) / spread).ravel() for values in both)
        return made, true


Curves = Mapping[str, Mapping[Method | None, Curve]]


def curves_of(trial: Trial, y: Array, name: str) -> Iterator[tuple[Method | None, Curve]]:
    """By the scaling of a column that is no input, None of an input: y (N, H, Y) as a forecast of it."""
    series, newest = trial.rows[:, :, trial.columns.index(name)], trial.window - 1
    is_input, spread = name in trial.roles.inputs, series.std()
    if spread == 0:
        return
    methods: list[Method | None] = [None] if is_input else [*methods_for(series.reshape(-1, 1), None)]
    for method in methods:
        mean, std = trial.units(name, method, series)
        made = y * std + mean
        errors, naive = np.full((y.shape[2], MOST_LEAD + 1), np.inf), np.full(MOST_LEAD + 1, np.inf)
        for lead in range(1 if is_input else 0, MOST_LEAD + 1):
            errors[:, lead] = np.sqrt(_squared(made, series, newest + lead).mean(axis=0)) / spread
            reference = series[:, newest : newest + 1] if is_input else series.mean()
            truth = series[:, newest + lead : newest + lead + y.shape[1]]
            naive[lead] = np.sqrt(np.mean((truth - reference) ** 2)) / spread
        yield method, Curve(made, series, newest, errors, naive)


def _squared(made: Array, series: Array, first: int) -> Array:
    truth = series[:, first : first + made.shape[1]]
    result: Array = ((made - truth[:, :, None]) ** 2).mean(axis=1)
    return result
