"""Drift over a long run: whether its error, or the time of a step, grows with the horizon."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edge_tqs.graph.graph import Array

PARTS = 10
#: Steps: of a shorter run the curves say all, and the tenths would be of a few steps each.
SHORTEST_HORIZON = 100


@dataclass(frozen=True)
class Drift:
    """Of each tenth of the horizon, over its steps, the rollouts and the channels. Errors are in the model's units.

    rmse_vs_float, bias_vs_float: root mean square, and mean, of the board's less the float rollout's outputs.
    slope: of the least-squares line through the RMSEs, by step. rmse_vs_host: from the host's integer rollout, all 0 of
    a bit-exact run. ticks: median computing time of a step, in `Latency.unit`. None where a figure is not finite.
    """

    rmse_vs_float: tuple[float | None, ...]
    bias_vs_float: tuple[float | None, ...]
    slope: float | None
    rmse_vs_host: tuple[float | None, ...]
    ticks: tuple[float | None, ...]


def measure_drift(outputs: Array, floats: Array, host: Array, ticks: Array) -> Drift | None:
    """The drift of a board's ``outputs``, beside the ``floats`` and the ``host``'s, all (N, T, outputs) in the model's
    units, and of its ``ticks`` (N, T); None where T is below `SHORTEST_HORIZON`."""
    horizon = outputs.shape[1]
    if horizon < SHORTEST_HORIZON:
        return None
    error = outputs.astype(np.float64) - floats
    rmse = _rms_of_tenths(error)
    middles = [float(steps.mean()) for steps in np.array_split(np.arange(horizon), PARTS)]
    return Drift(
        rmse_vs_float=rmse,
        bias_vs_float=tuple(float(part.mean()) for part in np.array_split(error, PARTS, axis=1)),
        slope=float(np.polyfit(middles, rmse, 1)[0]) if np.isfinite(rmse).all() else None,
        rmse_vs_host=_rms_of_tenths(outputs.astype(np.float64) - host),
        ticks=tuple(float(np.median(part)) for part in np.array_split(ticks, PARTS, axis=1)),
    )


def _rms_of_tenths(error: Array) -> tuple[float, ...]:
    return tuple(float(np.sqrt(np.square(part).mean())) for part in np.array_split(error, PARTS, axis=1))
