"""A graph pass: the scale and offset of each channel that a model begins with, and those it ends with, are taken out.

Normalization, Rescaling or BatchNormalization as the first layer, and its inverse as the last, let a model take and
give physical units. In codes of one scale that starves channels: pressure in Pa leaves none for a humidity in %. The
board scales each channel by itself before it makes codes of it, so that the same model without these layers is exact.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edge_tqs.errors import ModelError
from edge_tqs.graph.graph import Array, Graph, Scaling, same_units
from edge_tqs.passes.units import MOVES, in_units, moved, scale_and_offset

#: Standard deviations to either side that the values of a normalised channel are taken to reach.
REACH = 3.0
#: How many times a channel's own range the range of all codes may be before the channel is given a scale of its own.
LEAST_SHARE = 4.0


@dataclass(frozen=True, eq=False)
class Taken:
    """A model without its affine ends. x, y: its new units in those that it had: old = std * new + mean.

    sources: weights that fell away.
    """

    graph: Graph
    x: Scaling
    y: Scaling
    sources: tuple[str, ...]


def without_ends(graph: Graph) -> Taken | None:
    """``graph`` without its affine ends; None where it has none, they stand in no channel's way, or cannot be taken.

    They are taken where a channel of mean +- REACH deviations would use less than 1 / LEAST_SHARE of the codes that all
    share: what is normalised twice, or alike in all channels, stays as it is.
    """
    forecast = graph.forecast
    none, free = same_units(forecast.channels), same_units(forecast.outputs)
    x, own = leading(graph) or none, trailing(graph) or free
    if forecast.driven and forecast.task != "reconstruction":
        x, own = x if _starves(x) else none, own if _starves(own) else free
        choices = [(x, own), (x, free), (none, own)]
    elif _starves(x):
        of = [own if channel is None else x for channel in forecast.output_channels]
        at = [j if channel is None else channel for j, channel in enumerate(forecast.output_channels)]
        places = list(zip(of, at, strict=True))
        y = Scaling(tuple(u.mean[i] for u, i in places), tuple(u.std[i] for u, i in places))
        choices = [(x, y)]
    else:
        return None
    for of_x, of_y in choices:
        if (of_x, of_y) == (none, free):
            continue
        try:
            made = in_units(graph, of_x, of_y)
        except ModelError:
            continue
        return Taken(made, of_x, of_y, tuple(name for name in graph.weights() if name not in made.weights()))
    return None


def leading(graph: Graph) -> Scaling | None:
    """Mean and deviation of each channel as the first layers take them off; None where no layer does."""
    x, channels = graph.input, graph.forecast.channels
    shape = graph.tensors[x].shape
    # for each tensor that is made of x alone, element by element: the channel, and value = scale * x + offset
    found: dict[str, list[Array]] = {x: [np.broadcast_to(np.arange(channels), shape), np.ones(shape), np.zeros(shape)]}
    ends: list[list[Array]] = []
    for op in graph.ops:
        affine = scale_and_offset(graph, op)
        if affine is not None and affine[0] in found:
            channel, scale, offset = found[affine[0]]
            found[op.outputs[0]] = [channel, affine[1] * scale, affine[1] * offset + affine[2]]
        elif op.kind in MOVES and any(name in found for name in op.inputs):
            inputs = [found.get(name) or _unknown(graph, name) for name in op.inputs]
            parts = [moved(graph, op, [values[part] for values in inputs]) for part in range(3)]
            found |= {name: [part[i] for part in parts] for i, name in enumerate(op.outputs)}
        else:
            ends += [found[name] for name in op.inputs if name in found]
    mean, std = np.zeros(channels), np.ones(channels)
    known = np.zeros(channels, bool)
    for channel, scale, offset in ends:
        for number in range(channels):
            here = (channel == number) & ((scale != 1) | (offset != 0))
            if here.any() and not known[number]:
                s, t = float(scale[here][0]), float(offset[here][0])
                if s == 0:
                    return None
                known[number], std[number], mean[number] = True, 1 / abs(s), -t / s
    return Scaling(tuple(map(float, mean)), tuple(map(float, std))) if known.any() else None


def trailing(graph: Graph) -> Scaling | None:
    """Offset and scale of each output as the last layers put them on, the same in each sample of a block; or None."""
    forecast = graph.forecast
    scale, offset = (v.reshape(forecast.steps, forecast.outputs) for v in _back(graph, graph.output))
    if not scale.all() or np.ptp(scale, axis=0).any() or np.ptp(offset, axis=0).any():
        return None
    if (scale == 1).all() and not offset.any():
        return None
    return Scaling(tuple(map(float, offset[0])), tuple(map(float, np.abs(scale[0]))))


def _back(graph: Graph, name: str) -> tuple[Array, Array]:
    """(s, t) where ``name`` is s * value + t, element by element, of what the last other operator gives."""
    shape = graph.tensors[name].shape
    op = next((op for op in graph.ops if name in op.outputs), None)
    plain = np.ones(shape), np.zeros(shape)
    if op is None:
        return plain
    affine = scale_and_offset(graph, op)
    if affine is not None:
        scale, offset = _back(graph, affine[0])
        return affine[1] * scale, affine[1] * offset + affine[2]
    if op.kind in ("reshape", "concat") and len(op.outputs) == 1:
        parts = [_back(graph, source) for source in op.inputs]
        scale, offset = (moved(graph, op, [part[i] for part in parts])[0] for i in range(2))
        return scale, offset
    return plain


def _starves(units: Scaling) -> bool:
    mean, reach = np.array(units.mean), REACH * np.array(units.std)
    return starved(mean - reach, mean + reach)


def starved(low: Array, high: Array) -> bool:
    """Whether one range that holds all of ``low`` to ``high`` (a value a channel) and 0 is too wide for a channel."""
    own = high - low
    whole = max(float(high.max(initial=0)), 0.0) - min(float(low.min(initial=0)), 0.0)
    return bool((own[own > 0] * LEAST_SHARE < whole).any())


def _unknown(graph: Graph, name: str) -> list[Array]:
    shape = graph.tensors[name].shape
    return [np.full(shape, -1), np.ones(shape), np.zeros(shape)]
