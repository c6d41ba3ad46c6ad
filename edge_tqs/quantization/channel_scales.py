"""Channels that share one scale, each with all of its codes: their ranges go into the first and the last weights.

    x' = (x - middle) / range,   W' = W range,   y' = y / range

In codes of one scale a channel that varies little has few of them. Where the range of all is more than LEAST_SHARE
times a channel's own, the model is brought into units in which each channel reaches 1 (passes/units.py). What is fed
back has the units of what it becomes. Elsewhere nothing changes, not a byte.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edge_tqs.errors import ModelError
from edge_tqs.graph.graph import Array, Graph, Scaling, same_units
from edge_tqs.passes.affine_ends import LEAST_SHARE, starved
from edge_tqs.passes.units import in_units
from edge_tqs.quantization.calibration import Ranges

#: Codes that a standard deviation must have; below, the user is told.
LEAST_CODES = 16.0


@dataclass(frozen=True, eq=False)
class Folded:
    """A graph in units of its channels' ranges. x, y: its units in those that it had: old = std * new + mean."""

    graph: Graph
    x: Scaling
    y: Scaling

    def shifted(self, shift: tuple[float, ...]) -> tuple[float, ...]:
        """A shift of the output's bias, a value each, from the units of before; of no values as it is."""
        sizes = np.resize(self.y.std, len(shift))
        return tuple(float(value / size) for value, size in zip(shift, sizes, strict=True))


def may_fold_inputs(graph: Graph, windows: Array) -> bool:
    """Whether `on_own_scales` could change the units of x, and with them the columns of weights.

    windows: (N, L, F). What is fed back is judged by them alone, so that a plan need not roll them out.
    """
    forecast = graph.forecast
    reported = not forecast.driven and set(range(forecast.outputs)) - set(forecast.feedback)
    return bool(reported) or starved(*forecast.reached(windows.min(axis=(0, 1)), windows.max(axis=(0, 1))))


def on_own_scales(graph: Graph, ranges: Ranges) -> tuple[Folded | None, str]:
    """``graph`` (float) in units of the ranges of its channels; None where no channel needs it, or it cannot be had.

    Also says why it cannot be had, or not all that is needed; "" where nothing stands in the way. The score of a
    reconstruction is of x against y, which must stay in the model's units. ranges: of `calibrate`.
    """
    forecast, channels = graph.forecast, ranges.channels
    if channels is None or ranges.kept is None:
        return None, ""
    inputs = may_fold_inputs(graph, ranges.kept)
    x, y = same_units(forecast.channels), same_units(forecast.outputs)
    c, whole = channels, [channel for channel, _ in forecast.whole]
    if forecast.task == "reconstruction":
        return None, "a reconstruction is compared with its window in the model's units" if inputs else ""
    if forecast.driven:
        need_x = inputs and starved(c.x_low, c.x_high)
        need_y = forecast.task != "classes" and starved(c.y_low, c.y_high)
        xs = _units(c.x_low, c.x_high, whole) if need_x else [x]
        ys = _units(c.y_low, c.y_high) if need_y else [y]
        choices = [(a, b) for a in xs for b in ys]
        choices += [(a, y) for a in xs] + [(x, b) for b in ys]
    else:
        fed = set(forecast.feedback)
        free = [output for output in range(forecast.outputs) if output not in fed]
        low, high = np.append(c.x_low, c.y_low[free]), np.append(c.x_high, c.y_high[free])
        places = [
            forecast.feedback.index(output) if output in fed else forecast.channels + free.index(output)
            for output in range(forecast.outputs)
        ]
        choices = []
        for units in _units(low, high, whole) if inputs and starved(low, high) else []:
            of_x = Scaling(units.mean[: forecast.channels], units.std[: forecast.channels])
            of_y = Scaling(tuple(units.mean[p] for p in places), tuple(units.std[p] for p in places))
            choices.append((of_x, of_y))
    why = ""
    for of_x, of_y in choices:
        if (of_x, of_y) == (x, y):
            continue
        try:
            return Folded(in_units(graph, of_x, of_y, drop=False), of_x, of_y), why
        except ModelError as error:
            why = why or error.message.removeprefix(f"{graph.name}: ")
    return None, why


def _units(low: Array, high: Array, whole: Sequence[int] = ()) -> list[Scaling]:
    """Units in which each channel reaches 1: the best first, with the middle taken off those that are far from 0, and
    off those that hold ``whole`` numbers, which so have twice the codes."""
    top, half, middle = np.maximum(np.abs(low), np.abs(high)), (high - low) / 2, (high + low) / 2
    far = (half > 0) & (half * LEAST_SHARE < top)
    far[list(whole)] = half[list(whole)] > 0
    plain = np.where(top > 0, top, 1.0)
    made = [Scaling(tuple(map(float, np.where(far, middle, 0))), tuple(map(float, np.where(far, half, plain))))]
    scaled = Scaling((0.0,) * len(low), tuple(map(float, plain)))
    return made if made == [scaled] else [*made, scaled]


def few_codes(
    names: tuple[str, ...],
    deviation: Array,
    low: Array,
    high: Array,
    scale: float,
    whole: Sequence[tuple[int, int]] = (),
) -> list[str]:
    """For each channel whose deviation is under LEAST_CODES codes of ``scale``: what it has, in words.

    Not of those that hold ``whole`` numbers (channel, N), whose codes were tried out one by one.
    """
    said = []
    for index, name in enumerate(names):
        codes = deviation[index] / scale
        if 0 < codes < LEAST_CODES and index not in dict(whole):
            said.append(
                f"{name} ({codes:.2g} codes; its own range has {(high[index] - low[index]) / scale:.3g} of 256)"
            )
    return said
