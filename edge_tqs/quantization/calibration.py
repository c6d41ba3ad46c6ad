"""What values the activations of a float graph take in closed-loop rollouts.

A window from which the float model itself runs away says nothing: a range that holds what it runs to makes every code
coarse, and no forecast is worth keeping there. (etth1_tcn, weights and activations int8, MSE at 96 steps over that of
float on 24 test windows: 1.44 with ranges that hold all rollouts of 256 training windows, 1.06 without the 5 % that
leave the values in the data.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from edge_tqs.errors import ModelError
from edge_tqs.graph.graph import Array, Forecast, Graph
from edge_tqs.graph.rollout import StepFunction, closed_loop
from edge_tqs.operators import OPERATORS
from edge_tqs.passes import interpret
from edge_tqs.passes.moments import with_probes

Range = tuple[float, float]


#: Outputs beyond this many standard deviations, and beyond all that the windows hold, have run away.
RUNAWAY = 5.0


@dataclass(frozen=True, eq=False)
class ChannelRanges:
    """Least and greatest value of each channel of the input, (F,), with what is fed back to it; and of each output.

    x_deviation, y_deviation: standard deviations, of the windows and of the forecasts.
    """

    x_low: Array
    x_high: Array
    y_low: Array
    y_high: Array
    x_deviation: Array
    y_deviation: Array


@dataclass(frozen=True, eq=False)
class Ranges:
    """(least, greatest) value of every activation tensor, by tensor name; rollouts that were left out.

    kept: the windows of the others, (N, W, F) or longer; channels: what each channel does in them. None where no
    rollout was seen. by_window: by tensor name, (least, greatest) value in the rollout of each of them, (N,) each.
    apart: whether y has an int8 scale of its own though it is fed back: the loop then rescales it (graph/rescale.py).
    """

    bounds: Mapping[str, Range]
    left_out: int = 0
    kept: Array | None = None
    channels: ChannelRanges | None = None
    by_window: Mapping[str, tuple[Array, Array]] = field(default_factory=dict)
    apart: bool = False


def nominal_ranges(graph: Graph) -> Ranges:
    """Ranges of no rollout, for what depends on shapes and types alone: bytes, and the kernels that compute it.

    What a root is taken of is positive, as calibration would find it, and so is what is merely moved to it.
    """
    roots: set[str] = set()
    for op in reversed(graph.ops):
        if op.kind == "rsqrt" or (OPERATORS[op.kind].keeps and roots.intersection(op.outputs)):
            roots.update(op.inputs)
    activations = [name for name, tensor in graph.tensors.items() if tensor.data is None]
    return Ranges({name: (0.0 if name in roots else -1.0, 1.0) for name in activations})


def calibrate(graph: Graph, seeds: Array, horizon: int) -> Ranges:
    """The ranges of all activations over float rollouts of ``seeds`` (N, W, F float32), ``horizon`` steps each.

    Rollouts that run away are left out while others are left; a driven system cannot run away. Raises ModelError
    when one that counts leaves the finite numbers: no scale could hold it.
    """
    names = [name for name, tensor in graph.tensors.items() if tensor.data is None]
    probed = with_probes(graph, names)
    probed_step = interpret.float_step(probed)
    rollouts = len(seeds)
    zero_states = interpret.zero_states(probed, rollouts)
    count, idle = len(graph.states), zero_states[len(graph.states) :]
    low, high = np.full((len(names), rollouts), np.inf), np.full((len(names), rollouts), -np.inf)
    numbers = graph.forecast.whole_values()

    def step(x: Array, states: tuple[Array, ...]) -> tuple[Array, tuple[Array, ...]]:
        y, observed = probed_step(x, states + idle)
        for index, value in enumerate(observed[count:]):
            flat = value.reshape(len(value), -1)  # one row for all, where the value is the same for each
            low[index], high[index] = np.minimum(low[index], flat.min(1)), np.maximum(high[index], flat.max(1))
        return y, observed[:count]

    with np.errstate(over="ignore", invalid="ignore"):
        outputs = closed_loop(step, graph.forecast, seeds.astype(np.float32), horizon, zero_states[:count], "float")
        measured = [channel for channel in range(seeds.shape[-1]) if channel not in numbers]
        limit = max(RUNAWAY, float(np.abs(seeds[..., measured]).max(initial=0)))
        calm = np.abs(outputs.outputs).max(axis=(1, 2)) <= (np.inf if graph.forecast.driven else limit)
    kept = calm if calm.any() else np.ones(rollouts, bool)
    by_window = dict(zip(names, zip(low[:, kept], high[:, kept], strict=True), strict=True))
    bounds = {name: (float(least.min()), float(most.max())) for name, (least, most) in by_window.items()}
    for channel, values in numbers.items():
        bounds = _with_rows(probed, probed_step, names, bounds, _each_of(seeds[kept], channel, values), count)
    for name, (least, most) in bounds.items():
        if not np.isfinite(least + most):
            raise ModelError(
                f"{graph.name}: tensor {name} leaves the finite numbers within {horizon} closed-loop steps",
                hint="Fed its own forecasts, the float model diverges: try a shorter horizon, or train it on rollouts.",
            )
    channels = _by_channel(graph.forecast, seeds[kept], outputs.outputs[kept])
    return Ranges(bounds, int((~kept).sum()), seeds[kept], channels, by_window)


def _each_of(seeds: Array, channel: int, values: Array) -> Array:
    """As many windows as there are ``values``, one of them throughout ``channel``; else those of the seeds."""
    windows = np.resize(seeds, (len(values), *seeds.shape[1:])).astype(np.float32)
    windows[:, :, channel] = values[:, None]
    return windows


def _with_rows(
    probed: Graph,
    step: StepFunction,
    names: Sequence[str],
    bounds: Mapping[str, Range],
    windows: Array,
    count: int,
) -> dict[str, Range]:
    """``bounds`` with what one evaluation of each of ``windows`` makes of it: rows that no rollout looked up too."""
    made, whole = dict(bounds), probed.forecast.recurrence == "none"
    states = interpret.zero_states(probed, len(windows))
    idle = states[count:]
    width = probed.forecast.window
    for sample in [windows[:, :width]] if whole else windows[:, :width].swapaxes(0, 1):
        _, found = step(sample, states)
        states = (*found[:count], *idle)
        for name, value in zip(names, found[count:], strict=True):
            low, high = made[name]
            made[name] = min(low, float(value.min())), max(high, float(value.max()))
    return made


def _by_channel(forecast: Forecast, seeds: Array, outputs: Array) -> ChannelRanges:
    """Of windows, or windows and what followed, (N, L, F), and outputs (N, T, outputs)."""
    over = (0, 1)
    x_low, x_high = (f(seeds, axis=over).astype(np.float64) for f in (np.min, np.max))
    y_low, y_high = (f(outputs, axis=over).astype(np.float64) for f in (np.min, np.max))
    for channel, output in enumerate(forecast.feedback):
        if output is not None:
            x_low[channel] = min(x_low[channel], y_low[output])
            x_high[channel] = max(x_high[channel], y_high[output])
    x_low, x_high = forecast.reached(x_low, x_high)
    x_deviation, y_deviation = (values.astype(np.float64).std(axis=over) for values in (seeds, outputs))
    return ChannelRanges(x_low, x_high, y_low, y_high, x_deviation, y_deviation)
