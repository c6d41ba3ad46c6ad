"""Every reading of what a trial gave: its window again, samples of columns at a lead, or statistics of one column.

A lead is beyond doubt where its error is the smallest of all leads, and either also the smallest part of that of
repeating the last sample, or four fifths of it at most with a forecast that moves as far as the truth.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from edge_tqs.building.finding.deciding import CLEAR, CLEAR_ALONE, MOST_LEAD, clearly_less, unbiased
from edge_tqs.building.finding.scaling import WORDS
from edge_tqs.building.finding.statistics import statistics
from edge_tqs.building.finding.trial import Candidate, Curve, Curves, Trial, curves_of
from edge_tqs.graph.graph import Array
from edge_tqs.project.scales import Method

#: Values of one sample that may be statistics of one column, at most.
MOST_STATISTICS = 9


def candidates(trial: Trial, shape: tuple[int, ...], channels: int) -> Iterator[Candidate]:
    """All that an output of ``shape``, without the batch, of a model of so many ``channels`` can be."""
    values = trial.y.shape[1]
    if values == trial.window * channels and values > 1:
        yield from _window_again(trial, channels)
    if len(shape) == 2:
        steps, width = shape
        block = trial.y.reshape(-1, steps, width)
        if steps == trial.window:
            yield from _samples(trial, block[:, -1:], last_only=True)
        yield from _samples(trial, block)
        return
    if values == 1:
        yield from _samples(trial, trial.y[:, None])
        return
    yield from _samples(trial, trial.y[:, None])
    yield from _samples(trial, trial.y[:, :, None], flat=True)
    if values % channels == 0 and channels > 1 and values > channels:
        yield from _samples(trial, trial.y.reshape(len(trial.y), -1, channels), flat=True)
    if values <= MOST_STATISTICS:
        yield from statistics(trial)


def _window_again(trial: Trial, channels: int) -> Iterator[Candidate]:
    """The reading of a model that gives its window again."""
    numbers = [trial.columns.index(name) for name in trial.roles.inputs]
    window = trial.rows[:, : trial.window, numbers]
    made = trial.y.reshape(-1, trial.window, channels) * trial.scaling.std + trial.scaling.mean
    spreads = window.std(axis=(0, 1))
    if not spreads.all():
        return
    error = float(np.sqrt(np.mean(((made - window) / spreads) ** 2)))
    later = float(np.sqrt(np.mean(((made[:, :-1] - window[:, 1:]) / spreads) ** 2))) if trial.window > 1 else np.inf
    if later < error:  # each of its values is of the sample after: labels, not the window
        return
    words = "its window again" + (f", inputs {WORDS[trial.inputs]}" if isinstance(trial.inputs, str) else "")
    roles = replace(trial.roles, outputs=(), kind="reconstruction", lead=None, steps=None)
    yield Candidate(error, 1.0, roles, trial.inputs, {}, words, 'kind = "reconstruction" under [forecast]')


def _samples(trial: Trial, y: Array, *, flat: bool = False, last_only: bool = False) -> Iterator[Candidate]:
    """Readings of y (N, H, Y) as H samples of Y columns, one after the other."""
    width = y.shape[2]
    curves = {name: dict(curves_of(trial, y, name)) for name in trial.allowed}
    if width > 1:
        if picks := _columns_of(curves, width):
            yield _candidate(trial, y, picks, curves, flat, last_only)
        return
    for name, found in curves.items():
        for method in found:
            yield _candidate(trial, y, [(name, method)], curves, flat, last_only)


def _columns_of(curves: Curves, width: int) -> list[tuple[str, Method | None]]:
    """For each of the values of a sample its column and scaling: those that fit best at one lead, no column twice.

    Of a lead of its own each value would take its column's like: the sine of the hour is the cosine six hours later.
    """
    best: tuple[float, list[tuple[str, Method | None]]] = (np.inf, [])
    for lead in range(MOST_LEAD + 1):
        chosen = [
            min(
                (
                    (float(curve.errors[number, lead]), name, method)
                    for name, found in curves.items()
                    for method, curve in found.items()
                ),
                key=lambda one: one[0],
                default=(np.inf, "", None),
            )
            for number in range(width)
        ]
        error = sum(one**2 for one, _, _ in chosen)
        if len({name for _, name, _ in chosen}) == width and error < best[0]:
            best = error, [(name, method) for _, name, method in chosen]
    return best[1]


def _candidate(
    trial: Trial,
    y: Array,
    picks: Sequence[tuple[str, Method | None]],
    curves: Curves,
    flat: bool,
    last_only: bool,
    at: int | None = None,
) -> Candidate:
    """at: the lead; None: the one that fits best."""
    chosen = [curves[name][method] for name, method in picks]
    errors = np.sqrt(np.mean([curve.errors[number] ** 2 for number, curve in enumerate(chosen)], axis=0))
    naive = np.sqrt(np.mean([curve.naive**2 for curve in chosen], axis=0))
    lead = int(errors.argmin()) if at is None else at
    alike = None
    with np.errstate(invalid="ignore"):
        part = np.nan_to_num(errors / np.where(naive > 0, naive, np.nan), nan=np.inf, posinf=np.inf)
    doubt = ""
    if at is not None:
        doubt = "as another lead"
    elif (beside := int(part.argmin())) != lead and not (
        errors[lead] * CLEAR_ALONE < naive[lead]
        and unbiased(*(np.concatenate(values) for values in zip(*(curve.pairs(lead) for curve in chosen), strict=True)))
        and _beyond_doubt(chosen, lead, beside)
    ):
        doubt = (
            f"its error is smallest at lead {lead} ({errors[lead]:.3g}), but lead {beside} leaves the smallest part of "
            f"the naive forecast's ({part[beside]:.0%}; lead {lead} {part[lead]:.0%}), and a model of a later time "
            "may look like that"
        )
        alike = _candidate(trial, y, picks, curves, flat, last_only, beside)
    else:
        second = int(np.argsort(errors)[1])
        if np.isfinite(errors[second]) and not _beyond_doubt(chosen, lead, second):
            doubt = f"leads {lead} and {second} fit alike"
            alike = _candidate(trial, y, picks, curves, flat, last_only, second)
    steps = y.shape[1]
    names = tuple(name for name, _ in picks)
    own = [name in trial.roles.inputs for name in names]
    loop = names == trial.roles.inputs and lead == 1
    roles = replace(
        trial.roles,
        outputs=names,
        kind=None if loop else "direct",
        lead=None if lead == 1 else lead,
        steps=steps if loop and steps > 1 and (flat or steps == trial.window) else None,
    )
    unsure = at is not None or alike is not None
    if steps == 1 and not last_only and (lead != 1 or (unsure and not any(own))):  # in one line
        listed = ", ".join(f'{{name = "{name}", lead = {lead}}}' for name in names)
        lines = [f"outputs = [{listed}] under [forecast]"]
    else:
        listed = ", ".join(f'"{name}"' for name in names)
        lines = [f"outputs = [{listed}] under [data]"]
        lines += ['kind = "direct" under [forecast]'] if not loop and all(own) else []
        lines += [f"lead = {lead} under [forecast]"] if lead != 1 or unsure else []
    lines += [f"steps = {steps} under [forecast]"] if roles.steps else []
    lines += ['labels = "wide" under [forecast]'] if last_only else []
    what = ", ".join(names) if steps == 1 else f"{steps} samples of {', '.join(names)}"
    words = f"{what} at lead {lead}" + ("" if loop or not all(own) else ", not fed back")
    words += f", inputs {WORDS[trial.inputs]}" if isinstance(trial.inputs, str) else ""
    methods = {name: method for name, method in picks if method is not None}
    words += "".join(f", {name} {WORDS[method]}" for name, method in methods.items())
    words += ", the last of each sequence" if last_only else ""
    return Candidate(
        float(errors[lead]),
        float(naive[lead]),
        roles,
        trial.inputs,
        methods,
        words,
        ", ".join(lines),
        last_only,
        doubt,
        alike,
    )


def _beyond_doubt(chosen: Sequence[Curve], lead: int, second: int) -> bool:
    """Whether the squared errors of ``lead`` are smaller than those of ``second`` beyond what windows differ by, or the
    error is at most half: where little happens most of the time, as with rain, few windows tell.
    """
    here, there = (
        np.mean([curve.squared(at)[:, number] for number, curve in enumerate(chosen)], axis=0) for at in (lead, second)
    )
    return clearly_less(here, there) or bool(here.mean() * CLEAR**2 < there.mean())
