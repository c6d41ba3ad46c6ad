"""The choice of widths and codes by accuracy.

Without a word on bytes, all weights have 8 bits, and 4 only where the board's flash has no room for that: nobody asked
to save what is left over. Activations are int8 while that adds no more than the tolerance to float's error; else some
are int16 where that is enough, and all where it is not. They must have been measured to add clearly less, the board
must have RAM for them, and its runtimes run them. A tolerance that is stated asks for the smallest model within it, and
then 4 bits are taken where they save LEAST_SAVING. A budget, one width, or a plan are built as they are asked for, and
measured beside what would be chosen.
"""

from __future__ import annotations

from dataclasses import replace

from edge_tqs.boards.board import Board
from edge_tqs.building.choose import Chooser, PlanRequest
from edge_tqs.building.request import DEFAULT_ACTIVATIONS
from edge_tqs.building.selection.candidate import TOLERANCE, Candidate, Selection
from edge_tqs.building.selection.flash_room import fitted, with_scales
from edge_tqs.building.selection.gauge import Gauge
from edge_tqs.building.selection.prepared import Prepared
from edge_tqs.building.selection.room import fits, needs
from edge_tqs.building.selection.within_latency import within_latency
from edge_tqs.emit_c.dense_kernels import PORTABLE
from edge_tqs.errors import ModelError, UsageError
from edge_tqs.flatbuffer import model as tflite_model
from edge_tqs.flatbuffer.form import FOR_ALL, RUNTIMES, FileForm
from edge_tqs.planning import plan as planning
from edge_tqs.planning.plan import Plan
from edge_tqs.progress import Progress
from edge_tqs.quantization import support
from edge_tqs.quantization.quantize import AskedActivations, codes_beside

#: Part of the bytes that count which 4 bits must save.
LEAST_SAVING = 0.05
#: Part of what int8 activations add to the error that int16 ones must take away, if neither is within the tolerance.
LEAST_GAIN = 0.25
#: The runtimes that a board's bundle may meet; a microcontroller runs the C alone.
BUNDLE_RUNTIMES = ("litert", "tflite-runtime", "c")


def select(
    prepared: Prepared, request: PlanRequest, board: Board | None, progress: Progress, form: FileForm = FOR_ALL
) -> Selection:
    """What is built for ``board``, and its neighbours. form: the runtimes that are to run the file.

    Raises as `Chooser.plan` and `quantize`; ToolError where an image has to be measured and a compiler is missing.
    """
    search = _Search(prepared, request, board, progress, form)
    progress("choosing", 0, 1)
    if not request.free:
        found = search.asked()
    else:
        found = search.most_accurate() if request.tolerance is None else search.smallest_within(request.tolerance)
    if request.latency is None:
        return found
    return within_latency(found, request.latency, board, lambda: search.faster(found))


class _Search:
    def __init__(
        self, prepared: Prepared, request: PlanRequest, board: Board | None, progress: Progress, form: FileForm
    ) -> None:
        self._form = form
        self._prepared, self._board, self._progress = prepared, board, progress
        self._request = with_scales(request, board)
        self._gauge = Gauge.of(prepared)
        planned = request.given_plan.activations if request.given_plan else None
        said = prepared.scored.model.request.activations or (planned.codes if planned else None)
        said = said or (board.activations if board else None)
        self._allowed: tuple[AskedActivations, ...] = ("int8", "int16") if said is None else (said,)

    def asked(self) -> Selection:
        """The plan that was asked for, beside the activations that were, or int8; beyond the tolerance with what is
        more accurate."""
        activations = self._allowed[0] if len(self._allowed) == 1 else DEFAULT_ACTIVATIONS
        graph, board, request = self._prepared.graph, self._board, self._request
        if board is not None:
            request = fitted(request, graph, board, codes_beside(activations), self._progress)
        found = self._prepared.chooser(request, self._progress, activations)
        made = found.plan()
        chosen = self._need(activations, made, "")
        others: list[Candidate | None] = []
        planned = made.activations
        if planned is not None and planned.codes != activations:
            found.warnings.append(
                f"The plan was made beside {planned.codes} activations and is built with {activations} ones, as "
                "--activations or edge-tqs.toml says."
            )
        if chosen.error <= TOLERANCE:
            return self._made(chosen, others, self._asked_for(chosen), TOLERANCE, tuple(found.warnings))
        if request.bits != 8 and chosen.narrow:
            others.append(
                self._candidate(activations, self._widest(activations), f"{FREE} --activations {activations}")
            )
        if activations == "int8":
            wide = request.bits == 8 or not chosen.narrow
            plan = chosen.plan if wide else self._widest(activations)
            option = "--activations int16" if wide else f"{FREE} --activations int16"
            others.append(self._candidate("int16", plan, option))
        return self._made(chosen, others, self._asked_for(chosen), TOLERANCE, tuple(found.warnings))

    def most_accurate(self) -> Selection:
        """All weights wide, as far as the flash has room, and int8 activations unless int16 ones earn it."""
        first = self._allowed[0]
        chosen = self._in_flash(first)
        others: list[Candidate | None] = []
        why = ""
        if len(self._allowed) > 1:
            wider = self._candidate("int16", chosen.plan, "--activations int16")
            if wider is not None and not wider.fits_flash and not wider.refused:
                wider = self._in_flash("int16", "--activations int16")
            others.append(wider)
            if wider is not None and chosen.error > TOLERANCE and _earns(wider, chosen):
                known = self._board is not None or self._form.runtimes != RUNTIMES  # what runs it is
                able = known and self._may_mix()
                between = self._candidate("mixed", chosen.plan, "--activations mixed") if able else None
                taken = _nearer([item for item in (between, wider) if item is not None], chosen)
                others.append(between)
                if taken is not None:
                    why = f"{taken.activations} activations, as int8 ones add {_share(chosen.error)}"
                    found = self._prepared.found_wide() if taken is between else None
                    why += "" if found is None else f"; {found.words}"
                    others = [item for item in others if item is not taken]
                    others.insert(0, replace(chosen, option="--activations int8"))
                    chosen = replace(taken, option="")
        elif first == "mixed":
            why = self._asked_for(chosen)
        if chosen.narrow:
            others.append(self._candidate(chosen.activations, self._uniform(chosen.activations, 4), "--bits 4"))
        elif chosen.activations == first:
            others.append(self._mix(chosen))
        return self._made(chosen, others, why, TOLERANCE)

    def smallest_within(self, tolerance: float) -> Selection:
        """The smallest plan of the frontier that adds no more than ``tolerance``; else what adds least of all."""
        tried: list[Candidate] = []
        for activations in self._allowed:
            widest = self._need(activations, self._widest(activations), "no --tolerance")
            found = [widest]
            for plan in (*self._chooser(activations).frontier(), *filter(None, [self._uniform(activations, 4)])):
                if candidate := self._candidate(activations, plan, f"--budget {plan.total_bytes}"):
                    found.append(candidate)
            worth = [item for item in found if item is widest or item.bytes <= (1 - LEAST_SAVING) * widest.bytes]
            worth.sort(key=lambda item: item.bytes)
            tried += worth
            within = [item for item in worth if item.fits and item.error <= tolerance]
            if within:
                chosen = within[0]
                at = worth.index(chosen)
                near = [*worth[max(0, at - 1) : at], *worth[at + 1 : at + 2]]
                return self._made(replace(chosen, option=""), near, "the smallest within the tolerance", tolerance)
        chosen = min((item for item in tried if item.fits), key=_by_error, default=tried[0])
        return self._made(replace(chosen, option=""), [], "", tolerance)

    def faster(self, found: Selection) -> list[Candidate]:
        """What may be taken in place of a choice that is too slow; nothing where the widths were asked for."""
        if not self._request.free:
            return []
        narrow = self._candidate(self._allowed[0], self._uniform(self._allowed[0], 4), "--bits 4")
        return [*found.others, *filter(None, [narrow])]

    # --- candidates -------------------------------------------------------------------------------------------------

    def _in_flash(self, activations: AskedActivations, option: str = "") -> Candidate:
        """With all weights wide, or the most accurate mix that the flash has room for."""
        widest = self._need(activations, self._widest(activations), option)
        if widest.fits_flash or self._board is None:
            return widest
        request = replace(self._request, fit_flash=True)
        try:
            codes = codes_beside(activations)
            request = fitted(request, self._prepared.graph, self._board, codes, self._progress)
            plan = self._prepared.chooser(request, self._progress, activations).plan()
        except UsageError:
            return widest  # nothing fits: the build says so
        return self._need(activations, plan, option)

    def _mix(self, chosen: Candidate) -> Candidate | None:
        """Half of the bytes between all weights at 4 bits and at 8, where that is worth looking at."""
        costs = self._prepared.scored.with_activations(chosen.activations).costs
        pins = self._request.pins
        most = sum(max(options.values()) - min(options.values()) for name, options in costs.items() if name not in pins)
        if most < LEAST_SAVING * chosen.tflite:
            return None
        plan = self._chooser(chosen.activations).halfway()
        found = self._candidate(chosen.activations, plan, f"--budget {plan.budget_bytes}")
        return found if found is not None and found.bytes <= (1 - LEAST_SAVING) * chosen.bytes else None

    def _need(self, activations: AskedActivations, plan: Plan, option: str) -> Candidate:
        """Raises ModelError where it cannot be made, UsageError where a runtime that is asked for would not run it."""
        prepared, board = self._prepared, self._board
        if activations == "mixed" and not self._may_mix():
            raise UsageError(
                "tflite-runtime does not run mixed activations: its QUANTIZE makes no int16 codes of int8 ones",
                hint="Add --runtimes litert,c, or take --activations int8 or int16.",
            )
        core = PORTABLE if board is None else board.core
        plan = prepared.beside(plan, activations, core, self._progress)
        integer = prepared.integer(plan, activations, self._progress)
        given = {"source_hash": "", "plan": plan.widths(), "generator": ""}
        firmware = board is not None and board.flash is not None
        need = needs(integer, board) if board is not None and firmware else None
        flash, ram = (True, True) if board is None or need is None else fits(integer, board, need)
        wanted = self._form.runtimes if self._form.runtimes != RUNTIMES else ("c",) if firmware else BUNDLE_RUNTIMES
        runs = support.runtimes_of(integer)
        return Candidate(
            activations,
            plan,
            option,
            integer,
            self._gauge.error(integer),
            len(tflite_model.write(integer, given, self._form)),
            need,
            flash,
            ram,
            tuple(runtime for runtime in wanted if runtime not in runs),
        )

    def _candidate(self, activations: AskedActivations, plan: Plan | None, option: str) -> Candidate | None:
        """None where it cannot be made."""
        try:
            return None if plan is None else self._need(activations, plan, option)
        except ModelError:
            return None

    def _may_mix(self) -> bool:
        """Whether all that run the file can make int16 codes of int8 ones."""
        named = self._form.runtimes != RUNTIMES or (self._board is not None and not self._board.bare_metal)
        return not (named and "tflite-runtime" in self._form.runtimes)

    def _asked_for(self, chosen: Candidate) -> str:
        """Why it is as it is, where something was asked for."""
        said = "as it was asked for"
        found = self._prepared.found_wide() if chosen.activations == "mixed" else None
        return said if found is None else f"{said}; {found.words}"

    def _chooser(self, activations: AskedActivations) -> Chooser:
        request = self._request
        free = PlanRequest(
            pins=request.pins, refine=request.refine, rounding=request.rounding, one_scale=request.one_scale
        )
        return self._prepared.chooser(free, self._progress, activations)

    def _widest(self, activations: AskedActivations) -> Plan:
        return self._chooser(activations).widest()

    def _uniform(self, activations: AskedActivations, width: int) -> Plan | None:
        """None where a weight is pinned to another width, or cannot have it."""
        try:
            return None if self._request.pins else self._chooser(activations).uniform(width)
        except UsageError:
            return None

    def _made(
        self,
        chosen: Candidate,
        others: list[Candidate | None] | list[Candidate],
        why: str,
        tolerance: float,
        warnings: tuple[str, ...] = (),
    ) -> Selection:
        if chosen.activations == "int16":  # its plan may have been made beside int8 ones
            scored = self._prepared.scored.with_activations("int16")
            plan = planning.recost(chosen.plan, scored.costs, one_scale=lambda: scored.one_scale)
            chosen = replace(chosen, plan=plan)
        kept = tuple(item for item in others if item is not None and not item.same(chosen))
        gauge = self._gauge
        return Selection(
            chosen,
            kept,
            tolerance,
            why,
            not self._request.free,
            "float" if gauge.truth is None else "truth",
            len(gauge.seeds),
            warnings,
        )


#: The option that takes back a budget.
FREE = "--budget none"


def _nearer(found: list[Candidate], chosen: Candidate) -> Candidate | None:
    """The first that fits and keeps within the tolerance; else the most accurate that earns its bytes, or none."""
    able = [item for item in found if item.fits and _earns(item, chosen)]
    return next((item for item in able if item.error <= TOLERANCE), min(able, key=_by_error, default=None))


def _earns(wider: Candidate, chosen: Candidate) -> bool:
    return wider.error <= TOLERANCE or wider.error <= (1 - LEAST_GAIN) * chosen.error


def _by_error(item: Candidate) -> float:
    return item.error


def _share(error: float) -> str:
    return f"{error:+.1%}"
