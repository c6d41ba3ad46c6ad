"""What quantisation adds to the error of a model, measured on windows that the report does not show.

With data it is what is added to the mean square error against what followed, on windows of the training part, over the
error that the float model has on the held-out part: it knows the training part, and has less there. So float alone is
measured on windows of the report. Without data it is the mean square divergence from the float rollouts over their
variance.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from edge_tqs.building.evaluate import mse, point_outputs
from edge_tqs.building.sanity import distances
from edge_tqs.building.selection.prepared import Prepared
from edge_tqs.graph.graph import Array, Graph
from edge_tqs.passes.interpret import float_rollout
from edge_tqs.quantization.simulate import decode, encode, integer_rollout


@dataclass(frozen=True, eq=False)
class Gauge:
    """Rollouts of a float ``graph`` from ``seeds``, (N, W, F) or (N, W + T, F), that integer graphs are held against.

    truth: (N, T, outputs), what followed; None without data. float_error: the mean square error of float that is
    compared with; None for that on these seeds.
    """

    graph: Graph
    seeds: Array
    truth: Array | None
    horizon: int
    float_error: float | None = None

    @staticmethod
    def of(prepared: Prepared) -> Gauge:
        windows, graph, horizon = prepared.windows, prepared.graph, prepared.scored.model.request.horizon
        seeds = windows.calibration if windows.selection is None else windows.selection
        elsewhere = None
        if windows.truth is not None:
            points = point_outputs(graph.forecast)
            floats = float_rollout(graph, windows.evaluation, horizon).outputs
            elsewhere = mse(floats[..., points], windows.truth[..., points])
        return Gauge(graph, seeds, windows.selection_truth, horizon, elsewhere)

    @cached_property
    def floats(self) -> Array:
        """(N, T, outputs), model's units."""
        return float_rollout(self.graph, self.seeds, self.horizon).outputs

    def error(self, integer: Graph) -> float:
        """What ``integer`` adds to float's error, as a share; infinite where it is not finite."""
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            outputs = decode(integer, integer_rollout(integer, encode(integer, self.seeds), self.horizon).outputs)
            found = self._against_truth(outputs) if self.truth is not None else self._against_float(outputs)
        return found if np.isfinite(found) else float("inf")

    def _against_truth(self, outputs: Array) -> float:
        assert self.truth is not None
        points = point_outputs(self.graph.forecast)
        truth = self.truth[..., points]
        of_float = mse(self.floats[..., points], truth)
        added, scale = mse(outputs[..., points], truth) - of_float, self.float_error or of_float
        return added / scale if scale else (0.0 if added == 0 else float("inf"))

    def _against_float(self, outputs: Array) -> float:
        ratios = [item.ratio for item in distances(self.graph.forecast, outputs, self.floats)]
        return float(np.mean(np.square(ratios)))
