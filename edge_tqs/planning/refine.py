"""The refinement of a plan: measured rounding in place of predicted damage, still forward passes and no data.

For every weight and choice (8 bits or 4, compensated, with a scale for each channel or one for all; of a black box 8
bits, or 4 at each clip ratio) the weight is really rounded, the closed loop is rolled out, and d = yhat' - yhat, the
divergence over all seeds, steps and channels, is kept. Small errors superpose: an assignment's divergence is about the
sum of its d, its mean square x'Gx with the Gram matrix G = <d_a, d_b> / size. What is least there within the budget
(gram_search) is rolled out jointly.
From the best of those, changes of one or two weights are predicted from the divergence that it really has, rolled out,
and taken while they help. At the best few widths, each weight's other roundings are then rolled out in turn, and taken
where they help (candidates): a good rounding is a draw, and to nearest is among them. So are the widths, of which
nothing was seen yet but one draw.

A shift of the output's bias costs nothing at run time and bends the trajectory too: r[c] = dyhat / dbias[c]. Ridge
regression of d on r gives the shift that leaves least; being linear, it is taken out of every d before G is formed. It
goes into the plan if it also helps the half of the seeds that it was not fitted to. (Subtracting the mean divergence
itself overshoots: the closed loop feeds the shift back. docs/planning.md has the figures.)

This goes beyond arXiv 2606.13300; each part can be left out (RefineSettings). Figures are of rounded weights with float
activations, over the seeds given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from edge_tqs.errors import UsageError
from edge_tqs.graph.graph import Array
from edge_tqs.operators.arithmetic.int8 import quantize_weight
from edge_tqs.planning.candidates import SWEEPS, Assigned, descended, others
from edge_tqs.planning.divergence import output_units
from edge_tqs.planning.file import CHANNEL, COMPENSATED, SCALES, TENSOR, Rounding
from edge_tqs.planning.gram_search import Assignment, Search
from edge_tqs.planning.plan import (
    Costs,
    Evidence,
    OneScale,
    Plan,
    Scores,
    assigned,
    frontier,
    plan,
    predicted_damage,
    too_small,
)
from edge_tqs.planning.roundings import Roundings
from edge_tqs.system.system import System

Progress = Callable[[int, int], None]
#: Rounded tensors by name, one mapping a weight.
Weights = Sequence[Mapping[str, Array]]

#: Seed windows for measuring and for verifying. With 16, clip ratios and bias shifts were fitted to those seeds: on
#: others one model of four came out 1.47 times worse than a priori; with 48 none did (docs/planning.md).
SEEDS = 48
#: Shares of the largest magnitude of a row that an int4 weight may be clipped to.
CLIPS = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)
#: Assignments that are rolled out jointly.
VERIFIED = 16
#: Steps of one or two changed weights from the best of those, each of as many rolled out as NEIGHBOURS says.
STEPS = 4
NEIGHBOURS = 8
#: Assignments of widths, the best when rolled out, whose roundings are searched. With the best alone, which is so with
#: one rounding of each weight, a model in fourteen came out worse than to nearest.
SETTLED = 3
#: Largest divergence of one value that counts, in the model's units: a rollout that ran away must not drown the rest.
MOST = 30.0
#: Points of a printed frontier.
POINTS = 16
#: Shift of the output's bias that its effect is measured with, in the model's units.
NUDGE = 0.02
#: Ridge of the fitted shift, over the mean power of the responses.
RIDGE = 0.1
#: A fitted shift must leave at most this of the divergence of seeds that it was not fitted to.
HELPS = 0.97


@dataclass(frozen=True)
class RefineSettings:
    """The parts of the refinement.

    gram: measure the divergence of each choice and let errors cancel; without it TQS predicts. clip: try the clip
    ratios of rounding to nearest. verify: roll the best assignments out and compare. bias_correction: correct the
    output's bias. candidates: try other roundings at the widths that were found.
    """

    gram: bool = True
    clip: bool = True
    verify: bool = True
    bias_correction: bool = True
    candidates: bool = True

    @property
    def stages(self) -> tuple[str, ...]:
        return tuple(name for name in self.__dataclass_fields__ if getattr(self, name))


@dataclass(frozen=True)
class Measurement:
    """What rolling an assignment out gave: divergence RMSE, after ``correction`` of the output's bias (empty: none)."""

    rmse: float
    correction: tuple[float, ...] = ()


class Refiner:
    """Plans for one model under any budget, from one set of measurements.

    Made from a system, the TQS and the byte costs of its weights (both in the model's order), seeds, the horizon, and
    widths that are pinned. A budget is in bytes, or with ``limits`` (by weight and width,
    as the costs are) in their unit. A width that is no cheaper than a wider one is left out: int4 can cost more bytes.
    roundings: what compensates; None rounds to nearest. one_scale: what weights cost with one scale each; None leaves
    each channel its scale. With it a form of a weight is left out where a better one costs no more. It is used where
    errors are compensated and measured, and the budget is in bytes.
    """

    def __init__(
        self,
        system: System,
        scores: Scores,
        costs: Costs,
        seeds: Array,
        horizon: int,
        *,
        settings: RefineSettings | None = None,
        limits: Costs | None = None,
        pins: Mapping[str, int] | None = None,
        shapes: Mapping[str, tuple[int, ...]] | None = None,
        progress: Progress | None = None,
        roundings: Roundings | None = None,
        one_scale: OneScale | None = None,
    ) -> None:
        self.settings = settings or RefineSettings()
        self.costs = costs
        self.limits = limits or costs
        self._system, self._scores, self._seeds, self._horizon = system, scores, seeds, horizon
        self._pins, self._shapes = dict(pins or {}), dict(shapes or {})
        self._roundings, self._progress = roundings, progress or (lambda done, total: None)
        self._names = list(scores)
        self._rollout = system.trace(horizon, len(seeds))
        self._nominal = self._rollout({}, seeds).astype(np.float64)
        self._units = output_units(system, self._nominal)
        self._known: dict[Assigned, Measurement] = {}
        self._vectors: Array | None = None  # (C, P), the divergence of each choice, once measured
        able = roundings is not None and self.settings.gram and limits is None
        self._one_scale = one_scale if able else None
        self._responses = self._respond() if self.settings.bias_correction else None

    @property
    def seeds_count(self) -> int:
        """Rollouts that every divergence is measured over."""
        return len(self._seeds)

    def plan(self, budget: int) -> Plan:
        """The best plan within ``budget``. Raises UsageError as plan.plan does when nothing fits."""
        sizes, a_priori = self._sizes(self.limits), list[Assignment]()
        try:
            a_priori.append(self._from_plan(plan(self._scores, self.limits, budget, pins=self._pins)))
        except UsageError:  # with a scale for each channel none fits
            smallest = self._smallest(sizes)
            if self._one_scale is None:
                raise
            if budget < smallest:
                raise too_small(self.costs, budget, smallest) from None
        keep = VERIFIED if self.settings.verify else 1
        found = self._search.best(sizes, budget, keep, a_priori)
        if self.settings.verify:
            ranked = self._ranked(dict.fromkeys([*found, *a_priori]))
            found = list(dict.fromkeys([self._improved(ranked[0], budget), *ranked]))
        starts = {self._taken(choice): choice for choice in found[:SETTLED]}
        start, taken = self._settled(list(starts))
        return self._plan(taken, budget if self.limits is self.costs else None, starts[start])

    def uniform(self, width: int, *, candidates: bool = True) -> Plan:
        """All weights at one width; the roundings measured where ``candidates`` says so, else the first of each."""
        taken = tuple(self._first_choices(width, CHANNEL)[0] for _ in self._names)
        return self._plan(self._settled([taken])[1] if candidates else taken, None)

    def within(self, divergence: float) -> Plan:
        """The smallest plan found whose measured divergence RMSE is at most ``divergence``.

        The frontier is walked from its small end, each point rolled out; at the first that holds, the best plan of its
        bytes is taken. Raises UsageError when no point holds.
        """
        closest = np.inf
        for budget in self._budgets(None):
            for choice in self._search.best(self._sizes(self.costs), budget):
                closest = min(closest, self._verified(self._taken(choice)).rmse)
                if closest <= divergence:
                    return replace(self.plan(budget), budget_bytes=None)
        raise UsageError(
            f"No plan keeps the divergence within {divergence:g} RMSE: the best that was found has {closest:.4g}",
            hint=f"Ask for {closest * 1.01:.3g} or more, or for 8-bit weights with --bits 8.",
        )

    def frontier(self, points: int = POINTS) -> tuple[Plan, ...]:
        """At most ``points`` plans, none of which another beats in bytes and predicted divergence; by bytes."""
        found: dict[Assignment, None] = {}
        for budget in self._budgets(points):
            found |= dict.fromkeys(self._search.best(self._sizes(self.costs), budget))
        plans = [self._plan(self._taken(choice), None, choice) for choice in found]
        plans.sort(key=lambda made: (made.total_bytes, made.predicted_rmse))
        least, kept = np.inf, []
        for made in plans:
            if made.predicted_rmse < least * (1 - 1e-6):
                least = made.predicted_rmse
                kept.append(made)
        return tuple(kept)

    def measure(self, made: Plan) -> float:
        """Divergence RMSE of any plan of this model, with the bias correction that it has."""
        weights = [self._rounded(t.name, t.rounded) for t in made.tensors]
        return _rmse(self._roll(weights, made.bias_correction))

    # --- measuring --------------------------------------------------------------------------------------------------

    @cached_property
    def _search(self) -> Search:
        """The search over what was measured; without ``gram`` over TQS, and of the clip ratios the best by itself."""
        options, settings = self._options, self.settings
        count = len(options)
        gram = np.zeros((count, count))
        if settings.gram or settings.clip:
            vectors = []
            for done, (index, rounding) in enumerate(options):
                vectors.append(self._roll([self._rounded(self._names[index], rounding)]).reshape(-1))
                self._progress(done + 1, count)
            stacked = self._without_shift(np.array(vectors))
            self._vectors = stacked if settings.gram else None
            gram = stacked @ stacked.T / stacked.shape[1]
        groups = [tuple(c for c in range(count) if options[c][0] == index) for index in range(len(self._names))]
        if not settings.gram:
            alone = np.diag(gram)
            gram = np.diag([predicted_damage(self._scores[self._names[i]], way.width) for i, way in options])
            groups = [
                tuple(
                    min((c for c in group if options[c][1].width == width), key=lambda c: (alone[c], c))
                    for width in dict.fromkeys(options[c][1].width for c in group)
                )
                for group in groups
            ]
        forms = tuple(2 * way.width + SCALES.index(way.scales) for _, way in options)
        return Search(tuple(groups), forms, (gram + gram.T) / 2)

    def _ranked(self, choices: Iterable[Assignment]) -> list[Assignment]:
        """The one that diverges least when rolled out first; of equals the smallest."""
        sizes = self._sizes(self.costs)
        return sorted(
            choices,
            key=lambda choice: (self._verified(self._taken(choice)).rmse, sum(sizes[c] for c in choice), choice),
        )

    def _improved(self, choice: Assignment, budget: int) -> Assignment:
        """Steps from ``choice`` to better neighbours, predicted from the divergence that it was measured to have."""
        if self._vectors is None:
            return choice
        for _ in range(STEPS):
            measured = self._without_shift(self._roll(self._all_rounded(self._taken(choice))).reshape(1, -1))[0]
            reach = self._vectors @ measured / measured.size
            near = self._search.neighbours(choice, reach, self._sizes(self.limits), budget, NEIGHBOURS)
            best = self._ranked([choice, *near])[0]
            if best == choice:
                break
            choice = best
        return choice

    def _settled(self, starts: Sequence[Assigned]) -> tuple[Assigned, Assigned]:
        """Of ``starts`` the one that was gone on from, and the best roundings that were found at its widths.

        Each of several is swept once, and what has become the best once more.
        """
        if self._roundings is None or not self.settings.candidates:
            return starts[0], starts[0]
        if len(starts) == 1:
            return starts[0], self._swept(starts[0], SWEEPS)
        ends = {start: self._swept(start, 1) for start in starts}
        best = min(ends, key=lambda start: self._verified(ends[start]).rmse)
        return best, self._swept(ends[best], SWEEPS - 1)

    def _swept(self, taken: Assigned, sweeps: int) -> Assigned:
        """The best roundings that ``sweeps`` find in the forms of ``taken``, rounding to nearest among them."""
        nearest = tuple(Rounding(rounding.width, scales=rounding.scales) for rounding in taken)
        start = min((taken, nearest), key=lambda tried: self._verified(tried).rmse)
        shifted = bool(self._verified(start).correction)

        def measure(tried: Assigned) -> float:
            divergence = self._roll(self._all_rounded(tried))
            return _rmse(self._without_shift(divergence.reshape(1, -1)) if shifted else divergence)

        sizes = [self._system.size(name) for name in self._names]
        clips = self.settings.clip
        candidates = [others(way.width, size, clips, way.scales) for way, size in zip(start, sizes, strict=True)]
        found = descended(start, candidates, measure, sweeps)
        return min((found, start), key=lambda tried: self._verified(tried).rmse)

    def _verified(self, taken: Assigned) -> Measurement:
        """The divergence of ``taken`` rolled out, its bias corrected where that is wanted and helps."""
        if taken not in self._known:
            weights = self._all_rounded(taken)
            divergence = self._roll(weights)
            plain = Measurement(_rmse(divergence))
            self._known[taken] = self._corrected(weights, divergence, plain)
        return self._known[taken]

    def _respond(self) -> Array | None:
        """Divergence (F, S, T, F) for each channel of the output's bias, per unit of shift; None without one."""
        bias = self._system.output_bias
        if bias is None:
            return None
        shifts = NUDGE * np.eye(bias.data.size)
        return np.stack([self._roll([], tuple(map(float, shift))) / NUDGE for shift in shifts])

    def _without_shift(self, vectors: Array) -> Array:
        """Divergences (C, S*T*F) less what a fitted shift takes away; as the fit is linear, so are sums of these."""
        if self._responses is None:
            return vectors
        flat = self._responses.reshape(len(self._responses), -1)
        corrected: Array = vectors + _shifts(flat, vectors) @ flat
        return corrected

    def _corrected(self, weights: Weights, divergence: Array, plain: Measurement) -> Measurement:
        """``plain``, or better: with the shift fitted to ``divergence`` (S, T, F), where that holds on other seeds."""
        if self._responses is None or len(divergence) < 2:
            return plain
        responses = self._responses
        even = np.arange(len(divergence)) % 2 == 0
        left = 0.0
        for fitted in (even, ~even):
            after = self._roll(weights, _fit(responses[:, fitted], divergence[fitted]))
            left += float(np.square(after[~fitted]).sum())
        if left > HELPS**2 * float(np.square(divergence).sum()):
            return plain
        shift = _fit(responses, divergence)
        corrected = Measurement(_rmse(self._roll(weights, shift)), shift)
        return min(corrected, plain, key=lambda measured: measured.rmse)

    def _all_rounded(self, taken: Assigned) -> Weights:
        return [self._rounded(name, rounding) for name, rounding in zip(self._names, taken, strict=True)]

    def _rounded(self, name: str, rounding: Rounding) -> dict[str, Array]:
        """The parts of a weight as their codes hold them, in float, and the biases that change with them."""
        if self._roundings is not None and not rounding.usual:
            return self._roundings.values(name, rounding)
        rounded = {}
        for part in self._system.weights[name]:
            codes, scale = quantize_weight(part.rows(), rounding.width, clip=rounding.clip)
            rounded[part.name] = part.with_rows(codes.astype(np.float32) * scale[:, None])
        return rounded

    def _roll(self, weights: Weights, shift: tuple[float, ...] = ()) -> Array:
        """Divergence (S, T, F) from the nominal rollout, each value within +-MOST."""
        changed = {name: data for part in weights for name, data in part.items()}
        bias = self._system.output_bias
        if shift and bias is not None:
            changed[bias.name] = (changed.get(bias.name, bias.data) + np.asarray(shift)).astype(np.float32)
        with np.errstate(over="ignore", invalid="ignore"):  # a float model may run away by itself
            difference = (self._rollout(changed, self._seeds).astype(np.float64) - self._nominal) / self._units
        return np.clip(np.nan_to_num(difference, nan=MOST, posinf=MOST, neginf=-MOST), -MOST, MOST)

    # --- plans and assignments --------------------------------------------------------------------------------------

    @cached_property
    def _options(self) -> list[tuple[int, Rounding]]:
        """choice -> weight, how it is rounded."""
        return [
            (index, rounding)
            for index, name in enumerate(self._names)
            for width, scales in self._useful(name)
            for rounding in self._first_choices(width, scales)
        ]

    def _first_choices(self, width: int, scales: str) -> list[Rounding]:
        """The roundings of a form that forms are chosen with."""
        if self._roundings is not None:
            return [Rounding(width, 1.0, COMPENSATED[0], scales)]
        return [Rounding(width, clip) for clip in (CLIPS if self.settings.clip and width == 4 else (1.0,))]

    def _useful(self, name: str) -> list[tuple[int, str]]:
        """The forms of a weight, the best first: widths of which each is cheaper than the wider, and of each the two
        of what a scale is for, where one for all is cheaper than all that is better."""
        widths = [self._pins[name]] if name in self._pins else sorted(self.limits[name], reverse=True)
        kept: list[tuple[int, str]] = []
        least = {CHANNEL: np.inf, TENSOR: np.inf}
        for width in widths:
            for scales in SCALES if self._one_scale else (CHANNEL,):
                price = self._price(self.limits, name, Rounding(width, scales=scales))
                if price < (least[CHANNEL] if scales == CHANNEL else min(least.values())):
                    kept.append((width, scales))
                    least[scales] = price
        return kept

    def _price(self, costs: Costs, name: str, rounding: Rounding) -> int:
        prices = self._one_scale() if self._one_scale and rounding.one_scale else costs
        return prices[name][rounding.width]

    def _sizes(self, costs: Costs) -> list[int]:
        return [self._price(costs, self._names[index], rounding) for index, rounding in self._options]

    def _smallest(self, sizes: Sequence[int]) -> int:
        """Bytes of the smallest assignment."""
        least: dict[int, int] = {}
        for (index, _), size in zip(self._options, sizes, strict=True):
            least[index] = min(size, least.get(index, size))
        return sum(least.values())

    def _taken(self, choice: Assignment) -> Assigned:
        return tuple(self._options[c][1] for c in choice)

    def _from_plan(self, made: Plan) -> Assignment:
        """The widths of ``made``; of the clip ratios the best by itself."""
        gram, widths = self._search.gram, made.widths()

        def way(choice: int) -> tuple[int, str]:
            rounding = self._options[choice][1]
            return rounding.width, rounding.scales

        return tuple(
            min((c for c in group if way(c) == (widths[name], CHANNEL)), key=lambda c: (gram[c, c], c))
            for name, group in zip(self._names, self._search.choices, strict=True)
        )

    def _plan(self, taken: Assigned, budget: int | None, choice: Assignment | None = None) -> Plan:
        """The plan of roundings, as predicted for ``choice``; without one, of one width for all."""
        settings = self.settings
        roundings = dict(zip(self._names, taken, strict=True))
        made = assigned(self._scores, self.costs, roundings, budget, self._shapes, self._one_scale or dict)
        if self._roundings is not None:
            made = self._roundings.signed(made)
        measured = self._verified(taken) if settings.verify or settings.bias_correction else None
        by_gram = settings.gram and choice is not None
        evidence = Evidence(
            method="uniform" if choice is None else "refined",
            stages=tuple(part for part in settings.stages if part != "candidates" or self._roundings is not None),
            predicted_by="gram" if by_gram else "tqs",
            predicted_rmse=(made.predicted_damage if choice is None else self._search.damage(choice)) ** 0.5,
            measured_rmse=measured.rmse if measured else None,
            seeds_count=len(self._seeds),
            horizon=self._horizon,
            assignment=made.assignment,
        )
        return replace(made, bias_correction=measured.correction if measured else (), evidence=evidence)

    def _budgets(self, points: int | None) -> list[int]:
        """Budgets from the smallest plan to the largest: of each a-priori point, or ``points`` evenly spaced ones."""
        known = [made.total_bytes for made in frontier(self._scores, self.costs, pins=self._pins)]
        sizes = self._sizes(self.costs)
        least = min(known[0], self._smallest(sizes))
        most = sum(max(sizes[c] for c in group) for group in self._search.choices)
        if points is None and self._one_scale is None and len(known) <= 4 * POINTS:
            return sorted({*known, most})
        return [int(value) for value in np.linspace(least, most, points or 4 * POINTS)]


def _rmse(divergence: Array) -> float:
    return float(np.sqrt(np.mean(np.square(divergence))))


def _fit(responses: Array, divergence: Array) -> tuple[float, ...]:
    """The bias shift (F,) that leaves least of ``divergence`` (S, T, F) by its ``responses`` (F, S, T, F)."""
    shift = _shifts(responses.reshape(len(responses), -1), divergence.reshape(1, -1))[0]
    return tuple(float(np.float32(value)) for value in shift)


def _shifts(responses: Array, vectors: Array) -> Array:
    """Ridge regression: the shifts (C, F) that leave least of ``vectors`` (C, P) by ``responses`` (F, P)."""
    power = responses @ responses.T
    ridge = RIDGE * np.trace(power) / len(power) * np.eye(len(power))
    shifts: Array = -np.linalg.solve(power + ridge, responses @ vectors.T).T
    return shifts
