"""A scored model with the ranges of its activations: ready for any widths of weights, and codes of 8 or 16 bits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from edge_tqs.building.choose import Chooser, PlanRequest
from edge_tqs.building.chooser import Rounder, chooser, rounder_of
from edge_tqs.building.opened import scaled_graph
from edge_tqs.building.request import ModelRequest
from edge_tqs.building.scored import ScoredModel, zero_data_windows
from edge_tqs.building.selection import widening
from edge_tqs.building.windows import LEAST_WINDOWS, Windows, check_unmasked
from edge_tqs.errors import UsageError
from edge_tqs.graph.graph import Forecast, Graph
from edge_tqs.passes.output_bias import shift_output
from edge_tqs.planning.file import COMPENSATED, ActivationRange, Origin, Plan, PlannedActivations, Rounding
from edge_tqs.planning.roundings import Rounded, Roundings
from edge_tqs.progress import Progress
from edge_tqs.quantization.calibration import Ranges, calibrate
from edge_tqs.quantization.channel_scales import Folded, on_own_scales
from edge_tqs.quantization.families import Family
from edge_tqs.quantization.quantize import AskedActivations, codes_beside, quantize, shared_quants
from edge_tqs.quantization.range_search import Narrowed, narrowed
from edge_tqs.quantization.wide_search import Widened, families_of, widened
from edge_tqs.system.of_graph import graph_system
from edge_tqs.system.seeds import zero_data_seeds


@dataclass(frozen=True, eq=False)
class Prepared:
    """What is quantised, as soon as widths and codes are chosen.

    graph: float, in the units that it is quantised in, which are those of ``folded`` where that is not None. windows,
    ranges: in these units. before: the forecast in the units of before. stuck: why no channels, or not all, could be
    folded. left_out: windows that say nothing about ranges. warnings: of the data.
    """

    scored: ScoredModel
    graph: Graph
    windows: Windows
    ranges: Ranges
    folded: Folded | None
    before: Forecast
    stuck: str
    left_out: int
    warnings: tuple[str, ...]
    _choosers: dict[object, Chooser] = field(default_factory=dict, init=False)
    _narrowed: list[Narrowed] = field(default_factory=list, init=False)
    _widened: list[Widened] = field(default_factory=list, init=False)

    def shifted(self, plan: Plan) -> Graph:
        """The float graph with the output's bias corrected as ``plan`` says."""
        correction = plan.bias_correction
        return shift_output(self.graph, correction if self.folded is None else self.folded.shifted(correction))

    def integer(self, plan: Plan, activations: AskedActivations, progress: Progress) -> Graph:
        """The integer graph of ``plan``; of mixed activations those are int16 that it names. Raises as `quantize`, and
        UsageError where it names what is none."""
        ranges = self.ranges_of(plan, activations, progress).ranges
        codes, wide = codes_beside(activations), self._wide(plan, ranges, activations)
        return quantize(self.shifted(plan), plan.widths(), ranges, plan.clips(), codes, self._codes(plan), wide)

    def ranges_of(self, plan: Plan, activations: AskedActivations, progress: Progress) -> Narrowed:
        """The ranges of activations beside ``plan``: those that it holds for them, unless others are asked for.

        Raises UsageError where these are of another model.
        """
        said = plan.activations
        if said is None or said.codes != activations or not said.ranges or self.scored.model.request.ranges is not None:
            return Narrowed(self.ranges) if activations == "int16" else self.narrowed(plan, progress)
        bounds = {item.name: (item.low, item.high) for item in said.ranges}
        for name in bounds.keys() ^ self.ranges.bounds.keys():
            raise UsageError(
                f"The plan's ranges are of another model: {name} is in one of the two alone",
                hint="Build the model that it was made with, or empty its ranges: they are then measured again.",
            )
        for known in self._narrowed:
            if (known.ranges.bounds, known.ranges.apart) == (bounds, said.apart):
                return known  # with what was measured of them
        return Narrowed(replace(self.ranges, bounds=bounds, apart=said.apart))

    def beside(self, plan: Plan, activations: AskedActivations, core: str, progress: Progress) -> Plan:
        """``plan``, holding the activations that it is built with; mixed ones as they are best on ``core``."""
        ranges = self.ranges_of(plan, activations, progress).ranges
        held = tuple(ActivationRange(name, float(low), float(high)) for name, (low, high) in ranges.bounds.items())
        said, int16 = plan.activations, tuple[str, ...]()
        if activations == "mixed":
            known = said is not None and said.codes == "mixed" and said.int16
            int16 = said.int16 if said is not None and known else self.widened(plan, core, progress).names
        return replace(plan, activations=PlannedActivations(activations, held, ranges.apart, int16))

    def uniform(self, width: int, plan: Plan, ranges: Ranges, asked: AskedActivations) -> Graph:
        """All weights at one width, beside ``plan``: compensated where that is, unmeasured. Raises as `quantize`."""
        widths = dict.fromkeys(plan.widths(), width)
        activations, wide = codes_beside(asked), self._wide(plan, ranges, asked)
        if plan.origin is None or self._rounder is None:
            return quantize(self.graph, widths, ranges, activations=activations, wide=wide)
        first = dict.fromkeys(widths, Rounding(width, 1.0, COMPENSATED[0]))
        codes = self._rounder(plan.origin).rounded(first)
        return quantize(self.graph, widths, ranges, None, activations, codes, wide)

    def widened(self, plan: Plan, core: str, progress: Progress) -> Widened:
        """Which activations are int16 among int8 ones: with the first plan that this is called with, for all. Raises
        ModelError where none can be, or none wins anything."""
        if not self._widened:
            ranges = self.ranges_of(plan, "mixed", progress).ranges
            progress("measuring activations", 0, 1)
            corrected, widths, clips, codes = self.shifted(plan), plan.widths(), plan.clips(), self._codes(plan)
            self._widened.append(
                widened(
                    self.graph,
                    lambda wide: quantize(corrected, widths, ranges, clips, rounded=codes, wide=wide),
                    ranges,
                    self.scored.model.request.horizon,
                    widening.costs_on(core),
                    widening.LIMITS,
                )
            )
        return self._widened[0]

    def found_wide(self) -> Widened | None:
        """What `widened` found, if it was asked."""
        return self._widened[0] if self._widened else None

    def _wide(self, plan: Plan, ranges: Ranges, activations: AskedActivations) -> frozenset[Family]:
        if activations != "mixed" or plan.activations is None:
            return frozenset()
        shared = shared_quants(self.graph, ranges)
        for name in plan.activations.int16:
            if name not in shared.families:
                raise UsageError(
                    f"The plan names the int16 activation {name}, which is none of this model",
                    hint="Take it out of the plan, or plan again with --activations mixed.",
                )
        return families_of(shared, plan.activations.int16)

    def _codes(self, plan: Plan) -> Mapping[str, Rounded] | None:
        """Of the weights that are not rounded to nearest."""
        if plan.origin is None or self._rounder is None:
            return None
        return self._rounder(plan.origin).rounded(plan.roundings())

    @cached_property
    def _rounder(self) -> Rounder | None:
        """What compensates, once for each origin."""
        make, known = rounder_of(self.scored.model, self.folded), dict[Origin | None, Roundings]()
        if make is None:
            return None

        def rounder(origin: Origin | None) -> Roundings:
            if origin not in known:
                made = make(origin)
                known[origin] = known.setdefault(made.origin, made)
            return known[origin]

        return rounder

    def narrowed(self, plan: Plan, progress: Progress) -> Narrowed:
        """The ranges of int8 activations, narrower where that was measured to be better: with the first plan that this
        is called with, for all."""
        if not self._narrowed:
            request = self.scored.model.request
            if not request.measures_ranges:
                self._narrowed.append(Narrowed(self.ranges))
            else:
                progress("measuring ranges", 0, 1)
                corrected, widths, clips, codes = self.shifted(plan), plan.widths(), plan.clips(), self._codes(plan)
                self._narrowed.append(
                    narrowed(
                        self.graph,
                        lambda tried: quantize(corrected, widths, tried, clips, rounded=codes),
                        self.ranges,
                        request.horizon,
                    )
                )
        return self._narrowed[0]

    def chooser(self, request: PlanRequest, progress: Progress | None, activations: AskedActivations) -> Chooser:
        """What finds plans beside ``activations``, whose bytes count; where nothing is asked for the same one again."""
        scored = self.scored.with_activations(activations)
        if not request.free:
            return chooser(scored, request, progress, self.folded, self._rounder)
        key = (
            codes_beside(activations),
            tuple(request.pins.items()),
            request.refine,
            request.rounding,
            request.one_scale,
        )
        if key not in self._choosers:
            self._choosers[key] = chooser(scored, request, progress, self.folded, self._rounder)
        return self._choosers[key]


def prepare(scored: ScoredModel) -> Prepared:
    """Cut the windows, see the ranges of the activations, and give channels scales of their own where they need it.

    Raises ModelError.
    """
    request = scored.model.request
    loaded, horizon = scored.model.opened.need_graph()[0], request.horizon
    graph = scaled_graph(scored.model)
    windows, warnings = _windows(request, graph)
    check_unmasked(windows, loaded.masked)
    ranges = calibrate(graph, windows.calibration, horizon)
    left_out, before = ranges.left_out, graph.forecast
    folded, stuck = on_own_scales(graph, ranges)
    if folded is not None:
        graph = replace(folded.graph, forecast=before.in_units(folded.x, folded.y)).check()
        windows = windows.scaled(folded.x, folded.y)
        assert ranges.kept is not None
        ranges = calibrate(graph, folded.x.scaled(ranges.kept), horizon)
        left_out += ranges.left_out
    return Prepared(scored, graph, windows, ranges, folded, before, stuck, left_out, warnings)


def _windows(request: ModelRequest, graph: Graph) -> tuple[Windows, tuple[str, ...]]:
    if request.windows is not None:
        cut = request.windows(graph.forecast, request.horizon)
        return replace(cut, facts=(*cut.facts, *request.findings)), (*cut.warnings, *request.doubts)
    system = graph_system(graph)
    held_out = zero_data_seeds(system, LEAST_WINDOWS, request.horizon, request.seed + 2)
    selection = zero_data_seeds(system, LEAST_WINDOWS, request.horizon, request.seed + 3)
    return Windows(zero_data_windows(graph, request), held_out, selection=selection), ()
