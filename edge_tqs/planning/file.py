"""A plan and its file: how every weight is rounded, to how many bits, and how that was chosen.

The file is JSON that a hand may edit: change a ``width`` or a ``clip`` and build it. ``plan.recost`` renews all that
follows from them, and drops what was measured of other widths.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Annotated, Literal, NamedTuple

from edge_tqs import strict
from edge_tqs.errors import UsageError
from edge_tqs.strict import FILLED, Rule, at_least, one_of

#: Width of the noise that TQS is measured with.
REFERENCE_WIDTH = 6
#: Widths that a weight can be built at.
WIDTHS = (8, 4)
#: Version of the plan file.
FORMAT = 1
#: Who chose the widths, and from what the divergence was predicted.
METHODS = ("a-priori", "refined", "uniform")
PREDICTORS = ("tqs", "gram")

#: Ways to round (planning/roundings.py). Of the compensated ones the first is that which widths are chosen with.
NEAREST, CORRECTED = "nearest", "corrected"
COMPENSATED = ("rollout 0.01", "both 0.01", "rollout 0.1", "start 0.01", "both 0.1", "rollout 1", "both 1")
RECIPES = (NEAREST, CORRECTED, *COMPENSATED)
#: What a scale of a weight is for: each output channel has one, or the whole weight.
CHANNEL, TENSOR = SCALES = ("channel", "tensor")
#: Where the windows come from that a compensated rounding is of: noise, or the training part of a series.
SOURCES = ("zero-data", "data")

AGAIN = "Write it anew with `edge-tqs plan`."
_Count = Annotated[int, at_least(0)]
_Figure = Annotated[float, at_least(0)]


class Rounding(NamedTuple):
    """How a weight is rounded. clip: of "nearest" and "corrected", as in a plan; else each row finds its own. scales:
    one of SCALES."""

    width: int
    clip: float = 1.0
    recipe: str = NEAREST
    scales: str = CHANNEL

    @property
    def one_scale(self) -> bool:
        return self.scales == TENSOR

    @property
    def usual(self) -> bool:
        """To nearest, with a scale for each channel: the codes follow from the weight, width and clip alone."""
        return self.recipe == NEAREST and not self.one_scale

    def __str__(self) -> str:
        scales = "/tensor" if self.one_scale else ""
        clip = "" if self.clip == 1 else f"*{self.clip:g}"
        recipe = "" if self.recipe == NEAREST else f"~{self.recipe}"
        return f"{self.width}{scales}{clip}{recipe}"


@dataclass(frozen=True)
class Origin:
    """What the codes of a plan follow from, beside the model and its recipes.

    windows: one of SOURCES, ``count`` of them, drawn with ``seed`` where they are noise, and rolled out for ``horizon``
    steps.
    """

    windows: Annotated[str, one_of(SOURCES)]
    count: Annotated[int, at_least(1)]
    horizon: Annotated[int, at_least(1)]
    seed: int


@dataclass(frozen=True)
class PlannedTensor:
    """One weight: ``name`` is its source, ``width`` in bits, ``bytes`` with per-channel metadata.

    ``tqs`` is None where the weight was never scored; then ``predicted_damage`` (squared model's units) is None too.
    ``clip`` in (0, 1]: the largest magnitude that a row can hold, over the largest that it has. ``rounding``: one of
    RECIPES. ``codes``: what tells the codes from others, where they are not those of rounding to nearest with a scale
    for each channel. ``scales``: one of SCALES.
    """

    name: str
    shape: tuple[_Count, ...]
    width: Annotated[int, one_of(WIDTHS)]
    bytes: _Count
    tqs: _Figure | None
    predicted_damage: _Figure | None
    clip: Annotated[float, Rule(lambda clip: 0 < clip <= 1, "a ratio above 0, at most 1")] = 1.0
    rounding: Annotated[str, one_of(RECIPES)] = NEAREST
    codes: str = ""
    scales: Annotated[str, one_of(SCALES)] = CHANNEL

    @property
    def rounded(self) -> Rounding:
        return Rounding(self.width, self.clip, self.rounding, self.scales)


@dataclass(frozen=True)
class ActivationRange:
    """Least and greatest value that the activation tensor ``name`` of the float graph has codes for."""

    name: str
    low: float
    high: float


@dataclass(frozen=True)
class PlannedActivations:
    """What activations are built with: the type of their codes, and their ranges; none: these are measured again.

    apart: whether y has a scale of its own though it is fed back. int16: of mixed ones, tensors of model.tflite with
    int16 codes, one of each set that shares a scale; none: they are chosen again.
    """

    codes: Literal["int8", "int16", "mixed"]
    ranges: tuple[ActivationRange, ...] = ()
    apart: bool = False
    int16: tuple[str, ...] = ()


@dataclass(frozen=True)
class Evidence:
    """How a plan was chosen, and what is known of it.

    method: one of METHODS. stages: parts of the refinement that were used (gram, clip, verify, bias_correction).
    predicted_rmse, measured_rmse: divergence from the float rollout with rounded weights and float activations, in the
    model's units; predicted by ``predicted_by`` (one of PREDICTORS), measured over ``seeds_count`` rollouts of
    ``horizon`` steps. None where it was not measured. assignment: the roundings that the figures are of.
    """

    method: Annotated[str, one_of(METHODS)]
    stages: tuple[str, ...]
    predicted_by: Annotated[str, one_of(PREDICTORS)]
    predicted_rmse: _Figure | None
    measured_rmse: _Figure | None
    seeds_count: _Count
    horizon: _Count
    assignment: str


@dataclass(frozen=True)
class Plan:
    """A width for every weight, in the model's order. ``budget_bytes`` is None where none was asked for.

    bias_correction: what is added to the bias of the output, one value a channel in the model's units; empty for none.
    origin: what the codes follow from; None where all weights are rounded to nearest. activations: those that it was
    chosen beside; None where nothing was said of them.
    """

    budget_bytes: _Count | None
    tensors: Annotated[tuple[PlannedTensor, ...], FILLED]
    bias_correction: tuple[float, ...] = ()
    evidence: Evidence | None = None
    origin: Origin | None = None
    activations: PlannedActivations | None = None

    @property
    def total_bytes(self) -> int:
        return sum(tensor.bytes for tensor in self.tensors)

    @property
    def predicted_damage(self) -> float:
        return math.fsum(tensor.predicted_damage or 0.0 for tensor in self.tensors)

    @property
    def predicted_rmse(self) -> float:
        """The divergence to expect: of the refinement where there was one, else of the scores."""
        known = self.evidence.predicted_rmse if self.evidence else None
        return self.predicted_damage**0.5 if known is None else known

    @property
    def measured_rmse(self) -> float | None:
        return self.evidence.measured_rmse if self.evidence else None

    @property
    def assignment(self) -> str:
        """Roundings as text, "8~both 1,4/tensor*0.9": equal for plans that round the weights alike."""
        return ",".join(str(tensor.rounded) for tensor in self.tensors)

    def widths(self) -> dict[str, int]:
        return {tensor.name: tensor.width for tensor in self.tensors}

    def roundings(self) -> dict[str, Rounding]:
        return {tensor.name: tensor.rounded for tensor in self.tensors}

    def clips(self) -> dict[str, float]:
        return {tensor.name: tensor.clip for tensor in self.tensors}

    def to_json(self) -> str:
        """The plan as a file. To change it by hand, change a ``width``: ``recost`` renews all that follows from it."""
        tensors = [
            {
                "name": tensor.name,
                "shape": list(tensor.shape),
                "width": tensor.width,
                **({"scales": tensor.scales} if tensor.scales != CHANNEL else {}),  # older readers know no scales
                "clip": tensor.clip,
                "rounding": tensor.rounding,
                "codes": tensor.codes,
                "bytes": tensor.bytes,
                "tqs": tensor.tqs,
                "predicted_damage": tensor.predicted_damage,
            }
            for tensor in self.tensors
        ]
        body = {
            "format": FORMAT,
            "budget_bytes": self.budget_bytes,
            "tensors": tensors,
            "bias_correction": list(self.bias_correction),
            "evidence": None if self.evidence is None else asdict(self.evidence),
            "origin": None if self.origin is None else asdict(self.origin),
            "activations": None if self.activations is None else asdict(self.activations),
        }
        return json.dumps(body, indent=2, allow_nan=False) + "\n"

    @staticmethod
    def from_json(text: str, where: str = "the plan") -> Plan:
        """Read what ``to_json`` wrote; ``scales``, ``clip``, ``rounding``, ``codes``, ``bias_correction``,
        ``evidence``, ``origin`` and ``activations`` may be left out: a plan without them rounds to nearest.

        Raises UsageError with the place of the first thing that is wrong.
        """
        body = strict.parse_json(text, where, "Write one with `edge-tqs plan --out`.")
        strict.require_format(body, FORMAT, where, AGAIN)
        values = {key: item for key, item in body.items() if key != "format"} if isinstance(body, dict) else body
        plan = strict.read(Plan, values, where, AGAIN)
        names = [tensor.name for tensor in plan.tensors]
        for name in names:
            if names.count(name) > 1:
                raise UsageError(f"{where}: {name} is listed twice", hint="Remove one of the two.")
        for item in plan.activations.ranges if plan.activations else ():
            if not item.low <= item.high:
                raise UsageError(f"{where}: the range of {item.name!r} ends before it begins", hint=AGAIN)
        return replace(plan, tensors=tuple(map(_renewed, plan.tensors)))


def predicted_damage(tqs: float, width: int) -> float:
    """Omega: the damage that ``width`` bits are expected to do to a weight of score ``tqs``, squared model's units."""
    return float(tqs * ((2 ** (REFERENCE_WIDTH - 1) - 1) / (2 ** (width - 1) - 1)) ** 2)


def listed(widths: Sequence[int]) -> str:
    """ "8 bits or 4 bits", for hints."""
    return " or ".join(f"{width} bits" for width in widths)


def _renewed(tensor: PlannedTensor) -> PlannedTensor:
    """With the damage of the width that a hand may have changed."""
    return replace(tensor, predicted_damage=None if tensor.tqs is None else predicted_damage(tensor.tqs, tensor.width))
