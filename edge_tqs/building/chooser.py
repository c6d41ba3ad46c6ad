"""What finds plans of a scored model, and what compensates the rounding of its weights."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edge_tqs.building.choose import Chooser, PlanRequest
from edge_tqs.building.opened import Model, scaled_graph
from edge_tqs.building.scored import ScoredModel
from edge_tqs.errors import UsageError
from edge_tqs.graph.graph import Array, same_units
from edge_tqs.planning.file import Origin
from edge_tqs.planning.refine import SEEDS
from edge_tqs.planning.roundings import WINDOWS, Roundings
from edge_tqs.progress import Progress
from edge_tqs.quantization.channel_scales import Folded
from edge_tqs.system.of_graph import graph_system
from edge_tqs.system.other_units import in_model_units
from edge_tqs.system.seeds import noise, zero_data_seeds
from edge_tqs.system.system import System

#: Of the origin that a plan names; None: of the usual one.
Rounder = Callable[[Origin | None], Roundings]


def chooser(
    scored: ScoredModel,
    request: PlanRequest,
    progress: Progress | None = None,
    folded: Folded | None = None,
    rounder: Rounder | None = None,
) -> Chooser:
    """What finds the plan that ``request`` asks for, and the frontier around it.

    folded: the graph with other columns of its weights, whose rounding is then measured; in the model's units still.
    rounder: that of this model, where there is one already.
    """
    model = scored.model
    system, twin = model.opened.system, model.twin
    if request.rounding != "compensated":
        rounder = None
    elif rounder is None:
        rounder = rounder_of(model, folded)
    if rounder is not None and twin.system is not None:
        system = twin.system
    if folded is not None and (rounder is not None or folded.x != same_units(system.channels)):
        system = in_model_units(twin.of(folded.graph), folded.x, folded.y)
    seeds = scored.seeds if rounder is None or scored.seeds is not None else _seeds_of_both(scored, system)
    made = Chooser(
        system, scored.sensitivity, scored.costs, request, progress, seeds, rounder, lambda: scored.one_scale
    )
    if request.rounding == "compensated" and request.refine is not None and twin.doubt:
        made.warnings.append(twin.doubt)
    return made


def _seeds_of_both(scored: ScoredModel, system: System) -> Array | None:
    """Half zero-data, half training windows: what roundings over training windows are chosen by; None without data.

    Zero-data ones alone favour other roundings than real windows do; training windows alone, those that fit them best.
    """
    model, horizon = scored.model, scored.sensitivity.horizon
    if model.request.windows is None:
        return None
    every = model.request.windows(scaled_graph(model).forecast, horizon).calibration
    places = np.linspace(0, len(every) - 1, min(SEEDS // 2, len(every))).round().astype(int)
    zero_data = zero_data_seeds(system, SEEDS // 2, horizon, scored.sensitivity.seed)
    return np.concatenate([zero_data, every[places].astype(zero_data.dtype)])


def rounder_of(model: Model, folded: Folded | None) -> Rounder | None:
    """What compensates the weights of ``model``, in the units that ``folded`` gives it.

    None for a model whose inputs of layers cannot be seen: one without a graph, or whose graph is not what it computes.
    """
    request, system = model.request, model.twin.system
    if system is None:
        return None
    graph, biases = scaled_graph(model), system.constants

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
            return Roundings(graph, windows, made, biases=biases)
        return Roundings(folded.graph, windows, made, np.array(folded.y.std), biases)

    return roundings
