"""The truth that methods are compared with: divergence of closed-loop rollouts on held-out windows.

Divergence is the root mean square difference from the float rollout over windows, steps and channels, in standard
deviations; weights are rounded per output channel, activations stay float. A difference counts as MOST at most, so that
one rollout that runs away does not drown the others.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from edge_tqs.graph.graph import Array, Graph
from edge_tqs.operators.arithmetic.int8 import quantize_weight
from edge_tqs.planning.file import NEAREST, Rounding
from edge_tqs.planning.plan import Costs, Plan
from edge_tqs.planning.roundings import Roundings
from edge_tqs.quantization.sizes import weight_bytes
from edge_tqs.system.system import Part, System

#: Weights up to which every assignment of 4 and 8 bits is rolled out.
EXHAUSTIVE = 12
#: Random roundings that the expected damage is the mean of.
ROUNDINGS = 16
MOST = 30.0
#: A channel's scale (4) and zero point (8); of its bias, scale, zero point and value (16).
CHANNEL_BYTES = 28
#: Shares of the bytes between all-int4 and all-int8 that a plan may use.
SHARES = (10, 25, 50, 75)


def file_costs(graph: Graph) -> dict[str, dict[int, int]]:
    """Bytes of each weight in model.tflite at 8 and 4 bits, as they are written."""
    return weight_bytes(graph)


def costs(system: System) -> dict[str, dict[int, int]]:
    """The same of a model that no file is written of: its codes, and CHANNEL_BYTES a channel at both."""
    found = {}
    for source, parts in system.weights.items():
        metadata = CHANNEL_BYTES * sum(part.channels for part in parts)
        size = system.size(source)
        found[source] = {8: size + metadata, 4: -(-size // 2) + metadata}
    return found


def budgets(prices: Costs) -> dict[int, int]:
    """Bytes of each of SHARES, from the smallest plan to all-int8: an int4 that saves nothing is in no plan."""
    low, high = sum(min(options.values()) for options in prices.values()), sum(p[8] for p in prices.values())
    return {share: low + (high - low) * share // 100 for share in SHARES}


def rounded(system: System, source: str, width: int, clip: float = 1.0) -> dict[str, Array]:
    """The parts of a weight as ``width`` bits hold them, to nearest."""
    found = {}
    for part in system.weights[source]:
        codes, scale = quantize_weight(part.rows(), width, clip=clip)
        found[part.name] = part.with_rows(codes.astype(np.float32) * scale[:, None])
    return found


def randomly_rounded(part: Part, rng: np.random.Generator) -> Array:
    """``part`` on its int4 grid, each value up or down at random such that the mean is the value itself."""
    rows = part.rows()
    _, scale = quantize_weight(rows, 4)
    position = rows / scale[:, None]
    codes = np.clip(np.floor(position + rng.random(rows.shape)), -7, 7)
    return part.with_rows((codes * scale[:, None]).astype(np.float32))


@dataclass(frozen=True, eq=False)
class Coded:
    """The codes of compensated weights, as the tool makes them for a file; what they are worth is reckoned here."""

    graph: Graph
    roundings: Roundings

    def decoded(self, source: str, rounding: Rounding) -> dict[str, Array]:
        """The tensors of a weight, code times scale, and the biases that its rounding shifts."""
        found = {}
        for name, given in self.roundings.codes(source, rounding).items():
            steps = given.scale.astype(np.float64).reshape(-1, *[1] * (given.codes.ndim - 1))
            found[name] = (given.codes * steps).astype(np.float32)
            if given.shift is not None:
                (bias,) = {op.inputs[2] for op in self.graph.ops if len(op.inputs) == 3 and op.inputs[1] == name}
                data = self.graph.tensors[bias].data
                assert data is not None
                found[bias] = (data + given.shift).astype(np.float32)
        return found


class Judge:
    """Rolls a system out from fixed windows, (N, W, F) or with channels known ahead (N, W + T, F)."""

    def __init__(self, system: System, windows: Array, horizon: int) -> None:
        self._system, self._windows = system, windows
        self._rollout = system.trace(horizon, len(windows))
        self.nominal = self._rollout({}, windows).astype(np.float64)

    def damage(self, changed: Mapping[str, Array]) -> float:
        """Mean square divergence with these parts in place of the model's own."""
        difference = self._rollout(changed, self._windows).astype(np.float64) - self.nominal
        clipped = np.clip(np.nan_to_num(difference, nan=MOST, posinf=MOST, neginf=-MOST), -MOST, MOST)
        return float(np.mean(np.square(clipped)))

    def isolated(self, width: int) -> dict[str, float]:
        """Mean square divergence with each weight alone rounded to ``width`` bits, the others in float."""
        return {source: self.damage(rounded(self._system, source, width)) for source in self._system.weights}

    def expected(self) -> dict[str, float]:
        """As isolated(4), but the mean over ROUNDINGS random roundings to the int4 grid."""
        found = {}
        for index, (source, parts) in enumerate(self._system.weights.items()):
            draws = []
            for draw in range(ROUNDINGS):
                rng = np.random.default_rng([index, draw])
                draws.append(self.damage({part.name: randomly_rounded(part, rng) for part in parts}))
            found[source] = float(np.mean(draws))
        return found

    def plan(self, made: Plan, coded: Coded | None = None) -> float:
        """Divergence, RMSE, of a plan with the clip ratios and the bias correction that it has.

        coded: what holds the codes of those weights that are not rounded to nearest; decoded here.
        """
        changed: dict[str, Array] = {}
        for tensor in made.tensors:
            if tensor.rounding == NEAREST and not tensor.rounded.one_scale:
                changed |= rounded(self._system, tensor.name, tensor.width, tensor.clip)
            else:
                assert coded is not None
                changed |= coded.decoded(tensor.name, tensor.rounded)
        bias = self._system.output_bias
        if made.bias_correction and bias is not None:
            before = changed.get(bias.name, bias.data)
            changed[bias.name] = (before + np.asarray(made.bias_correction)).astype(np.float32)
        return float(np.sqrt(self.damage(changed)))

    def every(self, prices: Costs) -> list[tuple[int, float]]:
        """(bytes, divergence RMSE) of every assignment of 8 bits and, where they save bytes, 4."""
        both = {source: {width: rounded(self._system, source, width) for width in (8, 4)} for source in prices}
        found = []
        options = [(8, 4) if by_width[4] < by_width[8] else (8,) for by_width in prices.values()]
        for widths in itertools.product(*options):
            chosen = dict(zip(prices, widths, strict=True))
            changed: dict[str, Array] = {}
            for source, width in chosen.items():
                changed |= both[source][width]
            size = sum(prices[source][width] for source, width in chosen.items())
            found.append((size, float(np.sqrt(self.damage(changed)))))
        return found


def optimum(every: Iterable[tuple[int, float]], budget: int) -> float:
    """The least divergence of those that fit."""
    return min(divergence for size, divergence in every if size <= budget)
