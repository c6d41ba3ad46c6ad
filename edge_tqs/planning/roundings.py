"""The ways that a weight may be rounded, and the codes that each gives.

"nearest" rounds to the nearest code; "corrected" too, and gives the layer's bias what the rounding takes from its mean
output. The others compensate errors (operators/arithmetic/compensated.py) over the inputs that the weight reads in
rollouts of the float graph (passes/moments.py): "rollout" over all of them, "start" over the first steps, near the
windows, "both" with equal shares; the number is the damping. These correct the bias too. A bias that is no weight's own
is left alone, and its weight then rounded for the whole second moments, not for those about the mean.

With one scale for a whole weight its rows are fitted together, and nothing else is different.

A rounding is a draw: of two good ones either may suit a closed loop better, and only rolling it out says which
(planning/refine.py).
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from edge_tqs.errors import ModelError, UsageError
from edge_tqs.graph.graph import Array, Graph, Tensor
from edge_tqs.operators.arithmetic.compensated import compensated
from edge_tqs.operators.arithmetic.int8 import quantize_weight
from edge_tqs.passes.moments import InputMoments, input_moments, steps_seen
from edge_tqs.passes.output_bias import output_bias
from edge_tqs.planning.file import CORRECTED, NEAREST, Origin, Plan, Rounding

#: Windows that the moments are of. With 12 a compensated rounding lost to nearest on some models.
WINDOWS = 48


@dataclass(frozen=True, eq=False)
class Rounded:
    """A weight tensor in codes: (M, ...) int8, scale (M,) float32, or (1,) for all rows. shift: (M,), what its own bias
    is given, or None."""

    codes: Array
    scale: Array
    shift: Array | None = None

    @property
    def values(self) -> Array:
        """float32, as ``codes``."""
        wide = self.scale.reshape(-1, *[1] * (self.codes.ndim - 1))
        made: Array = self.codes.astype(np.float32) * wide
        return made


class Roundings:
    """The roundings of one float graph.

    windows: (N, W, F) or longer, as a rollout of ``origin.horizon`` steps takes them, in the graph's units; called once
    they are needed.
    output_units: what a value of the output's bias is in the units of a plan, (outputs,) or one for all. biases: those
    that may change; None for all.
    """

    def __init__(
        self,
        graph: Graph,
        windows: Callable[[], Array],
        origin: Origin,
        output_units: Array | float = 1.0,
        biases: Collection[str] | None = None,
    ) -> None:
        self.origin = origin
        self._graph, self._windows, self._output_units = graph, windows, output_units
        own = _own_biases(graph)
        self._own = {name: bias for name, bias in own.items() if biases is None or bias in biases}
        self._known: dict[tuple[str, Rounding], dict[str, Rounded]] = {}

    def codes(self, source: str, rounding: Rounding) -> Mapping[str, Rounded]:
        """The tensors of a weight, by name."""
        key = source, rounding
        if key not in self._known:
            self._known[key] = {
                tensor.name: self._rounded(tensor, rounding) for tensor in self._graph.weights()[source]
            }
        return self._known[key]

    def values(self, source: str, rounding: Rounding) -> dict[str, Array]:
        """The same as real numbers, with the biases that change with them."""
        made = {}
        for name, rounded in self.codes(source, rounding).items():
            made[name] = rounded.values
            if rounded.shift is not None:
                bias = self._graph.tensors[self._own[name]]
                units = self._output_units if bias.name == output_bias(self._graph) else 1.0
                shift = rounded.shift * np.resize(units, rounded.shift.shape)
                made[bias.name] = (_data(bias) + shift).astype(np.float32)
        return made

    def digest(self, source: str, rounding: Rounding) -> str:
        """What tells other codes from these: 16 hexadecimal digits."""
        found = hashlib.sha256()
        for rounded in self.codes(source, rounding).values():
            found.update(rounded.codes.tobytes() + rounded.scale.astype("<f4").tobytes())
        return found.hexdigest()[:16]

    def signed(self, plan: Plan) -> Plan:
        """``plan`` with what tells its codes from others, and what they follow from.

        Raises UsageError where it says of a weight already that its codes are others.
        """
        tensors = []
        for tensor in plan.tensors:
            made = "" if tensor.rounded.usual else self.digest(tensor.name, tensor.rounded)
            if tensor.codes not in ("", made):
                raise UsageError(
                    f"The codes of {tensor.name}, rounded as the plan says ({tensor.rounding}), are not those that it "
                    f"was made with: {made or 'nearest'}, not {tensor.codes}. The model is another one, or the data",
                    hint="Build with the model and the data that the plan was made with, or plan again. To take the "
                    "codes that come now, set the plan's evidence to null.",
                )
            tensors.append(replace(tensor, codes=made))
        compensates = any(tensor.codes for tensor in tensors)
        return replace(plan, tensors=tuple(tensors), origin=self.origin if compensates else None)

    def rounded(self, roundings: Mapping[str, Rounding]) -> dict[str, Rounded]:
        """By tensor, the codes of those weights that are not rounded to nearest with a scale for each channel."""
        found: dict[str, Rounded] = {}
        for source, rounding in roundings.items():
            if not rounding.usual:
                found |= self.codes(source, rounding)
        return found

    def _rounded(self, tensor: Tensor, rounding: Rounding) -> Rounded:
        data, (width, clip, recipe, _) = _data(tensor), rounding
        rows = data.reshape(1, -1) if rounding.one_scale else data.reshape(len(data), -1)
        codes, scale = quantize_weight(rows, width, clip=clip)
        codes = codes.reshape(data.shape)
        known = self._moments(tensor.name, recipe)
        if known is None:
            return Rounded(codes, scale)
        mean, second = known
        grouped, owned = data.reshape(len(mean), -1, mean.shape[1]), tensor.name in self._own
        if recipe != CORRECTED:
            about = mean[:, :, None] * mean[:, None, :] if owned else 0.0
            found, fitted = compensated(grouped, second - about, width, float(recipe.split()[1]), rounding.one_scale)
            dead = np.abs(rows).max(axis=1) < np.finfo(np.float32).tiny
            scale = np.where(dead, scale, fitted.reshape(-1)[: len(rows)]).astype(np.float32)
            codes = found.reshape(data.shape)
        if not owned:
            return Rounded(codes, scale)
        left = grouped.astype(np.float64) - Rounded(codes, scale).values.reshape(grouped.shape)
        return Rounded(codes, scale, (left * mean[:, None]).sum(axis=2).reshape(-1))

    def _moments(self, name: str, recipe: str) -> tuple[Array, Array] | None:
        """Mean (G, K) and second moments (G, K, K) that a recipe weighs errors with.

        None where it weighs none, or no rollout reached the weight.
        """
        if recipe == NEAREST or name not in self._inputs.all:
            return None
        every, which = self._inputs.all[name], recipe.split(maxsplit=1)[0]
        early = self._inputs.early.get(name, every)
        if which == "both":
            return (every.mean + early.mean) / 2, (every.second + early.second) / 2
        taken = early if which == "start" else every
        return taken.mean, taken.second

    @cached_property
    def _inputs(self) -> InputMoments:
        steps = steps_seen(self._graph, self.origin.horizon)
        return input_moments(self._graph, self._windows()[:, : self._graph.forecast.seed_length(steps)], steps)


def _own_biases(graph: Graph) -> dict[str, str]:
    """The bias of each weight that has one to itself: no other weight's operator reads it, and each of its own does."""
    found: dict[str, set[str | None]] = {}
    readers: Counter[str] = Counter()
    for op in graph.ops:
        readers.update(set(op.inputs))
        if op.signature.is_weighted:
            found.setdefault(op.inputs[1], set()).add(op.inputs[2] if len(op.inputs) == 3 else None)
    uses = Counter(op.inputs[1] for op in graph.ops if op.signature.is_weighted)
    own = {}
    for weight, biases in found.items():
        (bias,) = biases if len(biases) == 1 else (None,)
        if bias is not None and readers[bias] == uses[weight] and graph.tensors[bias].data is not None:
            own[weight] = bias
    return own


def _data(tensor: Tensor) -> Array:
    if tensor.data is None:
        raise ModelError(f"{tensor.name} is not a constant")
    return tensor.data
