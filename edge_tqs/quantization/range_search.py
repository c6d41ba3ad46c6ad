"""Narrower ranges of activations where a rollout is nearer to float with them, as measured.

The least and the greatest value that a calibration saw make every code coarse for the sake of the few values far out.
A narrower range clips these and is finer for all others. Which of the two costs more is measured in rollouts beside
float's: what shares a quantisation is narrowed, one after another, the most promising first.

Half of the windows set the ranges that are narrowed, a quarter judges the parts that are tried, one evaluation each and
more where that is quick, and the last quarter confirms each choice over the horizon: so a range is not fitted to the
windows that it is judged by. The integer graph itself has the last word. The parts that are found are then taken of the
ranges of all windows. x keeps its own: what lies beyond, a board would not see. y shares it where it is fed back; where
x holds other channels that reach much further, y is tried with a scale of its own, which the loop then rescales.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from edge_tqs.errors import ModelError
from edge_tqs.graph.graph import Array, Graph
from edge_tqs.operators.arithmetic.int8 import LEAST_SPAN
from edge_tqs.quantization.calibration import Range, Ranges
from edge_tqs.quantization.families import Family
from edge_tqs.quantization.judges import LEAST_JUDGES, Errors, Judges, better, cost
from edge_tqs.quantization.quantize import Shared, affine, shared_quants, with_rounded_weights
from edge_tqs.quantization.rounded_rollout import Quants, RoundedRollouts
from edge_tqs.quantization.simulate import decode, encode, integer_rollout

#: Parts of a range that are tried: of all families one, of the promising ones the others.
SCREENED, PARTS = 0.7, (0.9, 0.8, 0.7, 0.6, 0.5)
#: What is left of a range at least: windows to come reach further than those that were seen.
LEAST_PART = 0.5
#: Of parts whose errors are within this of the best, the widest is taken.
ALIKE = 0.05
#: Families, or bundles of them, that are looked at closely.
CLOSELY = 8
#: Standard errors over the windows that the error must fall by: where several parts were tried, where one is confirmed.
LEAST_SURE, CONFIRMED = 1.5, 1.0
#: The most of x's range that y may need to be tried with a scale of its own.
MOST_OF_X = 0.8
#: Nanoseconds, as `cost` counts them: of all parts that are tried, of confirming one, of the integer graphs' rollouts.
SEARCH_NS, CONFIRM_NS, LAST_NS = 4e9, 0.4e9, 1.5e9
#: How many times those of a rounded rollout an integer graph's takes.
INTEGER_TIMES = 10.0

#: "measured": narrower where a rollout is nearer to float so; "minmax": all that the calibration saw.
RangeMethod = Literal["measured", "minmax"]
#: By family, what is left of its least and of its greatest value.
Parts = Mapping[Family, float]
#: What `Narrowed` calls y with a scale of its own.
OF_Y = "y, beside x"
#: Families that are narrowed alike.
Bundle = tuple[Family, ...]


@dataclass(frozen=True, eq=False)
class Narrowed:
    """Ranges, and what was done to them.

    parts: by what was narrowed, what is left of its least and of its greatest value; OF_Y: of the range of x, y's own.
    tried: how many could be.
    error: of the integer graph's rollouts from float (RMSE) over that of the ranges as they were; 1 where none changed.
    """

    ranges: Ranges
    parts: Mapping[str, float] = field(default_factory=dict)
    tried: int = 0
    error: float = 1.0


def narrowed(graph: Graph, make: Callable[[Ranges], Graph], ranges: Ranges, horizon: int) -> Narrowed:
    """``ranges`` of ``graph`` (float), narrower where the int8 graph that ``make`` makes of them is nearer to float.

    ranges: of `calibrate`. They stay as they are where fewer than 4 * LEAST_JUDGES windows were seen.
    """
    if ranges.kept is None or len(ranges.kept) < 4 * LEAST_JUDGES:
        return Narrowed(ranges)
    try:
        search = _Search(graph, make, ranges, horizon)
        parts = search.found()
        error = search.last_word(parts) if parts else 1.0
        if error >= 1:
            parts, error = {}, 1.0
        share, of_apart = search.apart(parts)
        if error * of_apart >= 1:
            return Narrowed(ranges, tried=search.tried)
        whole = _with_parts(shared_quants(graph, ranges), ranges, parts)
        if share < 1:
            whole = _apart(graph, whole)
        make(whole)
    except ModelError:  # an accumulator could overflow, or the rows of a table would no longer be told apart
        return Narrowed(ranges)
    said = {_name(family): part for family, part in parts.items()} | ({OF_Y: share} if share < 1 else {})
    return Narrowed(whole, said, search.tried, error * of_apart)


class _Search:
    def __init__(self, graph: Graph, make: Callable[[Ranges], Graph], ranges: Ranges, horizon: int) -> None:
        assert ranges.kept is not None
        self._graph, self._make = graph, make
        setting = np.arange(len(ranges.kept)) % 2 == 0
        self._ranges = _of_windows(ranges, setting)
        integer = make(self._ranges)
        self._shared = shared_quants(with_rounded_weights(graph, integer), self._ranges)
        self._rollouts = RoundedRollouts(self._shared)
        self._bundles = _bundles(self._shared)
        self._share = _share_of_x(graph, self._shared, self._ranges)
        variants = len(self._bundles) + CLOSELY * len(PARTS)
        each, judges = cost(graph), ranges.kept[~setting]
        self._tuning = Judges(graph, judges[::2], SEARCH_NS / variants / each, horizon, deep=False)
        self._confirming = Judges(graph, judges[1::2], CONFIRM_NS / each, horizon, deep=True)
        self._last = Judges(graph, judges[1::2], LAST_NS / each / INTEGER_TIMES, horizon, deep=True)

    @property
    def tried(self) -> int:
        """How many families may be narrowed."""
        return len({family for bundle in self._bundles for family in bundle}) + (self._share < 1)

    def found(self) -> dict[Family, float]:
        """The parts of the ranges of families that make the rollout better: one bundle after another."""
        parts: dict[Family, float] = {}
        if not self._bundles:
            return parts
        screened = [dict.fromkeys(bundle, SCREENED) for bundle in self._bundles]
        now, *errors = self._measured(self._tuning, [parts, *screened])
        sure, *_ = self._measured(self._confirming, [parts])
        ranked = sorted(zip((float(error.mean()) for error in errors), self._bundles, strict=True))
        for _, bundle in [(error, bundle) for error, bundle in ranked if error < now.mean()][:CLOSELY]:
            tried = [parts | {family: parts.get(family, 1.0) * part for family in bundle} for part in PARTS]
            tried = [made for made in tried if min(made.values()) >= LEAST_PART]
            if not tried:
                continue
            errors = self._measured(self._tuning, tried)
            alike = (1 + ALIKE) * min(float(error.mean()) for error in errors)
            for made, error in zip(tried, errors, strict=True):  # the widest first
                if error.mean() <= alike and better(error, now, LEAST_SURE):
                    confirmed, *_ = self._measured(self._confirming, [made])
                    if better(confirmed, sure, CONFIRMED):
                        parts, now, sure = made, error, confirmed
                    break
        return parts

    def last_word(self, parts: Parts) -> float:
        """The error of the integer graph with ``parts`` over that without them (RMSE); 1 where it is not better."""
        before, after = map(self._integer_errors, (self._ranges, _with_parts(self._shared, self._ranges, parts)))
        return _fallen(before, after) if better(after, before, 0.0) else 1.0

    def apart(self, parts: Parts) -> tuple[float, float]:
        """The part of x's range that y keeps, and the integer graph's error with it over that without it, both with
        ``parts``; (1, 1) where y stays with x."""
        if self._share == 1:
            return 1.0, 1.0
        shared = _with_parts(self._shared, self._ranges, parts)
        before, after = map(self._integer_errors, (shared, _apart(self._graph, shared)))
        return (self._share, _fallen(before, after)) if better(after, before, CONFIRMED) else (1.0, 1.0)

    def _integer_errors(self, ranges: Ranges) -> Errors:
        made, judges = self._make(ranges), self._last
        rolled = integer_rollout(made, encode(made, judges.seeds), judges.horizon)
        return judges.errors(decode(made, rolled.outputs))

    def _measured(self, judges: Judges, tried: Sequence[Parts]) -> list[Errors]:
        variants = [self._quants(parts) for parts in tried]
        return list(map(judges.errors, self._rollouts.outputs(judges.seeds, judges.horizon, variants)))

    def _quants(self, parts: Parts) -> Quants:
        return {family: affine(*_part(self._shared.spans[family], part)) for family, part in parts.items()}


def _fallen(before: Errors, after: Errors) -> float:
    return float(np.sqrt(np.square(after).mean() / np.square(before).mean()))


def _share_of_x(graph: Graph, shared: Shared, ranges: Ranges) -> float:
    """The part of x's codes that y needs for what it says and what it becomes; 1 where y is not to stand apart."""
    forecast, of_x = graph.forecast, shared.families[graph.input]
    if forecast.driven or of_x != shared.families[shared.graph.output] or ranges.channels is None:
        return 1.0
    low, high = _apart(graph, ranges).bounds[graph.output]
    share = (max(high, 0.0) - min(low, 0.0)) / max(shared.spans[of_x][1] - shared.spans[of_x][0], LEAST_SPAN)
    return share if share <= MOST_OF_X else 1.0


def _apart(graph: Graph, ranges: Ranges) -> Ranges:
    """``ranges`` with y on a scale of its own: it holds all that it said, and the channels that it becomes."""
    channels = ranges.channels
    assert channels is not None
    fed = [channel for channel, output in enumerate(graph.forecast.feedback) if output is not None]
    low = min(float(channels.y_low.min()), float(channels.x_low[fed].min()))
    high = max(float(channels.y_high.max()), float(channels.x_high[fed].max()))
    return replace(ranges, bounds=dict(ranges.bounds) | {graph.output: (low, high)}, apart=True)


def _of_windows(ranges: Ranges, chosen: Array) -> Ranges:
    """``ranges`` as the ``chosen`` of the windows alone set them; what was looked up beside them counts as it did."""
    bounds = {
        name: (float(low[chosen].min()), float(high[chosen].max())) for name, (low, high) in ranges.by_window.items()
    }
    return replace(ranges, bounds=dict(ranges.bounds) | bounds)


def _with_parts(shared: Shared, ranges: Ranges, parts: Parts) -> Ranges:
    """``ranges`` whose families keep these parts of what ``shared`` says that they hold."""
    bounds = dict(ranges.bounds)
    for name, (low, high) in ranges.bounds.items():
        family = shared.families[name]
        if family in parts:
            least, most = _part(shared.spans[family], parts[family])
            bounds[name] = max(low, least), min(high, most)
    return replace(ranges, bounds=bounds)


def _part(span: Range, part: float) -> Range:
    return span[0] * part, span[1] * part


def _bundles(shared: Shared) -> list[Bundle]:
    """The families that may be narrowed: each by itself, and with one that a sum or a product makes of it.

    The steps of an unrolled layer are narrowed alike.
    """
    found: dict[str, list[Family]] = {}
    for family, (low, high) in shared.spans.items():
        if family[0] not in ("loop", "output") and family not in shared.constants and high - low >= LEAST_SPAN:
            found.setdefault(_bundle(family), []).append(family)
    pairs: dict[tuple[str, str], None] = {}
    for op in shared.graph.ops:
        if op.kind in ("add", "sub", "mul"):
            made = _bundle(shared.families[op.outputs[0]])
            pairs |= {(min(made, of), max(made, of)): None for of in (_bundle(shared.families[x]) for x in op.inputs)}
    single = [tuple(families) for families in found.values()]
    return single + [(*found[a], *found[b]) for a, b in pairs if a != b and a in found and b in found]


def _bundle(family: Family) -> str:
    return f"{family[0]} {re.sub(r'/[0-9]+/', '/#/', family[1])}"


def _name(family: Family) -> str:
    """Of what is free the tensor, of states and groups theirs."""
    return family[1]
