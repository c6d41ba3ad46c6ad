"""Closed-loop rollouts: the one place that says how a forecaster is fed its own predictions.

The same loop drives the float graph, the integer reference, tflite-micro and LiteRT: each brings a ``Step``. The
firmware and the Python agent implement the same semantics (docs/format.md specifies them).
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_tqs.graph import Forecast

Array = npt.NDArray[Any]

#: One graph evaluation over a batch: (x, states) -> (y, next states). x is (N, W, F) for recurrence "none", else
#: (N, F);
#: y is (N, F); each state is (N, width). dtype is float32 or int8 throughout.
Step = Callable[[Array, tuple[Array, ...]], tuple[Array, tuple[Array, ...]]]


@dataclass(frozen=True, eq=False)
class Rollout:
    """N closed-loop rollouts of T steps.

    source: who computed it ("keras", "float", "integer", "tflm", "litert", "device:<board>").
    outputs: (N, T, F), float32 in the model's units or int8 codes. ticks: (N, T) uint32 per step, or None.
    state_hashes: (N, T) uint32, CRC-32 of all state bytes after each step in graph order (0 without states), or None.
    """

    source: str
    outputs: Array
    ticks: npt.NDArray[np.uint32] | None = None
    state_hashes: npt.NDArray[np.uint32] | None = None


def hash_states(states: tuple[Array, ...]) -> npt.NDArray[np.uint32]:
    """CRC-32 per rollout over the concatenated state bytes; (N,) uint32. Zero where there is no state."""
    count = states[0].shape[0] if states else 0
    return np.array(
        [zlib.crc32(b"".join(np.ascontiguousarray(s[n]).tobytes() for s in states)) for n in range(count)], np.uint32
    )


def closed_loop(
    step: Step, forecast: Forecast, seeds: Array, horizon: int, zero_states: tuple[Array, ...], source: str
) -> Rollout:
    """Roll ``seeds`` (N, W, F; oldest sample first) forward by ``horizon`` steps.

    ``zero_states`` are the states at reset, each (N, width). In "stateful" recurrence the first forecast is what the
    graph says after the W seed samples, and each further step feeds one sample; in "windowed" recurrence every step
    starts again from ``zero_states`` and feeds the W latest samples; without recurrence the graph sees the window.
    """
    count = seeds.shape[0]
    feedback = list(forecast.feedback)
    window = seeds.copy()
    states = zero_states
    outputs: list[Array] = []
    hashes: list[Array] = []
    for t in range(horizon):
        if forecast.recurrence == "none":
            y, states = step(window, ())
        else:
            if forecast.recurrence == "windowed":
                states = zero_states
            first = forecast.window - 1 if forecast.recurrence == "stateful" and t > 0 else 0
            for k in range(first, forecast.window):
                y, states = step(window[:, k], states)
        outputs.append(y)
        hashes.append(hash_states(states) if states else np.zeros(count, np.uint32))
        window = np.concatenate([window[:, 1:], y[:, None, feedback]], axis=1)
    return Rollout(source, np.stack(outputs, axis=1), state_hashes=np.stack(hashes, axis=1))
