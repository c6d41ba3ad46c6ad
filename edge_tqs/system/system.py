"""A forecaster as a discrete-time dynamical system whose weights can be replaced: what scoring and planning see.

    z[t+1] = Phi(z[t], x[t])

z is the window (and states) that the loop carries, x what is known from outside. Nothing else is asked of a model, so a
float Graph, any Keras model and a black box behind LiteRT are scored and planned by the same code.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from edge_tqs.graph.graph import Array
from edge_tqs.system.reading import Reading, exogenous

#: (changed parts by Part.name, seeds) -> outputs (N, T, outputs) float32. Parts left out are the model's own.
Rollouts = Callable[[Mapping[str, Array], Array], Array]


@dataclass(frozen=True, eq=False)
class Part:
    """One constant tensor of a weight.

    name: what Rollouts know it by. data: float32, in the layout that the model has it. channel_axes: the axes along
    which each index, or combination of them, has a scale of its own; all others are summed over. Empty: one scale.
    """

    name: str
    data: Array
    channel_axes: tuple[int, ...]

    @property
    def channels(self) -> int:
        return math.prod(self.data.shape[axis] for axis in self.channel_axes)

    def rows(self) -> Array:
        """The values as (channels, elements a channel)."""
        return np.moveaxis(self.data, self.channel_axes, range(len(self.channel_axes))).reshape(self.channels, -1)

    def with_rows(self, rows: Array) -> Array:
        """``rows`` (channels, elements a channel) in the layout of ``data``."""
        front = range(len(self.channel_axes))
        moved = np.moveaxis(self.data, self.channel_axes, front).shape
        return np.ascontiguousarray(np.moveaxis(rows.reshape(moved), front, self.channel_axes))


@dataclass(frozen=True, eq=False)
class System:
    """A forecaster that can be rolled out with other weights.

    window: samples that it looks at (W). channels: values in an input sample (F).
    reading: what is made of the values that an evaluation gives: how many samples they are, which are fed back one by
    one before the next evaluation (rollout.closed_loop), and to which inputs.
    weights: the quantizable weights by source, in the model's order; the unit that is scored and planned. output_bias:
    what is added to the forecast itself, or None. trace: (horizon, count) -> fast Rollouts of just that many steps and
    seeds. roll: (seeds, horizon) -> outputs (N, T, outputs) of the model as it is, for any N. whole: (channel, N) of
    each channel that holds one of N whole numbers, by which rows are looked up; whole_values: these by channel, (N,),
    in the units of the seeds. stateful: what it says depends on all samples of a rollout, not only on its window.
    constants: names of other tensors that Rollouts can change, such as biases. newest: (channel, N) of each channel
    whose newest N samples alone are read, where the model is no graph, which says it itself.

    Seeds are float32 in the model's normalised units, oldest sample first: (N, W, F), or with exogenous inputs
    (N, W + T, F), whose last T rows hold what is known ahead (their fed-back channels are not read).
    """

    name: str
    window: int
    channels: int
    reading: Reading
    weights: Mapping[str, tuple[Part, ...]]
    output_bias: Part | None
    trace: Callable[[int, int], Rollouts]
    roll: Callable[[Array, int], Array]
    whole: tuple[tuple[int, int], ...] = ()
    whole_values: Mapping[int, Array] = field(default_factory=dict)
    stateful: bool = False
    constants: tuple[str, ...] = ()
    newest: tuple[tuple[int, int], ...] = ()

    @property
    def outputs(self) -> int:
        """Values that a step predicts."""
        return self.reading.outputs

    @property
    def steps(self) -> int:
        """Samples that an evaluation predicts."""
        return self.reading.steps

    @property
    def feedback(self) -> tuple[int | None, ...]:
        """For each input channel the output channel that becomes it, None where none does."""
        return self.reading.feedback

    @property
    def driven(self) -> bool:
        """Whether nothing is fed back: then seeds hold all samples of a rollout."""
        return self.reading.driven

    @property
    def exogenous(self) -> tuple[int, ...]:
        """The input channels whose values come with the rollout."""
        return exogenous(self.reading)

    def seed_length(self, horizon: int) -> int:
        """Rows of a seed for rollouts of ``horizon`` steps."""
        return self.window + (horizon if self.exogenous else 0)

    def shape(self, source: str) -> tuple[int, ...]:
        """The shape of a weight as Keras has it, output channels last."""
        parts = self.weights[source]
        first = parts[0]
        if first.channel_axes != (0,):
            return first.data.shape
        return (*first.data.shape[1:], sum(part.channels for part in parts))

    def size(self, source: str) -> int:
        """Values in a weight."""
        return sum(part.data.size for part in self.weights[source])
