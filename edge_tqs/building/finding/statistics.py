"""Readings of several values as statistics of one: quantiles of a column, or its mean and deviation.

Data only make them likely: each has a doubt, so that the refusal names it.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from edge_tqs.building.finding.trial import Candidate, Trial, curves_of
from edge_tqs.project.scales import Method

#: How many times a deviation its size may be.
LIKE = 3.0
#: How much more of the truth lies below the last quantile than below the first, at least.
SPREAD = 0.1
#: The part of the windows in which quantiles come in their order.
ORDERED = 0.9


def statistics(trial: Trial) -> Iterator[Candidate]:
    """Several values of one sample of one column, as quantiles are: told by how much of the truth lies below each."""
    values = trial.y.shape[1]
    if values == 2:
        for name in trial.allowed:
            for method, curve in curves_of(trial, trial.y[:, None], name):
                found = _mean_and_deviation(trial, name, method, int(curve.errors[0].argmin()))
                if found:
                    yield found
    if not (np.diff(trial.y, axis=1) >= 0).all(axis=1).mean() > ORDERED:
        return
    for name in trial.allowed:
        for method, curve in curves_of(trial, trial.y[:, None], name):
            error = np.sqrt(np.mean(curve.errors**2, axis=0))
            lead = int(error.argmin())
            truth = trial.rows[:, trial.window - 1 + lead, trial.columns.index(name)]
            mean, std = trial.units(name, method, truth)
            below = [float(np.mean(truth <= trial.y[:, number] * std + mean)) for number in range(values)]
            if below[-1] - below[0] < SPREAD:
                continue
            shares = ", ".join(f"{share:.0%}" for share in below)
            entries = ", ".join(f'{{name = "{name}", quantile = {level:g}}}' for level in _levels(values))
            yield Candidate(
                float(error[lead]),
                float(curve.naive[lead]),
                trial.roles,
                trial.inputs,
                {},
                f"{values} statistics of {name} at lead {lead} ({shares} of the truth lie below them)",
                f"outputs = [{entries}] under [forecast]",
                doubt="data cannot tell what statistics were meant",
            )


def _mean_and_deviation(trial: Trial, name: str, method: Method | None, lead: int) -> Candidate | None:
    """Two values of one sample as what is expected of ``name`` and how far off it is; None where they are not."""
    truth = trial.rows[:, trial.window - 1 + lead, trial.columns.index(name)]
    mean, std = trial.units(name, method, truth)
    off = float(np.sqrt(np.mean((trial.y[:, 0] * std + mean - truth) ** 2)))
    given = float(np.sqrt(np.mean((trial.y[:, 1] * std) ** 2)))
    if (trial.y[:, 1] < 0).any() or not off / LIKE < given < off * LIKE:
        return None
    of_mean, (naive, repeated) = off / truth.std(), (float(truth.std()), trial.rows[:, trial.window - 1])
    if name in trial.roles.inputs:
        naive = float(np.sqrt(np.mean((repeated[:, trial.columns.index(name)] - truth) ** 2)))
    return Candidate(
        float(of_mean),
        naive / float(truth.std()),
        trial.roles,
        trial.inputs,
        {},
        f"{name} at lead {lead} and its deviation ({given:.3g}, the first is {off:.3g} off)",
        f'outputs = [{{name = "{name}", mean = true}}, {{name = "{name}", deviation = true}}] under [forecast]',
        doubt="data cannot tell what statistics were meant",
    )


def _levels(count: int) -> list[float]:
    """Quantiles as they are asked for most: the outer ones are 10 % and 90 %."""
    return [round(0.1 + 0.8 * number / (count - 1), 2) for number in range(count)]
