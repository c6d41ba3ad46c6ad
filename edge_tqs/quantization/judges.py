"""Windows that judge quantisations of a model: how far each rollout of them is from float."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edge_tqs.graph.graph import Array, Forecast, Graph
from edge_tqs.graph.rollout import true_samples
from edge_tqs.passes.interpret import float_rollout

#: Windows that judge, at least and at most.
LEAST_JUDGES, MOST_JUDGES = 16, 512
#: Steps that many windows are rolled out, at most, where a block is no longer.
NEAR = 4
#: The part by which the error must fall.
LEAST_GAIN = 0.05
#: About the nanoseconds that a value of an activation, and a product of a dense layer, take in a rounded rollout.
VALUE_NS, PRODUCT_NS = 8.0, 0.1

Errors = npt.NDArray[np.float64]


class Judges:
    """Windows and how far they are rolled out, with what float says.

    rows: evaluations of one window that there is time for. deep: over the horizon, as far as they reach, rather than
    of many windows, NEAR steps each at most.
    """

    def __init__(self, graph: Graph, windows: Array, rows: float, horizon: int, *, deep: bool) -> None:
        forecast = graph.forecast
        if forecast.driven and forecast.recurrence != "stateful":
            self.horizon = 1  # what is said of a window does not depend on what was said before
            rest = range(0, windows.shape[1] - forecast.window, max(1, forecast.window // 8))
            windows = np.concatenate([windows[:, at : at + forecast.window + 1] for at in rest])
        else:
            least = LEAST_JUDGES if deep else MOST_JUDGES
            furthest = horizon if deep else min(horizon, max(NEAR, forecast.steps))
            fit = [t for t in range(1, furthest + 1) if _evaluations(forecast, t) * least <= rows]
            self.horizon = max(fit, default=1)
            if not deep:
                windows = _with_later(graph, windows, self.horizon, min(horizon, self.horizon + forecast.window))
        fitting = int(rows / _evaluations(forecast, self.horizon))
        count = min(len(windows), max(LEAST_JUDGES, min(MOST_JUDGES, fitting)))
        chosen = np.linspace(0, len(windows) - 1, count).round().astype(int)
        self.seeds = windows[chosen, : forecast.seed_length(self.horizon)].astype(np.float32)
        self._float = float_rollout(graph, self.seeds, self.horizon).outputs.astype(np.float64)
        deviation = self._float.reshape(-1, self._float.shape[-1]).std(axis=0)
        self.units = np.where(deviation > 0, deviation, deviation.max() or 1.0)

    def errors(self, outputs: Array) -> Errors:
        """RMSE of each window's rollout, (N,), in deviations of the outputs; outputs: (N, T, outputs)."""
        with np.errstate(over="ignore", invalid="ignore"):
            found: Errors = np.sqrt(np.square((outputs - self._float) / self.units).mean(axis=(1, 2)))
        return np.where(np.isnan(found), np.inf, found)


def _with_later(graph: Graph, windows: Array, horizon: int, steps: int) -> Array:
    """Seeds of rollouts of ``horizon``: ``windows``, and those that the float model makes of them in ``steps``.

    There are no fewer of these than ``horizon``.
    """
    forecast = graph.forecast
    length = forecast.seed_length(steps)
    path = true_samples(forecast, windows[:, :length], float_rollout(graph, windows[:, :length], steps).outputs)
    seed = forecast.seed_length(horizon)
    return np.concatenate([path[:, at : at + seed] for at in range(0, path.shape[1] - seed + 1, max(1, steps // 8))])


def better(errors: Errors, before: Errors, sure: float) -> bool:
    """Whether windows are nearer to float by LEAST_GAIN in the mean, ``sure`` standard errors, and not less in square:
    few that are much worse do not pass for many that are a little better."""
    if not np.isfinite(errors).all():
        return False
    gain = before - errors
    error_of_it = gain.std(ddof=1) / np.sqrt(len(gain))
    enough = errors.mean() <= (1 - LEAST_GAIN) * before.mean() and gain.mean() >= sure * error_of_it
    return bool(enough and np.square(errors).mean() <= np.square(before).mean())


def cost(graph: Graph) -> float:
    """About the nanoseconds that one evaluation of one window takes."""
    made = sum(graph.tensors[name].size for op in graph.ops for name in op.outputs)
    rows = {op.outputs[0]: graph.tensors[op.outputs[0]].size for op in graph.ops if op.signature.is_weighted}
    products = sum(
        rows[op.outputs[0]] * graph.tensors[op.inputs[1]].size // graph.tensors[op.inputs[1]].shape[0]
        for op in graph.ops
        if op.signature.is_weighted
    )
    return VALUE_NS * made + PRODUCT_NS * products


def _evaluations(forecast: Forecast, steps: int) -> int:
    """Of the graph, for a rollout of ``steps``."""
    if forecast.recurrence == "stateful":
        return forecast.window + steps - 1
    return -(-steps // forecast.steps) * (forecast.window if forecast.recurrence == "windowed" else 1)
