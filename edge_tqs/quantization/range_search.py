"""Narrower ranges of activations where a rollout is nearer to float with them, as measured.

The least and the greatest value that a calibration saw make every code coarse for the sake of the few values far out.
A narrower range clips these and is finer for all others. Which of the two costs more is measured in rollouts beside
float's: what shares a quantisation is narrowed at both ends or at one, one after another, the most promising first.

Half of the windows set the ranges that are narrowed, a quarter judges the parts that are tried, one evaluation each and
more where that is quick, and the last quarter confirms each choice over the horizon: so a range is not fitted to the
windows that it is judged by. The integer graph itself has the last word. The parts that are found are then taken of the
ranges of all windows. x and y keep theirs: what lies beyond, a board would not see, or not say.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from edge_tqs.errors import ModelError
from edge_tqs.graph.graph import Array, Forecast, Graph
from edge_tqs.operators.arithmetic.int8 import LEAST_SPAN
from edge_tqs.passes.interpret import float_rollout
from edge_tqs.quantization.calibration import Range, Ranges
from edge_tqs.quantization.quantize import Family, Shared, affine, shared_quants, with_rounded_weights
from edge_tqs.quantization.rounded_rollout import Quants, RoundedRollouts
from edge_tqs.quantization.simulate import decode, encode, integer_rollout

#: Of a range's end: what is tried first of all families, of both ends, and then of one end more.
SCREENED = 0.7
BOTH = (0.9, 0.8, 0.7, 0.6, 0.5)
ONE = (0.9, 0.75)
#: What is left of a range at least: windows to come reach further than those that were seen.
LEAST_PART = 0.5
#: Of parts whose errors are within this of the best, the widest is taken.
ALIKE = 0.02
#: Families, or bundles of them, that are looked at closely.
CLOSELY = 8
#: The error must fall by this part, and by this many of its standard errors over the windows.
LEAST_GAIN, LEAST_SURE = 0.02, 2.0
#: Windows that judge, at least and at most.
LEAST_JUDGES, MOST_JUDGES = 16, 256
#: Nanoseconds, as counted by `_cost`: of all parts that are tried, of confirming one, of the integer graphs' rollouts.
SEARCH_NS, CONFIRM_NS, LAST_NS = 2.5e9, 0.4e9, 1.5e9
#: About what a value of an activation, and a product of a dense layer, take; an integer graph takes more.
VALUE_NS, PRODUCT_NS, INTEGER_TIMES = 8.0, 0.1, 10.0

#: "measured": narrower where a rollout is nearer to float so; "minmax": all that the calibration saw.
RangeMethod = Literal["measured", "minmax"]
Parts = tuple[float, float]
Errors = npt.NDArray[np.float64]
#: Families that are narrowed alike.
Bundle = tuple[Family, ...]


@dataclass(frozen=True, eq=False)
class Narrowed:
    """Ranges, and what was done to them.

    parts: by what was narrowed, the part of its least and of its greatest value that is left. tried: how many could
    be. error: of the integer graph's rollouts from float (RMSE) over that of the ranges as they were; 1 where nothing
    was narrowed.
    """

    ranges: Ranges
    parts: Mapping[str, Parts] = field(default_factory=dict)
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
            return Narrowed(ranges, tried=search.tried)
        whole = _with_parts(shared_quants(graph, ranges), ranges, parts)
        make(whole)
    except ModelError:  # an accumulator could overflow, or the rows of a table would no longer be told apart
        return Narrowed(ranges)
    return Narrowed(whole, {_name(family): part for family, part in parts.items()}, search.tried, error)


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
        variants = sum(len(self._sides(bundle)) for bundle in self._bundles) + CLOSELY * (len(BOTH) + 2 * len(ONE))
        cost, judges = _cost(graph), ranges.kept[~setting]
        self._tuning = _Judges(graph, judges[::2], SEARCH_NS / variants / cost, horizon, deep=False)
        self._confirming = _Judges(graph, judges[1::2], CONFIRM_NS / cost, horizon, deep=True)
        self._last = _Judges(graph, judges[1::2], LAST_NS / cost / INTEGER_TIMES, horizon, deep=True)

    @property
    def tried(self) -> int:
        """How many families may be narrowed."""
        return len({family for bundle in self._bundles for family in bundle})

    def found(self) -> dict[Family, Parts]:
        """The parts of the ranges of families that make the rollout better: one bundle after another."""
        parts: dict[Family, Parts] = {}
        if not self._bundles:
            return parts
        screened = [(bundle, tried) for bundle in self._bundles for tried in self._tried({}, bundle, (SCREENED,))]
        now, *errors = self._measured(self._tuning, [{}, *(tried for _, tried in screened)])
        sure, *_ = self._measured(self._confirming, [{}])
        best = dict.fromkeys(self._bundles, np.inf)
        for (bundle, _), error in zip(screened, errors, strict=True):
            best[bundle] = min(best[bundle], float(error.mean()))
        promising = sorted((bundle for bundle in best if best[bundle] < now.mean()), key=lambda bundle: best[bundle])
        for bundle in promising[:CLOSELY]:
            for steps, one in ((BOTH, False), (ONE, True)):
                tried = self._tried(parts, bundle, steps, one)
                if not tried:
                    continue
                errors = self._measured(self._tuning, tried)
                alike = (1 + ALIKE) * min((float(error.mean()) for error in errors), default=0.0)
                found = next((at for at, error in enumerate(errors) if error.mean() <= alike), None)
                if found is None or not _better(errors[found], now, LEAST_SURE):
                    continue
                confirmed, *_ = self._measured(self._confirming, [tried[found]])
                if _better(confirmed, sure, 0.0):
                    parts, now, sure = tried[found], errors[found], confirmed
        return parts

    def last_word(self, parts: Mapping[Family, Parts]) -> float:
        """The error of the integer graph with ``parts`` over that without them (RMSE); 1 where it is not better."""
        before, after = map(self._integer_errors, (self._ranges, _with_parts(self._shared, self._ranges, parts)))
        if not _better(after, before, 0.0):
            return 1.0
        return float(np.sqrt(np.square(after).mean() / np.square(before).mean()))

    def _integer_errors(self, ranges: Ranges) -> Errors:
        made, judges = self._make(ranges), self._last
        rolled = integer_rollout(made, encode(made, judges.seeds), judges.horizon)
        return judges.errors(decode(made, rolled.outputs))

    def _measured(self, judges: _Judges, tried: Sequence[Mapping[Family, Parts]]) -> list[Errors]:
        variants = [self._quants(parts) for parts in tried]
        return list(map(judges.errors, self._rollouts.outputs(judges.seeds, judges.horizon, variants)))

    def _quants(self, parts: Mapping[Family, Parts]) -> Quants:
        return {family: affine(*_part(self._shared.spans[family], ends)) for family, ends in parts.items()}

    def _sides(self, bundle: Bundle) -> list[tuple[bool, bool]]:
        """Which ends can be narrowed together: (least, greatest)."""
        below = any(self._shared.spans[family][0] < 0 for family in bundle)
        above = any(self._shared.spans[family][1] > 0 for family in bundle)
        return [(True, True), (True, False), (False, True)] if below and above else [(below, above)]

    def _tried(
        self, parts: Mapping[Family, Parts], bundle: Bundle, steps: Sequence[float], one: bool | None = None
    ) -> list[dict[Family, Parts]]:
        """``parts`` with ``steps`` of those of ``bundle`` left at either end, from the widest to the narrowest.

        one: at one end only, or at both where there are two; None: each way.
        """
        sides = self._sides(bundle)
        if one is not None:
            sides = sides[1:] if one else sides[:1]
        found = []
        for step in steps:
            for below, above in sides:
                made = dict(parts)
                for family in bundle:
                    least, most = parts.get(family, (1.0, 1.0))
                    made[family] = least * (step if below else 1), most * (step if above else 1)
                if min(min(made[family]) for family in bundle) >= LEAST_PART:
                    found.append(made)
        return found


class _Judges:
    """Windows and how far they are rolled out, with what float says.

    rows: evaluations of one window that there is time for. deep: over the horizon, as far as they reach, rather than
    of many windows.
    """

    def __init__(self, graph: Graph, windows: Array, rows: float, horizon: int, *, deep: bool) -> None:
        forecast = graph.forecast
        if forecast.driven and forecast.recurrence != "stateful":
            self.horizon = 1  # what is said of a window does not depend on what was said before
            rest = range(0, windows.shape[1] - forecast.window, max(1, forecast.window // 2))
            windows = np.concatenate([windows[:, at : at + forecast.window + 1] for at in rest])
        else:
            least = LEAST_JUDGES if deep else len(windows)
            fit = [t for t in range(1, horizon + 1) if _evaluations(forecast, t) * least <= rows]
            self.horizon = max(fit, default=1)
        fitting = int(rows / _evaluations(forecast, self.horizon))
        count = min(len(windows), max(LEAST_JUDGES, min(MOST_JUDGES, fitting)))
        chosen = np.linspace(0, len(windows) - 1, count).round().astype(int)
        self.seeds = windows[chosen, : forecast.seed_length(self.horizon)].astype(np.float32)
        self._float = float_rollout(graph, self.seeds, self.horizon).outputs.astype(np.float64)
        deviation = self._float.reshape(-1, self._float.shape[-1]).std(axis=0)
        self._units = np.where(deviation > 0, deviation, deviation.max() or 1.0)

    def errors(self, outputs: Array) -> Errors:
        """RMSE of each window's rollout, (N,), in deviations of the outputs; outputs: (N, T, outputs)."""
        with np.errstate(over="ignore", invalid="ignore"):
            found: Errors = np.sqrt(np.square((outputs - self._float) / self._units).mean(axis=(1, 2)))
        return np.where(np.isnan(found), np.inf, found)


def _better(errors: Errors, before: Errors, sure: float) -> bool:
    """Whether windows are nearer to float by LEAST_GAIN in the mean, ``sure`` standard errors, and not less in square:
    few that are much worse do not pass for many that are a little better."""
    if not np.isfinite(errors).all():
        return False
    gain = before - errors
    error_of_it = gain.std(ddof=1) / np.sqrt(len(gain))
    enough = errors.mean() <= (1 - LEAST_GAIN) * before.mean() and gain.mean() >= sure * error_of_it
    return bool(enough and np.square(errors).mean() <= np.square(before).mean())


def _of_windows(ranges: Ranges, chosen: Array) -> Ranges:
    """``ranges`` as the ``chosen`` of the windows alone set them; what was looked up beside them counts as it did."""
    bounds = {
        name: (float(low[chosen].min()), float(high[chosen].max())) for name, (low, high) in ranges.by_window.items()
    }
    return replace(ranges, bounds=dict(ranges.bounds) | bounds)


def _with_parts(shared: Shared, ranges: Ranges, parts: Mapping[Family, Parts]) -> Ranges:
    """``ranges`` whose families keep these parts of what ``shared`` says that they hold."""
    bounds = dict(ranges.bounds)
    for name, (low, high) in ranges.bounds.items():
        family = shared.families[name]
        if family in parts:
            least, most = _part(shared.spans[family], parts[family])
            bounds[name] = max(low, least), min(high, most)
    return replace(ranges, bounds=bounds)


def _part(span: Range, ends: Parts) -> Range:
    return span[0] * ends[0], span[1] * ends[1]


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


def _cost(graph: Graph) -> float:
    """About the nanoseconds that one evaluation of one window takes."""
    made = sum(graph.tensors[name].size for op in graph.ops for name in op.outputs)
    rows = {op.outputs[0]: graph.tensors[op.outputs[0]].size for op in graph.ops if op.signature.is_weighted}
    products = sum(
        rows[op.outputs[0]] * graph.tensors[op.inputs[1]].size // graph.tensors[op.inputs[1]].shape[0]
        for op in graph.ops
        if op.signature.is_weighted
    )
    return VALUE_NS * made + PRODUCT_NS * products


def _evaluations(forecast: Forecast, steps: int) -> int:
    """Of the graph, for a rollout of ``steps``."""
    if forecast.recurrence == "stateful":
        return forecast.window + steps - 1
    return -(-steps // forecast.steps) * (forecast.window if forecast.recurrence == "windowed" else 1)
