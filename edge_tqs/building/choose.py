"""What was asked for, to a plan: a budget, mean bits, a divergence, one width, or a file; refined or a priori."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

from edge_tqs.errors import UsageError
from edge_tqs.graph.graph import Array
from edge_tqs.planning import plan as planning
from edge_tqs.planning.file import Origin
from edge_tqs.planning.plan import Costs, Evidence, OneScale, Plan
from edge_tqs.planning.refine import POINTS, SEEDS, Refiner, RefineSettings
from edge_tqs.planning.roundings import Roundings
from edge_tqs.planning.score import Sensitivity
from edge_tqs.system.seeds import zero_data_seeds
from edge_tqs.system.system import System

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class PlanRequest:
    """How wide the weights may be: a budget in bytes, one width, a plan, a plan file, or (all None) the default.

    mean_bits: the most that the codes of all weights may take on average. fit_flash: what the board's flash has room
    for; the pipeline that knows the board makes ``code_bytes`` of it, the most that the codes alone may take.
    max_divergence: RMSE that the smallest plan must keep to. tolerance: how much more error than float's the smallest
    model may have, as a share (building/selection). pins: widths that are not up for choice. refine: None leaves it at
    the a-priori plan, and at rounding to nearest. rounding: of a plan that is not given. one_scale: whether a budget
    may be kept by one scale for all of a weight, which saves nothing of an image. latency: the most milliseconds that
    an evaluation may be modelled to take.
    """

    budget_bytes: int | None = None
    bits: int | None = None
    plan: Plan | None = None
    plan_file: Path | None = None
    mean_bits: float | None = None
    fit_flash: bool = False
    code_bytes: int | None = None
    max_divergence: float | None = None
    tolerance: float | None = None
    pins: Mapping[str, int] = field(default_factory=dict)
    refine: RefineSettings | None = field(default_factory=RefineSettings)
    rounding: Literal["compensated", "nearest"] = "compensated"
    one_scale: bool = True
    latency: float | None = None

    @cached_property
    def given_plan(self) -> Plan | None:
        """The plan, or that of the file. Raises UsageError where this is none."""
        if self.plan_file is None:
            return self.plan
        return Plan.from_json(_read(self.plan_file), str(self.plan_file))

    @property
    def free(self) -> bool:
        """Whether nothing says how wide the weights are: then accuracy decides."""
        said = (self.budget_bytes, self.bits, self.plan, self.plan_file, self.mean_bits, self.code_bytes)
        return all(value is None for value in (*said, self.max_divergence)) and not self.fit_flash


@dataclass(frozen=True)
class Choice:
    """The plan that was chosen; the frontier that it is from and the uniform plans, for tables and plots."""

    plan: Plan
    frontier: tuple[Plan, ...]
    uniform: tuple[Plan, ...]


class Chooser:
    """Plans of one scored model. ``progress(stage, done, total)`` is called while divergences are measured.

    seeds: real windows (S, W, F) that a refinement measures on; zero-data ones when not given. rounder: called with
    what the codes of a plan follow from, or None for a new plan, it compensates; without it weights are rounded to
    nearest. one_scale: what weights cost with one scale each.
    """

    def __init__(
        self,
        system: System,
        sensitivity: Sensitivity,
        costs: Costs,
        request: PlanRequest,
        progress: Progress | None = None,
        seeds: Array | None = None,
        rounder: Callable[[Origin | None], Roundings] | None = None,
        one_scale: OneScale = dict,
    ) -> None:
        self._one_scale = one_scale
        self._sensitivity, self._costs, self._request = sensitivity, costs, request
        self._scores = {tensor.name: tensor.tqs for tensor in sensitivity.tensors}
        self._shapes = {tensor.name: tensor.shape for tensor in sensitivity.tensors}
        self._sizes = {source: system.size(source) for source in system.weights}
        self._system, self._progress, self._seeds = system, progress, seeds
        #: what the user should know of the plan, after plan()
        self.warnings: list[str] = []
        self._refiner: Refiner | None = None
        self._rounder = rounder
        #: what gives the codes of the plan, after plan(); None where all are those of rounding to nearest
        self.roundings: Roundings | None = None

    def plan(self) -> Plan:
        """The plan that was asked for. Raises UsageError when it cannot be had, or a plan file is of another model."""
        request, costs = self._request, self._costs
        edited = request.given_plan
        if edited is not None:
            made = planning.recost(edited, costs, shapes=self._shapes, one_scale=self._one_scale)
            if edited.bias_correction != made.bias_correction:
                self.warnings.append(
                    "The plan's widths, scales or clips are not those that its bias correction was measured with: the "
                    "correction was left out. To build it nonetheless, set the plan's evidence to null."
                )
            return self._with_codes(made)
        if request.bits is not None:
            return self.uniform(request.bits)
        if request.max_divergence is not None:
            if request.refine is None:
                raise UsageError("A divergence cannot be kept to without measuring it", hint="Leave --no-refine out.")
            return self._refined().within(request.max_divergence)
        if request.mean_bits is not None:
            return self._of_code_bits(int(request.mean_bits * sum(self._sizes.values()) + 1e-9))
        if request.code_bytes is not None:
            return self._of_code_bits(8 * request.code_bytes)
        budget = request.budget_bytes or planning.default_budget(costs, request.pins)
        if request.refine is not None:
            return self._refined().plan(budget)
        return self._known(planning.plan(self._scores, costs, budget, pins=request.pins, shapes=self._shapes))

    def uniform(self, width: int) -> Plan:
        """All weights at one width, their roundings measured. Raises UsageError when a weight cannot have it."""
        if self._request.refine is not None and self._rounder is not None:
            return self._refined().uniform(width)
        made = planning.uniform(self._costs, self._scores, width, shapes=self._shapes)
        return self._known(made, "uniform")

    def halfway(self) -> Plan:
        """The best plan of half the bytes between all-int4 and all-int8, whatever was asked for."""
        budget = planning.default_budget(self._costs, self._request.pins)
        if self._request.refine is not None:
            return self._refined().plan(budget)
        pins = self._request.pins
        return self._known(planning.plan(self._scores, self._costs, budget, pins=pins, shapes=self._shapes))

    def widest(self) -> Plan:
        """All weights as wide as they can be, the pinned ones as they are pinned; the output's bias corrected."""
        pins = {name: max(options) for name, options in self._costs.items()} | dict(self._request.pins)
        most = sum(max(options.values()) for options in self._costs.values())
        made = planning.plan(self._scores, self._costs, most, pins=pins, shapes=self._shapes)
        if self._request.refine is None:
            return replace(self._known(made), budget_bytes=None)
        if len(widths := set(pins.values())) == 1:
            return self._refined().uniform(*widths)
        return replace(self._new_refiner(pins, one_scale=False).plan(made.total_bytes), budget_bytes=None)

    def frontier(self) -> tuple[Plan, ...]:
        """Plans from the smallest to the largest, none of which another beats in bytes and predicted divergence."""
        if self._request.refine is not None:
            return self._refined().frontier()
        points = planning.frontier(self._scores, self._costs, pins=self._request.pins, shapes=self._shapes)
        last = len(points) - 1
        shown = sorted({round(i * last / (POINTS - 1)) for i in range(POINTS)}) if last >= POINTS else range(last + 1)
        return tuple(self._known(points[i]) for i in shown)

    def choose(self, chosen: Plan | None = None) -> Choice:
        """The plan, that of `plan` unless another was chosen, with the frontier around it; measured figures too where
        plans are refined."""
        if chosen is None:
            chosen = self.plan()
        elif self._request.refine is not None:
            self._refined()
        widths = [width for width in (4, 8) if all(width in options for options in self._costs.values())]
        refiner = self._refiner
        if refiner is not None:
            flat = [refiner.uniform(width, candidates=False) for width in widths]
            return Choice(chosen, refiner.frontier(), tuple(flat))
        uniform = tuple(
            self._known(planning.uniform(self._costs, self._scores, width, shapes=self._shapes), "uniform")
            for width in widths
        )
        return Choice(chosen, self.frontier(), uniform)

    def _with_codes(self, made: Plan) -> Plan:
        """A plan that was given, its codes those that it was made with. Raises UsageError where they cannot be had."""
        if all(tensor.rounded.usual for tensor in made.tensors):
            return made
        if self._rounder is None:
            raise UsageError(
                "The plan compensates roundings or has weights of one scale, and this model's layers cannot be "
                "looked into",
                hint='Build the model that it was made with, or set each "rounding" in the plan to "nearest" '
                "and leave scales out.",
            )
        self.roundings = self._rounder(made.origin)
        return self.roundings.signed(made)

    def _refined(self, limits: Costs | None = None) -> Refiner:
        if self._refiner is None:
            self._refiner = self._new_refiner(self._request.pins, limits)
        return self._refiner

    def _new_refiner(self, pins: Mapping[str, int], limits: Costs | None = None, *, one_scale: bool = True) -> Refiner:
        report, horizon = self._progress, self._sensitivity.horizon
        if self._seeds is None:
            self._seeds = zero_data_seeds(self._system, SEEDS, horizon, self._sensitivity.seed)
        self.roundings = None if self._rounder is None else self._rounder(None)
        return Refiner(
            self._system,
            self._scores,
            self._costs,
            self._seeds,
            horizon,
            settings=self._request.refine,
            limits=limits,
            pins=pins,
            shapes=self._shapes,
            progress=None if report is None else lambda done, total: report("refining the plan", done, total),
            roundings=self.roundings,
            one_scale=self._one_scale if one_scale and self._request.one_scale else None,
        )

    def _of_code_bits(self, ceiling: int) -> Plan:
        """The best plan whose codes, metadata apart, take at most ``ceiling`` bits."""
        request, parameters = self._request, sum(self._sizes.values())
        limits = {name: {width: width * self._sizes[name] for width in self._costs[name]} for name in self._costs}
        open_widths = {name: [request.pins[name]] if name in request.pins else list(limits[name]) for name in limits}
        least = sum(min(limits[name][width] for width in open_widths[name] if width in limits[name]) for name in limits)
        if ceiling < least:
            if request.code_bytes is not None:
                raise UsageError(
                    f"The board's flash has room for {request.code_bytes:,} bytes of weights: the smallest plan takes "
                    f"{-(-least // 8):,}",
                    hint="Take a board with more flash, a smaller model, or pin fewer weights.",
                )
            raise UsageError(
                f"{ceiling / parameters:.3g} bits a weight on average cannot be had: the least is "
                f"{least / parameters:.3g}",
                hint=f"Give --mean-bits {least / parameters + 0.005:.2f} or more, or pin fewer weights.",
            )
        ceiling = min(ceiling, sum(max(options.values()) for options in limits.values()))
        made = planning.plan(self._scores, limits, ceiling, pins=request.pins, shapes=self._shapes)
        if request.refine is not None:
            return self._refined(limits).plan(ceiling)
        return self._known(replace(planning.recost(made, self._costs, shapes=self._shapes), budget_bytes=None))

    def _known(self, made: Plan, method: str = "a-priori") -> Plan:
        """``made`` with what is known of it without measuring."""
        sensitivity = self._sensitivity
        evidence = Evidence(
            method, (), "tqs", made.predicted_damage**0.5, None, 0, sensitivity.horizon, made.assignment
        )
        return replace(made, evidence=evidence)


def mean_bits(made: Plan) -> float:
    """Bits that a weight takes on average, codes alone."""
    sizes = [tensor_size(tensor.shape) for tensor in made.tensors]
    return sum(size * tensor.width for size, tensor in zip(sizes, made.tensors, strict=True)) / max(sum(sizes), 1)


def tensor_size(shape: tuple[int, ...]) -> int:
    """Values in a weight of ``shape``."""
    size = 1
    for length in shape:
        size *= length
    return size


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"{path} cannot be read: {error}", hint="Name a file that `edge-tqs plan --out` wrote."
        ) from error
