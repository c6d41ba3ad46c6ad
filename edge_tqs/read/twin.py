"""A model as the rollouts that its weights are planned with: where they are compensated, those of its float graph.

A .tflite file is opened and scored as a black box behind LiteRT, which takes other weights alone. Of its float graph
the inputs of each layer are known, and biases can be changed. It stands in for LiteRT once both were seen to forecast
the same in closed loop.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from edge_tqs.graph.graph import Graph
from edge_tqs.read.opening import Opened
from edge_tqs.system.of_graph import graph_system, interpreted_system
from edge_tqs.system.seeds import zero_data_seeds
from edge_tqs.system.system import System

#: Rollouts that are compared.
SEEDS = 8
#: Largest difference in them, over the spread of what the graph forecasts.
TOLERANCE = 1e-4


@dataclass(frozen=True, eq=False)
class Twin:
    """system: of the float graph; None where its weights are not to be compensated, for the reason ``doubt``, or where
    there is no graph. of: what rolls out the graph in other units."""

    system: System | None
    of: Callable[[Graph], System] = graph_system
    doubt: str = ""


@lru_cache(maxsize=1)  # of the model that is being built
def twin_of(opened: Opened, horizon: int, seed: int) -> Twin:
    """What plans the weights of ``opened``. LiteRT stays where rollouts over ``horizon`` steps, from seeds made without
    data from ``seed``, differ by more than TOLERANCE, or a weight of the file is not the graph's."""
    if opened.loaded is None:
        return Twin(None)
    box = opened.system
    if not opened.in_litert:
        return Twin(box)
    graph = opened.loaded.graph
    system = interpreted_system(graph)
    stay = "Its weights are rounded to the nearest codes."
    for source, parts in box.weights.items():
        theirs = {part.rows().astype("<f4").tobytes() for part in parts}
        if {part.rows().astype("<f4").tobytes() for part in system.weights.get(source, ())} != theirs:
            return Twin(None, interpreted_system, f"{source} is another constant in the float graph. {stay}")
    seeds = zero_data_seeds(system, SEEDS, horizon, seed)
    with np.errstate(over="ignore", invalid="ignore"):
        nominal = box.roll(seeds, horizon).astype(np.float64)
        spread = nominal.std(axis=(0, 1)).max()
        apart = float(np.abs(system.roll(seeds, horizon) - nominal).max() / max(spread, np.finfo(np.float32).tiny))
    if not apart <= TOLERANCE:
        return Twin(
            None,
            interpreted_system,
            f"Over {horizon} steps the float graph leaves what LiteRT forecasts by {apart:.2g} of the spread, where "
            f"{TOLERANCE:g} is the most. {stay}",
        )
    return Twin(system, interpreted_system)
