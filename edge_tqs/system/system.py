"""A forecaster as a discrete-time dynamical system whose weights can be replaced: what scoring and planning see.

    z[t+1] = Phi(z[t], x[t])

z is the window (and states) that the loop carries, x what is known from outside. Nothing else is asked of a model, so a
float Graph, any Keras model and a black box behind LiteRT are scored and planned by the same code.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edge_tqs.errors import ModelError, UsageError
from edge_tqs.graph.graph import Array

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

    window: samples that it looks at (W). channels: values in an input sample (F). outputs: values that a step predicts.
    steps: samples that one evaluation predicts, which are fed back one by one before the next (rollout.closed_loop).
    feedback: for each input channel the output channel that becomes it, or None for an exogenous one, known ahead.
    weights: the quantizable weights by source, in the model's order; the unit that is scored and planned. output_bias:
    what is added to the forecast itself, or None. trace: (horizon, count) -> fast Rollouts of just that many steps and
    seeds. roll: (seeds, horizon) -> outputs (N, T, outputs) of the model as it is, for any N.

    Seeds are float32 in the model's normalised units, oldest sample first: (N, W, F), or with exogenous inputs
    (N, W + T, F), whose last T rows hold what is known ahead (their fed-back channels are not read).
    """

    name: str
    window: int
    channels: int
    outputs: int
    feedback: tuple[int | None, ...]
    weights: Mapping[str, tuple[Part, ...]]
    output_bias: Part | None
    trace: Callable[[int, int], Rollouts]
    roll: Callable[[Array, int], Array]
    steps: int = 1

    @property
    def exogenous(self) -> tuple[int, ...]:
        """The input channels that are known ahead."""
        return tuple(channel for channel, source in enumerate(self.feedback) if source is None)

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


def checked_feedback(
    name: str, feedback: Sequence[int | None] | None, channels: int, outputs: int
) -> tuple[int | None, ...]:
    """``feedback`` of the model ``name`` once it is well formed; output i becomes input i where it is not given.

    Without it, inputs beyond the last output are known ahead. Raises UsageError.
    """
    if feedback is None:
        return tuple(channel if channel < outputs else None for channel in range(channels))
    if len(feedback) != channels or any(source is not None and not 0 <= source < outputs for source in feedback):
        raise UsageError(
            f"{name}: {list(feedback)} does not say for each of {channels} inputs which of {outputs} outputs "
            "becomes it",
            hint="Give one output channel, or None for an input that is known ahead, for each input.",
        )
    if all(source is None for source in feedback):
        raise UsageError(f"{name}: no output is fed back", hint="Name at least one fed-back channel.")
    return tuple(feedback)


def read_block(
    shape: tuple[int, ...], window: int, channels: int, feedback: Sequence[int | None] | None, steps: int | None
) -> tuple[int, int]:
    """(steps, outputs) of a model (``window``, ``channels``) whose output has ``shape``, without the batch.

    ``shape`` is (outputs,), (steps, outputs), or flat (steps * outputs,), the oldest sample first. Flat values of one
    channel, or as ``steps`` says, are a block; other flat ones are a sample, unless ``feedback`` reads only a part of
    them that would fit several times. Raises ModelError where the values cannot be told apart.
    """
    if feedback is not None and len(feedback) != channels:
        feedback = None  # checked_feedback says what is wrong with it
    named = max((source + 1 for source in feedback or () if source is not None), default=0)
    if len(shape) == 2:
        if steps not in (None, shape[0]):
            raise ModelError(
                f"it predicts {shape[0]} samples at once, not {steps}", hint="Leave steps out of [forecast]."
            )
        if steps is None and shape[0] == window > 1:
            raise ModelError(
                f"it predicts {window} samples, as many as its window holds: they may follow the window, or be the "
                "window moved on by one sample",
                hint=f"If they follow it, say steps = {window} under [forecast] in edge-tqs.toml, or --steps; else end "
                "the model with its last sample.",
            )
        return shape[0], shape[1]
    if len(shape) != 1 or shape[0] < 1:
        raise ModelError(
            f"its output is {('batch', *shape)}, not one sample or a block of samples",
            hint="Let it predict (outputs,), or (steps, outputs): the oldest sample first.",
        )
    values = shape[0]
    if steps is not None:
        if values % steps:
            raise ModelError(
                f"it predicts {values} values, which are not {steps} samples", hint="Change steps in [forecast]."
            )
        return steps, values // steps
    if channels == 1 or (named == 1 and values > channels):
        return values, 1
    if values > channels or (named and values > named and values % named == 0):
        raise ModelError(
            f"it predicts {values} values from {channels} channels: it does not say how many samples they are",
            hint="If they are a block of samples, the oldest first, say how many with steps under [forecast] in "
            "edge-tqs.toml, or --steps (1 for one sample); or end the model with Reshape((steps, outputs)).",
        )
    return 1, values
