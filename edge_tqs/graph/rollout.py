"""Rollouts: the one place that says how a forecaster is fed its own predictions, or what really followed.

The same loop drives the float graph, the integer reference, tflite-micro and LiteRT: each brings a ``StepFunction``.
The firmware and the Python agent implement the same semantics (docs/format.md specifies them).
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edge_tqs.graph.graph import Array, Forecast

#: One graph evaluation over a batch: (x, states) -> (y, next states). x is (N, W, F) for recurrence "none", else
#: (N, F); y is (N, steps * outputs); each state is (N, width). dtype is float32, int8 or int16 throughout.
StepFunction = Callable[[Array, tuple[Array, ...]], tuple[Array, tuple[Array, ...]]]


@dataclass(frozen=True, eq=False)
class Rollout:
    """N rollouts of T steps.

    source: who computed it ("keras", "float", "integer", "tflm", "litert", "device:<board>").
    outputs: (N, T, outputs), float32 in the model's units or codes. ticks: (N, T) uint32 per step, or None.
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
    step: StepFunction,
    forecast: Forecast,
    seeds: Array,
    horizon: int,
    zero_states: tuple[Array, ...],
    source: str,
    truth: Array | None = None,
    fed: Callable[[Array], Array] | None = None,
) -> Rollout:
    """Roll ``seeds`` (N, W, F; oldest sample first) forward by ``horizon`` steps.

    With exogenous inputs seeds are (N, W + T, F): the last T rows hold what is known ahead of the times that are
    predicted (their other channels are not read, nor is the very last row). Of a driven system they are the samples
    that followed, all of them: each step evaluates the graph on the latest ones. Inputs that are held stay as they are
    in the last sample.

    An evaluation predicts a block of ``forecast.steps`` samples, which come out one a step. Each becomes the next input
    sample, with the exogenous channels of its time beside it; when the block is used up the graph is evaluated again.
    ``zero_states`` are the states at reset, each (N, width). In "windowed" recurrence every evaluation starts again
    from them and feeds the W latest samples; without recurrence the graph sees the window. In "stateful" recurrence the
    first block is what the graph says after the W seed samples; then each sample that comes out is fed, one a step, and
    what the graph says meanwhile counts once the block is used up.

    With ``truth`` (N, T, outputs) the rollout is teacher-forced: each sample that is fed is the true one instead of the
    predicted one, and every step is the first of a new block, one step ahead of samples that are all true. It is as x
    holds it. ``fed`` makes what x holds of what y says, where the two have codes of their own (graph/rescale.py).

    Raises ValueError for seeds or truth of another shape.
    """
    count, window_size = seeds.shape[0], forecast.window
    if seeds.shape[1:] != (forecast.seed_length(horizon), forecast.channels):
        raise ValueError(f"seeds {seeds.shape}, not (N, {forecast.seed_length(horizon)}, {forecast.channels})")
    if truth is not None and truth.shape != (count, horizon, forecast.outputs):
        raise ValueError(f"truth {truth.shape}, not {(count, horizon, forecast.outputs)}")
    window, ahead = seeds[:, :window_size].copy(), seeds[:, window_size:]
    feeds = _feeder(forecast)
    states = zero_states
    outputs: list[Array] = []
    hashes: list[Array] = []
    for t in range(horizon):
        place = t % forecast.steps if truth is None else 0
        if forecast.recurrence == "stateful" and t > 0:
            y, states = step(window[:, -1], states)
        elif place == 0 and forecast.recurrence == "none":
            y, states = step(window, ())
        elif place == 0:
            states = zero_states
            for k in range(window_size):
                y, states = step(window[:, k], states)
        if place == 0:
            block = y.reshape(count, forecast.steps, forecast.outputs)
        outputs.append(block[:, place])
        hashes.append(hash_states(states) if states else np.zeros(count, np.uint32))
        following = truth[:, t] if truth is not None else fed(block[:, place]) if fed else block[:, place]
        window = np.concatenate([window[:, 1:], feeds(following, ahead[:, t : t + 1], window[:, -1:])], axis=1)
    return Rollout(source, np.stack(outputs, axis=1), state_hashes=np.stack(hashes, axis=1))


def true_samples(forecast: Forecast, seeds: Array, truth: Array) -> Array:
    """(N, W + T, F): the windows of ``seeds``, then what a rollout forced with ``truth`` (N, T, outputs) is fed.

    Where there are exogenous inputs, ``seeds`` are (N, W + T, F) as in `closed_loop`.
    """
    feeds, known = _feeder(forecast), seeds[:, forecast.window :]
    samples = [seeds[:, : forecast.window]]
    for t in range(truth.shape[1]):
        samples.append(feeds(truth[:, t], known[:, t : t + 1], samples[-1][:, -1:]))
    return np.concatenate(samples, axis=1)


def _feeder(forecast: Forecast) -> Callable[[Array, Array, Array], Array]:
    """(y (N, outputs), what is known at its time (N, 1, F), the sample before) -> the input sample (N, 1, F)."""
    exogenous, held = list(forecast.exogenous), list(forecast.held)
    sources = [0 if source is None else source for source in forecast.feedback]

    def feed(y: Array, known: Array, before: Array) -> Array:
        if forecast.driven:
            return known
        sample: Array = y[:, None, sources]
        if exogenous:
            sample[:, :, exogenous] = known[:, :, exogenous]
        if held:
            sample[:, :, held] = before[:, :, held]
        return sample

    return feed
