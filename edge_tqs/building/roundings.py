"""The roundings of a model as it is built: over training windows where there is data, else over noise."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edge_tqs.building.opened import Model, scaled_graph
from edge_tqs.errors import UsageError
from edge_tqs.graph.graph import Array
from edge_tqs.planning.file import Origin
from edge_tqs.planning.roundings import WINDOWS, Roundings
from edge_tqs.quantization.channel_scales import Folded
from edge_tqs.system.of_graph import graph_system
from edge_tqs.system.seeds import noise

#: Of the origin that a plan names; None: of the usual one.
Rounder = Callable[[Origin | None], Roundings]


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
