"""What `init` finds out of a model and its data: as it is, as a classifier of a column, as one of differences."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from edge_tqs.building.finding.deciding import CLEAR, WINDOWS
from edge_tqs.building.finding.one_step import one_step, warmed
from edge_tqs.building.finding.scaling import UndecidedError
from edge_tqs.building.request import ModelRequest
from edge_tqs.building.settle import open_requested
from edge_tqs.building.units import forecast_of
from edge_tqs.errors import TqsError
from edge_tqs.graph.graph import Scaling
from edge_tqs.project.file import Start
from edge_tqs.project.roles import Roles
from edge_tqs.project.rollouts import cut, room
from edge_tqs.project.series import Series
from edge_tqs.system.system import System

#: What a fact begins with where model and data do not tell what is needed.
NOT_FOUND = "Not found out"


def find_start(asked: Iterator[ModelRequest]) -> Start:
    """What the first of the requests that the data do not contradict says; where there is none, why the first fails.

    A classifier must be wrong at most half as often as always saying the most frequent class. Of one that is so with a
    scaling that was said, where the data do not tell the scaling, all but that is found.
    """
    failure: TqsError | None = None
    undecided: UndecidedError | None = None
    first: ModelRequest | None = None
    for request in asked:
        try:
            found, opened = open_requested(request, lambda *_: None)
        except TqsError as error:
            undecided = error if isinstance(error, UndecidedError) else undecided
            failure = failure or error
            continue
        right = _right(found, opened.system)
        fits = right is None or (1 - right[0]) * CLEAR <= 1 - right[1]
        if fits and undecided is not None and request.series is not None and request.series.scaling is not None:
            return Start(_roles(found), texts=(*_texts(found, right), *_reason(undecided, request)))
        if fits and not found.doubts:
            return _start(found, right)
        first = first or (None if failure else found)
    if first is not None:
        return _start(first, None)
    assert failure is not None
    return Start(texts=_reason(failure, request))


def _reason(error: TqsError, request: ModelRequest) -> tuple[str, ...]:
    why = error.message.replace(f"{request.model}: ", "").replace(str(request.model), request.model.name)
    return f"{NOT_FOUND}: {why}", *([error.hint] if error.hint else [])


def classified(series: Series) -> Iterator[str]:
    """The columns that may number classes: they hold each whole number from 0 on, up to some, and no other."""
    for at, name in enumerate(series.columns):
        numbers = np.unique(series.values[:, at])
        if 2 <= len(numbers) < len(series.values) / 2 and np.array_equal(numbers, np.arange(len(numbers))):
            yield name


def _right(request: ModelRequest, system: System) -> tuple[float, float] | None:
    """(the part of windows in which a classifier is right, that of the most frequent class); None of others."""
    if request.series is None or system.reading.task != "classes" or request.roles.label is None:
        return None
    data = request.series.data
    system = warmed(system, data.train_rows)
    forecast = forecast_of(system, request)
    seeds, truth = cut(data, forecast, 1, min(WINDOWS, max(1, room(data, forecast, 1, "train")[0])), "train")
    is_ = truth[:, 0]
    right = np.mean(one_step(system, seeds).argmax(axis=1) == is_.argmax(axis=1))
    return (float(right), float(is_.mean(axis=0).max())) if is_.any(axis=0).all() else (0.0, 1.0)


def _start(request: ModelRequest, right: tuple[float, float] | None) -> Start:
    series = request.series
    if series is None or isinstance(series.scaling, Scaling) or isinstance(series.output_scaling, Scaling):
        return Start()
    return Start(
        _roles(request),
        series.scaling,
        series.output_scaling,
        request.said.last_only,
        (*_texts(request, right), *request.doubts),
        request.window,
        request.target,
    )


def _roles(request: ModelRequest) -> Roles:
    return replace(request.roles, inputs=request.columns)


def _texts(request: ModelRequest, right: tuple[float, float] | None) -> tuple[str, ...]:
    texts = request.findings
    if right is not None:
        said = f"{request.roles.label} numbers the classes: the float model is right in {right[0]:.0%} of windows"
        texts = (f"{said} (always the most frequent class: {right[1]:.0%}).", *texts)
    return (*texts, "Its values are differences to the last sample.") if request.target == "delta" else texts
