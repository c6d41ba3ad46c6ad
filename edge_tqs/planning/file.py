"""A plan and its file: a width and a clip ratio for every weight, and how they were chosen.

The file is JSON that a hand may edit: change a ``width`` or a ``clip`` and build it. ``plan.recost`` renews all that
follows from them, and drops what was measured of other widths.
"""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from edge_tqs.errors import UsageError

#: Width of the noise that TQS is measured with.
REFERENCE_WIDTH = 6
#: Widths that a weight can be built at.
WIDTHS = (8, 4)
#: Version of the plan file.
FORMAT = 1
#: Who chose the widths, and from what the divergence was predicted.
METHODS = ("a-priori", "refined", "uniform")
PREDICTORS = ("tqs", "gram")

AGAIN = "Write it anew with `edge-tqs plan`."


@dataclass(frozen=True)
class PlannedTensor:
    """One weight: ``name`` is its source, ``width`` in bits, ``bytes`` with per-channel metadata.

    ``tqs`` is None where the weight was never scored; then ``predicted_damage`` (squared model's units) is None too.
    ``clip`` in (0, 1]: the largest magnitude that a row can hold, over the largest that it has.
    """

    name: str
    shape: tuple[int, ...]
    width: int
    bytes: int
    tqs: float | None
    predicted_damage: float | None
    clip: float = 1.0


@dataclass(frozen=True)
class Evidence:
    """How a plan was chosen, and what is known of it.

    method: one of METHODS. stages: parts of the refinement that were used (gram, clip, verify, bias_correction).
    predicted_rmse, measured_rmse: divergence from the float rollout with rounded weights and float activations, in the
    model's units; predicted by ``predicted_by`` (one of PREDICTORS), measured over ``seeds_count`` rollouts of
    ``horizon`` steps. None where it was not measured. assignment: the widths and clips that the figures are of.
    """

    method: str
    stages: tuple[str, ...]
    predicted_by: str
    predicted_rmse: float | None
    measured_rmse: float | None
    seeds_count: int
    horizon: int
    assignment: str


@dataclass(frozen=True)
class Plan:
    """A width for every weight, in the model's order. ``budget_bytes`` is None where none was asked for.

    bias_correction: what is added to the bias of the output, one value a channel in the model's units; empty for none.
    """

    budget_bytes: int | None
    tensors: tuple[PlannedTensor, ...]
    bias_correction: tuple[float, ...] = ()
    evidence: Evidence | None = None

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
        """Widths and clips as text, "8,4*0.9": equal for plans that round the weights alike."""
        return ",".join(f"{t.width}" if t.clip == 1 else f"{t.width}*{t.clip:g}" for t in self.tensors)

    def widths(self) -> dict[str, int]:
        return {tensor.name: tensor.width for tensor in self.tensors}

    def clips(self) -> dict[str, float]:
        return {tensor.name: tensor.clip for tensor in self.tensors}

    def to_json(self) -> str:
        """The plan as a file. To change it by hand, change a ``width``: ``recost`` renews all that follows from it."""
        tensors = [
            {
                "name": tensor.name,
                "shape": list(tensor.shape),
                "width": tensor.width,
                "clip": tensor.clip,
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
        }
        return json.dumps(body, indent=2, allow_nan=False) + "\n"

    @staticmethod
    def from_json(text: str, where: str = "the plan") -> Plan:
        """Read what ``to_json`` wrote; ``clip``, ``bias_correction`` and ``evidence`` may be left out.

        Raises UsageError with the place of the first thing that is wrong.
        """
        try:
            body = json.loads(text)
        except ValueError as error:
            raise UsageError(f"{where} is not JSON: {error}", hint="Write one with `edge-tqs plan --out`.") from error
        _keys(where, body, ("format", "budget_bytes", "tensors"), ("bias_correction", "evidence"))
        if body["format"] != FORMAT:
            raise UsageError(f"{where}: format {body['format']!r} is not {FORMAT}", hint=AGAIN)
        if body["budget_bytes"] is not None:
            _number(f"{where}: budget_bytes", body["budget_bytes"], whole=True)
        if not isinstance(body["tensors"], list) or not body["tensors"]:
            raise UsageError(f"{where}: tensors is not a list of weights", hint=AGAIN)
        tensors = tuple(_tensor(f"{where}: tensors[{i}]", item) for i, item in enumerate(body["tensors"]))
        names = [tensor.name for tensor in tensors]
        for name in names:
            if names.count(name) > 1:
                raise UsageError(f"{where}: {name} is listed twice", hint="Remove one of the two.")
        correction = body.get("bias_correction", [])
        if not isinstance(correction, list) or not all(_is_number(value) for value in correction):
            raise UsageError(f"{where}: bias_correction is not a list of numbers", hint="Leave it out, or give [].")
        evidence = body.get("evidence")
        return Plan(
            body["budget_bytes"],
            tensors,
            tuple(map(float, correction)),
            None if evidence is None else _evidence(f"{where}: evidence", evidence),
        )


def predicted_damage(tqs: float, width: int) -> float:
    """Omega: the damage that ``width`` bits are expected to do to a weight of score ``tqs``, squared model's units."""
    return float(tqs * ((2 ** (REFERENCE_WIDTH - 1) - 1) / (2 ** (width - 1) - 1)) ** 2)


def listed(widths: Sequence[int]) -> str:
    """ "8 bits or 4 bits", for hints."""
    return " or ".join(f"{width} bits" for width in widths)


def _keys(where: str, value: Any, wanted: tuple[str, ...], optional: tuple[str, ...] = ()) -> None:
    if not isinstance(value, dict):
        raise UsageError(f"{where} is not a JSON object", hint=AGAIN)
    for key in value:
        if key not in (*wanted, *optional):
            near = difflib.get_close_matches(key, (*wanted, *optional), 1, 0.5)
            raise UsageError(
                f"{where}: unknown key {key!r}",
                hint=f"Did you mean {near[0]!r}?" if near else f"It takes {', '.join((*wanted, *optional))}.",
            )
    for key in wanted:
        if key not in value:
            raise UsageError(f"{where}: {key} is missing", hint=AGAIN)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _number(where: str, value: Any, *, whole: bool) -> None:
    if not _is_number(value) or value < 0 or (whole and not isinstance(value, int)):
        raise UsageError(f"{where} is {value!r}, not a {'whole ' if whole else ''}number of 0 or more", hint=AGAIN)


def _tensor(where: str, item: Any) -> PlannedTensor:
    _keys(where, item, ("name", "shape", "width", "bytes", "tqs", "predicted_damage"), ("clip",))
    if not isinstance(item["name"], str):
        raise UsageError(f"{where}: name is {item['name']!r}, not text", hint=AGAIN)
    where = f"{where} ({item['name']})"
    if item["width"] not in WIDTHS or isinstance(item["width"], bool):
        raise UsageError(f"{where}: width is {item['width']!r}", hint=f"Choose from {listed(WIDTHS)}.")
    clip = item.get("clip", 1.0)
    if not _is_number(clip) or not 0 < clip <= 1:
        raise UsageError(f"{where}: clip is {clip!r}", hint="Give a ratio above 0, at most 1; 1 clips nothing.")
    if not isinstance(item["shape"], list):
        raise UsageError(f"{where}: shape is not a list", hint=AGAIN)
    for size in item["shape"]:
        _number(f"{where}: shape", size, whole=True)
    _number(f"{where}: bytes", item["bytes"], whole=True)
    for key in ("tqs", "predicted_damage"):
        if item[key] is not None:
            _number(f"{where}: {key}", item[key], whole=False)
    tqs = None if item["tqs"] is None else float(item["tqs"])
    tensor = PlannedTensor(item["name"], tuple(item["shape"]), item["width"], item["bytes"], tqs, None, float(clip))
    return tensor if tqs is None else replace(tensor, predicted_damage=predicted_damage(tqs, tensor.width))


def _evidence(where: str, item: Any) -> Evidence:
    _keys(where, item, tuple(Evidence.__dataclass_fields__))
    for key, known in (("method", METHODS), ("predicted_by", PREDICTORS)):
        if item[key] not in known:
            raise UsageError(f"{where}: {key} is {item[key]!r}", hint=f"It is one of {', '.join(known)}.")
    for key in ("predicted_rmse", "measured_rmse"):
        if item[key] is not None:
            _number(f"{where}: {key}", item[key], whole=False)
    for key in ("seeds_count", "horizon"):
        _number(f"{where}: {key}", item[key], whole=True)
    if not isinstance(item["stages"], list) or not all(isinstance(stage, str) for stage in item["stages"]):
        raise UsageError(f"{where}: stages is not a list of names", hint=AGAIN)
    if not isinstance(item["assignment"], str):
        raise UsageError(f"{where}: assignment is not text", hint=AGAIN)
    return Evidence(**{**item, "stages": tuple(item["stages"])})
