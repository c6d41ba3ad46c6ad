"""Scales of columns: from physical units to those of the model, said as a method or in numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, get_args

import numpy as np

from edge_tqs.errors import UsageError
from edge_tqs.graph.graph import Scaling
from edge_tqs.project.roles import Roles
from edge_tqs.project.series import Series, Values
from edge_tqs.strict import FILLED, above

#: standard: by mean and deviation of the training part; minmax: its least value is 0, its greatest 1; none: as it is.
Method = Literal["standard", "minmax", "none"]
METHODS: tuple[Method, ...] = get_args(Method)

_Numbers = Annotated[tuple[float, ...], FILLED]


@dataclass(frozen=True, kw_only=True)
class ScalesTable:
    """A method, or mean and std, or min and max, one a column."""

    method: Method | None = None
    mean: _Numbers | None = None
    std: Annotated[tuple[Annotated[float, above(0)], ...], FILLED] | None = None
    min: _Numbers | None = None
    max: _Numbers | None = None

    def said(self, where: str) -> Scaling | Method | None:
        """What is asked for; None where nothing is. Raises UsageError for what contradicts itself."""
        pairs = [(self.mean, self.std), (self.min, self.max)]
        given = [pair for pair in pairs if pair != (None, None)]
        if not given:
            return self.method
        low, high = given[0]
        if len(given) > 1 or self.method is not None or low is None or high is None or len(low) != len(high):
            raise UsageError(
                f"{where} needs mean and std, or min and max, of one length, and no method beside them",
                hint='Write mean = [...] and std = [...], or min = [...] and max = [...], or method = "standard".',
            )
        if given[0] is pairs[0]:
            return Scaling(low, high)
        if any(least >= most for least, most in zip(low, high, strict=True)):
            raise UsageError(f"{where}: each max must be above its min", hint="Write min = [...] and max = [...].")
        return Scaling(low, tuple(most - least for least, most in zip(low, high, strict=True)))


def scaling_by(method: Method, values: Values) -> Scaling:
    """The scaling of ``values`` (rows, columns) by a method; a constant column keeps its unit."""
    part = values.astype(np.float64)
    if method == "none":
        return Scaling((0.0,) * part.shape[1], (1.0,) * part.shape[1])
    low, width = (part.mean(axis=0), part.std(axis=0)) if method == "standard" else (part.min(axis=0), np.ptp(part, 0))
    return Scaling(tuple(float(v) for v in low), tuple(float(v) if v > 0 else 1.0 for v in width))


def keeping(scaling: Scaling, whole: Sequence[tuple[int, int]]) -> Scaling:
    """``scaling`` that leaves the channels ``whole`` (channel, N) as they are: rows are looked up by their numbers."""
    kept = {channel for channel, _ in whole}
    return Scaling(
        tuple(0.0 if channel in kept else mean for channel, mean in enumerate(scaling.mean)),
        tuple(1.0 if channel in kept else std for channel, std in enumerate(scaling.std)),
    )


def check_rows(whole: Sequence[tuple[int, int]], inputs: Sequence[str], said: Scaling | None, series: Series) -> None:
    """Raise UsageError where a column by which one of N rows is looked up holds another value than 0 to N - 1, naming
    the first line, or was said to be scaled.
    """
    for channel, count in whole:
        name = inputs[channel]
        values = series.values[:, series.columns.index(name)]
        wrong = np.flatnonzero((values != np.rint(values)) | (values < 0) | (values >= count))
        if wrong.size:
            raise UsageError(
                f"{series.where(int(wrong[0]))}: column {name} holds {values[wrong[0]]:g}, and an Embedding of {count} "
                f"rows is looked up by it: whole numbers from 0 to {count - 1}"
                + (f"; {wrong.size:,} rows in all" if wrong.size > 1 else ""),
                hint="Number the column as the model was trained on it, from 0; or name another one under inputs.",
            )
        check_unscaled(name, channel, said)


def check_unscaled(name: str, channel: int, said: Scaling | None) -> None:
    """Raise UsageError where a channel by which rows are looked up was ``said`` to be scaled."""
    if said is not None and (said.mean[channel], said.std[channel]) != (0, 1):
        raise UsageError(
            f"[scaling] gives {name} mean {said.mean[channel]:g} and std {said.std[channel]:g}, and an Embedding is "
            "looked up by its whole numbers as they are",
            hint=f"Give {name} mean 0 and std 1, or min 0 and max 1. A method leaves it as it is.",
        )


def scaling_of_inputs(said: Scaling | Method, series: Series, rows: int, inputs: Sequence[str]) -> Scaling | None:
    """The scaling of the columns ``inputs``: given, or by the first ``rows`` rows. Raises UsageError."""
    if isinstance(said, Scaling):
        if len(said.mean) != len(inputs):
            raise UsageError(
                f"[scaling] is for {len(said.mean)} columns, {series.path} has {len(inputs)} inputs "
                f"({', '.join(inputs)})",
                hint="Give one mean and one std, or min and max, a column, in the order of inputs.",
            )
        return said
    if said == "none":
        return None
    return scaling_by(said, series.values[:rows, [series.columns.index(name) for name in inputs]])


def scaling_of_outputs(
    roles: Roles,
    said: Scaling | Method | Mapping[str, Method] | None,
    series: Series,
    rows: int,
    inputs: Scaling | None,
    fed_back: Sequence[str],
) -> Scaling | None:
    """Physical units of each value of a predicted sample; None where each has those of the input that it speaks of.

    said: of all outputs, or by column. rows: of the training part. inputs: the scaling of the inputs. fed_back: outputs
    that become inputs, which have their units.

    Raises UsageError for a scaling of another number of outputs, or of another than the input that an output becomes.
    """
    named = [(one.name, one.deviation) for one in roles.predicted] or [(name, False) for name in roles.outputs]
    if roles.kind in ("reconstruction", "classes") or roles.label is not None or not named:
        if said is not None and not isinstance(said, Mapping):
            raise UsageError(
                "[scaling] has outputs, and no columns are named that they would be of",
                hint="Name outputs under [data], or leave outputs out of [scaling].",
            )
        return None
    if said is None and all(name in roles.inputs and not deviation for name, deviation in named):
        return None
    if isinstance(said, Scaling) and len(said.mean) != len(named):
        raise UsageError(
            f"[scaling] outputs is for {len(said.mean)} values, {len(named)} outputs are named",
            hint="Give one number for each output, in their order.",
        )
    mean, std = [], []
    for number, (name, deviation) in enumerate(named):
        own = _of_input(name, roles, inputs)
        if isinstance(said, Scaling):
            pair = said.mean[number], said.std[number]
        elif isinstance(said, str) or (isinstance(said, Mapping) and name in said):
            method = said if isinstance(said, str) else said[name]
            column = scaling_by(method, series.values[:rows, [series.columns.index(name)]])
            pair = column.mean[0], column.std[0]
        else:
            pair = own or (0.0, 1.0)
        looped = name in fed_back and name in roles.inputs and not deviation
        if looped and not np.allclose(pair, own or (0.0, 1.0), rtol=1e-6):
            raise UsageError(
                f"output {name} is fed back, and has another scaling than the input {name}",
                hint="Leave outputs out of [scaling]: what is fed back has the units of its input.",
            )
        mean.append(0.0 if deviation else pair[0])
        std.append(pair[1])
    return Scaling(tuple(mean), tuple(std))


def _of_input(name: str, roles: Roles, inputs: Scaling | None) -> tuple[float, float] | None:
    if name not in roles.inputs or inputs is None:
        return None
    number = roles.inputs.index(name)
    return inputs.mean[number], inputs.std[number]
