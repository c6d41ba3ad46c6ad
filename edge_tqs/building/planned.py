"""The third step: a width for each weight."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from edge_tqs.boards.board import Board
from edge_tqs.building.choose import Choice, PlanRequest
from edge_tqs.building.chooser import chooser
from edge_tqs.building.opened import scaled_graph
from edge_tqs.building.request import DEFAULT_ACTIVATIONS
from edge_tqs.building.scored import ScoredModel, Source, scored_model, zero_data_windows
from edge_tqs.building.selection.candidate import Selection
from edge_tqs.building.selection.flash_room import fitted, with_scales
from edge_tqs.building.selection.prepared import prepare
from edge_tqs.building.selection.room import tables_of
from edge_tqs.building.selection.search import select
from edge_tqs.planning.file import PlannedActivations
from edge_tqs.planning.plan import Plan
from edge_tqs.progress import Progress
from edge_tqs.quantization.calibration import calibrate
from edge_tqs.quantization.channel_scales import Folded, may_fold_inputs, on_own_scales
from edge_tqs.quantization.quantize import AskedActivations, codes_beside


@dataclass(frozen=True, eq=False, repr=False)
class PlannedModel:
    """A model with the width of each weight. warnings: what the reader should know. selection: why these, and beside
    which activations, where nothing but accuracy decided. tables: bytes of a microcontroller's flash beside the
    code, by the assignment of each plan; empty without such a board."""

    scored: ScoredModel
    choice: Choice
    warnings: tuple[str, ...]
    selection: Selection | None = None
    tables: Mapping[str, int] = field(default_factory=dict)

    def __repr__(self) -> str:
        wide = sum(tensor.width == 8 for tensor in self.plan.tensors)
        return f"<PlannedModel {self.scored.model.name}: {self.plan.total_bytes:,} bytes, {wide} weights int8>"

    @property
    def plan(self) -> Plan:
        return self.choice.plan

    @property
    def frontier(self) -> tuple[Plan, ...]:
        """Plans around the one that was chosen, from the smallest to the largest."""
        return self.choice.frontier

    @property
    def uniform(self) -> tuple[Plan, ...]:
        """All weights int4, and all int8, as far as they can be had."""
        return self.choice.uniform


def plan_model(source: Source, request: PlanRequest, progress: Progress, board: Board | None = None) -> PlannedModel:
    """Read, score and plan, as far as that is not done yet, and look at the frontier around the plan.

    board: whose activations, flash and RAM count. Where nothing says how wide the weights are, the plan is that of a
    build (building/selection); of a model that cannot be built it is half of the bytes between int4 and int8. Raises
    UsageError, among others for a budget that cannot be had, and ModelError; ToolError where the firmware has to be
    measured and a compiler is missing.
    """
    scored, request = scored_model(source, progress), with_scales(request, board)
    if request.free and scored.model.opened.loaded is not None:
        prepared = prepare(scored)
        selection = select(prepared, request, board, progress)
        scored = scored.with_activations(selection.chosen.activations)
        found = prepared.chooser(request, progress, selection.chosen.activations)
        choice = found.choose(selection.chosen.plan)
        tables = _tables(scored, choice, board, selection.chosen.activations)
        return PlannedModel(scored, choice, (*selection.warnings, *found.warnings), selection, tables)
    if board is not None:
        activations = scored.model.request.activations or board.activations or DEFAULT_ACTIVATIONS
        scored = scored.with_activations(activations)
        if request.fit_flash:
            graph, codes = scored.model.opened.need_graph()[1], codes_beside(activations)
            request = fitted(request, graph, board, codes, progress)
    found = chooser(scored, request, progress, _folded(scored, request))
    choice = found.choose()
    if said := scored.model.request.activations:
        choice = replace(choice, plan=replace(choice.plan, activations=PlannedActivations(said)))
    tables = _tables(scored, choice, board, scored.model.request.activations or DEFAULT_ACTIVATIONS)
    return PlannedModel(scored, choice, tuple(found.warnings), tables=tables)


def _tables(scored: ScoredModel, choice: Choice, board: Board | None, activations: AskedActivations) -> dict[str, int]:
    loaded = scored.model.opened.loaded
    if board is None or board.flash is None or loaded is None:
        return {}
    return tables_of(loaded.graph, (choice.plan, *choice.frontier, *choice.uniform), board, codes_beside(activations))


def _folded(scored: ScoredModel, asked: PlanRequest) -> Folded | None:
    """How a build will fold its channels' ranges; None where it leaves alone what the plan is of.

    Rounding to nearest sees the columns of weights alone, and without data they are not folded.
    """
    request, loaded = scored.model.request, scored.model.opened.loaded
    compensates = asked.rounding == "compensated" and asked.refine is not None
    if loaded is None or (request.windows is None and not compensates):
        return None
    graph = scaled_graph(scored.model)
    if request.windows is None:
        windows = zero_data_windows(graph, request)
    else:
        windows = request.windows(graph.forecast, request.horizon).calibration
        if not compensates and not may_fold_inputs(graph, windows):
            return None
    return on_own_scales(graph, calibrate(graph, windows, request.horizon))[0]
