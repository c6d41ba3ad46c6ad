"""The third step: a width for each weight."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from edge_tqs.boards.board import Board
from edge_tqs.building.choose import Choice, Chooser, PlanRequest
from edge_tqs.building.flash_room import code_room
from edge_tqs.building.opened import Model, scaled_graph
from edge_tqs.building.scored import ScoredModel, Source, scored_model, zero_data_windows
from edge_tqs.errors import UsageError
from edge_tqs.graph.graph import Array, Graph, same_units
from edge_tqs.planning.file import Origin
from edge_tqs.planning.plan import Plan
from edge_tqs.planning.roundings import WINDOWS, Roundings
from edge_tqs.progress import Progress
from edge_tqs.quantization.calibration import calibrate
from edge_tqs.quantization.channel_scales import Folded, may_fold_inputs, on_own_scales
from edge_tqs.quantization.quantize import Activations
from edge_tqs.system.of_graph import graph_system
from edge_tqs.system.other_units import in_model_units
from edge_tqs.system.seeds import noise

#: Of the origin that a plan names; None: of the usual one.
Rounder = Callable[[Origin | None], Roundings]


@dataclass(frozen=True, eq=False, repr=False)
class PlannedModel:
    """A model with the width of each weight. warnings: what the reader should know."""

    scored: ScoredModel
    choice: Choice
    warnings: tuple[str, ...]

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

    board: whose activations and flash count. Raises UsageError, among others for a budget that cannot be had, and
    ModelError; ToolError where the firmware has to be measured and a compiler is missing.
    """
    scored = scored_model(source, progress)
    if board is not None:
        activations = scored.model.request.activations or board.activations
        scored = scored.with_activations(activations)
        if request.fit_flash:
            request = fitted(request, scored.model.opened.need_graph()[1], board, activations, progress)
    found = chooser(scored, request, progress, _folded(scored, request))
    return PlannedModel(scored, found.choose(), tuple(found.warnings))


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


def chooser(
    scored: ScoredModel, request: PlanRequest, progress: Progress | None = None, folded: Folded | None = None
) -> Chooser:
    """What finds the plan that ``request`` asks for, and the frontier around it.

    folded: the graph with other columns of its weights, whose rounding is then measured; in the model's units still.
    """
    system = scored.model.opened.system
    rounder = None
    if request.rounding == "compensated":
        rounder = rounder_of(scored.model, folded)
    if folded is not None and (rounder is not None or folded.x != same_units(system.channels)):
        system = in_model_units(graph_system(folded.graph), folded.x, folded.y)
    return Chooser(system, scored.sensitivity, scored.costs, request, progress, scored.seeds, rounder)


def fitted(
    request: PlanRequest, graph: Graph, board: Board, activations: Activations, progress: Progress
) -> PlanRequest:
    """``request``, with what the board's flash leaves for the codes of the weights where that is asked for."""
    if not request.fit_flash:
        return request
    progress("measuring the firmware", 0, 1)
    return replace(request, code_bytes=code_room(graph, board, activations))


def rounder_of(model: Model, folded: Folded | None) -> Rounder | None:
    """What compensates the weights of ``model``, in the units that ``folded`` gives it.

    None for a model whose inputs of layers cannot be seen: one that has no graph, or is rolled out by LiteRT.
    """
    opened, request = model.opened, model.request
    if opened.loaded is None:
        return None
    graph = scaled_graph(model)
    parts = [part for parts in opened.system.weights.values() for part in parts]
    if any(part.name not in graph.tensors or graph.tensors[part.name].shape != part.data.shape for part in parts):
        return None

    def roundings(origin: Origin | None) -> Roundings:
        source = "zero-data" if request.windows is None else "data"
        made = origin or Origin(source, WINDOWS, request.horizon, request.seed)
        cut = request.windows
        if made.windows == "data" and cut is None:
            raise UsageError(
                "The plan's codes follow from training windows, and there is no data",
                hint="Give the CSV that it was made with (--data), or plan again without data.",
            )

        def windows() -> Array:
            if made.windows == "data" and cut is not None:
                every = cut(graph.forecast, made.horizon).calibration
                places = np.linspace(0, len(every) - 1, min(made.count, len(every))).round().astype(int)
                found = every[places]
            else:
                found = noise(graph_system(graph), made.count, made.horizon, made.seed)
            return found if folded is None else folded.x.scaled(found)

        if folded is None:
            return Roundings(graph, windows, made)
        return Roundings(folded.graph, windows, made, np.array(folded.y.std))

    return roundings
