"""What the values of a model are: every reading is tried with the float model, one step from each window.

One is taken where its error is smaller than that of the naive forecast, and at most half of the next best's. All else
is refused, with the best ones, their figures and the line for each.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, islice

import numpy as np

from edge_tqs.building.finding.candidates import candidates
from edge_tqs.building.finding.deciding import CLEAR, CLEAR_ALONE, FEWEST, MOST_LEAD, WINDOWS
from edge_tqs.building.finding.scaling import methods_for
from edge_tqs.building.finding.trial import Candidate, Trial
from edge_tqs.errors import ModelError
from edge_tqs.graph.graph import Array, Scaling
from edge_tqs.project.roles import Roles
from edge_tqs.project.rollouts import ProjectData
from edge_tqs.project.scales import Method, keeping, scaling_by
from edge_tqs.project.series import normalise, origins, windows
from edge_tqs.system.reading import IN_FILE, UnsaidError
from edge_tqs.system.system import System

#: Sets of columns, in their order, that may be the inputs where none are named, at most.
MOST_SETS = 24
#: Candidates that a refusal names.
NAMED = 3


@dataclass(frozen=True)
class FoundReading:
    """What the outputs are: ``roles`` with it filled in, the methods of columns, and what was seen.

    last_only: of a sequence as long as the window, the last sample is the forecast.
    """

    roles: Roles
    inputs: Method | Scaling
    outputs: Mapping[str, Method]
    text: str
    last_only: bool = False


def find_reading(
    system: System, shape: tuple[int, ...], data: ProjectData, roles: Roles, scaling: Method | Scaling | None
) -> FoundReading:
    """What the values of a model are, of which nothing fits alone what was said.

    system: the model as one that feeds nothing back, each evaluation's values as they are; shape: of its output,
    without the batch. scaling: of the inputs, where it is said.

    Raises ModelError where the data do not tell, with the best candidates, their figures and the line for each; an
    UnsaidError where one of them clearly fits, and others cannot be told from it.
    """
    steps = shape[0]
    length = MOST_LEAD + steps
    possible, _ = origins(data.series, system.window, length, part="train", rows=data.train_rows)
    count = min(WINDOWS, len(possible))
    if count < FEWEST:
        raise ModelError(
            f"its output {shape} can be read in several ways, and the training part of {data.series.path.name} has "
            f"room for {count} windows, too few to find out which is meant",
            hint=f"Say kind and outputs {IN_FILE}.",
        )
    window, following = windows(data.series, system.window, length, count, part="train", rows=data.train_rows)
    rows = np.concatenate([window, following], axis=1).astype(np.float64)
    found = [
        candidate
        for trial in _trials(system, data, roles, scaling, rows)
        for candidate in candidates(trial, shape, system.channels)
    ]
    found.sort(key=lambda candidate: candidate.error)
    if not found:
        raise ModelError(
            f"its output {shape} fits none of the columns",
            hint=f"Name what it takes and what it predicts under [data] {IN_FILE}: inputs = [...], {system.channels} "
            "columns in its order, and outputs = [...].",
        )
    best = found[0]
    others = [one for one in found[1:] if one.words != best.words]
    # what the naive forecast is nearer to than the model is a rival only where it is near the best
    rivals = [one for one in others if best.error * (CLEAR if one.error < one.naive else CLEAR_ALONE) > one.error]
    if rivals or best.doubt or not best.error < best.naive:
        near = [best, *([best.alike] if best.alike else []), *rivals]
        raise _open_reading(shape, [*near, *[one for one in others if one not in rivals]], best.doubt)
    text = f"{best.words}: the float model's error is then {best.error:.3g} of a standard deviation"
    text += f" (next best: {others[0].words} {others[0].error:.3g})" if others else ""
    text += f"; the naive forecast's is {best.naive:.3g}"
    return FoundReading(best.roles, best.inputs, best.outputs, text, best.last_only)


def _open_reading(shape: tuple[int, ...], candidates: Sequence[Candidate], doubt: str) -> ModelError:
    named = candidates[:NAMED]
    figures = "; ".join(f"{one.words} {one.error:.3g} (naive {one.naive:.3g})" for one in named)
    if not any(one.error < one.naive for one in named):
        doubt = "no column, lead and scaling is nearer to it than the naive forecast"
    alike = [one.lines for one in named]
    lines = "; or ".join(dict.fromkeys(one.lines + (one.method if alike.count(one.lines) > 1 else "") for one in named))
    if not any(one.error < one.naive for one in named):
        lines = f"Is the column that it predicts in the file, and in the units that it was trained in? Else: {lines}"
    fits = named[0].error * CLEAR_ALONE < named[0].naive and named[0].error * CLEAR < 1
    return (UnsaidError if fits else ModelError)(
        f"nothing says what its output {shape} is, and the data do not tell{doubt and ': ' + doubt}. Errors in "
        f"standard deviations: {figures}",
        hint=f"Say it {IN_FILE}. {lines}.",
    )


def _trials(
    system: System, data: ProjectData, roles: Roles, said: Method | Scaling | None, rows: Array
) -> Iterator[Trial]:
    columns = data.series.columns
    sets: list[tuple[str, ...]] = []
    if len(data.inputs) == system.channels:
        sets = [data.inputs]
    elif not roles.inputs and len(columns) == system.channels:
        sets = [columns]
    elif not roles.inputs and system.channels < len(columns):
        sets = [*islice(combinations(columns, system.channels), MOST_SETS + 1)]
        if len(sets) > MOST_SETS:
            return
    for inputs in sets:
        numbers = [columns.index(name) for name in inputs]
        train = data.series.values[: data.train_rows, numbers]
        for method in [said] if said is not None else methods_for(train, None, system.whole):
            scaling = method if isinstance(method, Scaling) else scaling_by(method, train)
            scaling = keeping(scaling, system.whole)
            seeds = normalise(rows[:, : system.window + 1, numbers].astype(np.float32), scaling)
            y = system.roll(seeds[:, : system.seed_length(1)], 1)[:, 0].astype(np.float64)
            if not np.isfinite(y).all():
                continue
            allowed = roles.predicted_columns or columns
            yield Trial(replace(roles, inputs=inputs), method, scaling, y, rows, system.window, columns, allowed)
