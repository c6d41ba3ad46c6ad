"""A system that takes and gives other units than the graph that it rolls out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from edge_tqs.graph.graph import Array, Scaling
from edge_tqs.system.system import Rollouts, System


def in_model_units(system: System, x: Scaling, y: Scaling) -> System:
    """``system``, whose inputs and outputs are scaled by ``x`` and ``y``, as one in the units that these scale from.

    So a plan says the same of it, its divergence and bias correction among others; the weights are the scaled ones.
    """
    bias, size = system.output_bias, np.array(y.std)
    sizes = None if bias is None else np.resize(size, bias.data.shape)  # the same in each sample of a block

    def back(outputs: Array) -> Array:
        made: Array = (outputs.astype(np.float64) * size + y.mean).astype(np.float32)
        return made

    def trace(horizon: int, count: int) -> Rollouts:
        inner = system.trace(horizon, count)

        def rollouts(changed: Mapping[str, Array], seeds: Array) -> Array:
            if bias is not None and bias.name in changed:
                shifted = bias.data + (changed[bias.name] - bias.data) / sizes
                changed = {**changed, bias.name: shifted.astype(np.float32)}
            return back(inner(changed, x.scaled(seeds)))

        return rollouts

    return replace(system, trace=trace, roll=lambda seeds, horizon: back(system.roll(x.scaled(seeds), horizon)))
