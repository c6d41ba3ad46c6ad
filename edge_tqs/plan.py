"""Which weight gets which width: an exact multiple-choice knapsack over predicted damage and real bytes.

The damage that width ``b`` does to weight ``l`` is predicted from its score alone, as quantization noise grows with the
square of the step (Pavlova, Zhu, Semenova and Li, arXiv 2606.13300, assign widths as an MCKP; the formula is this
project's, it is not from the paper):

    Omega[l,b] = TQS[l] * ((2^5 - 1) / (2^(b-1) - 1))^2        # TQS is scored with noise of 6 bits

Weights are added one at a time to the set of assignments that no other one beats in both bytes and damage (Nemhauser
and Ullmann, "Discrete dynamic programming and capital allocation", Management Science 15, 1969). A dominated part of an
assignment can always be exchanged for the one that dominates it, so the set holds an optimum for every budget; it has
at most one member for each number of bytes. There is no solver and so no solver tolerance: scores may span any range.
"""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_tqs.errors import UsageError

#: Width of the noise that TQS is measured with.
REFERENCE_WIDTH = 6
#: Widths that a weight can be built at.
WIDTHS = (8, 4)
#: Version of the plan file.
FORMAT = 1

Scores = Mapping[str, float]
Costs = Mapping[str, Mapping[int, int]]
Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class PlannedTensor:
    """One weight: ``name`` is its source, ``width`` in bits, ``bytes`` with per-channel metadata.

    ``tqs`` is None where the weight was never scored; then ``predicted_damage`` (squared model's units) is None too.
    """

    name: str
    shape: tuple[int, ...]
    width: int
    bytes: int
    tqs: float | None
    predicted_damage: float | None


@dataclass(frozen=True)
class Plan:
    """A width for every weight, in the model's order. ``budget_bytes`` is None where none was asked for."""

    budget_bytes: int | None
    tensors: tuple[PlannedTensor, ...]

    @property
    def total_bytes(self) -> int:
        return sum(tensor.bytes for tensor in self.tensors)

    @property
    def predicted_damage(self) -> float:
        return math.fsum(tensor.predicted_damage or 0.0 for tensor in self.tensors)

    def widths(self) -> dict[str, int]:
        return {tensor.name: tensor.width for tensor in self.tensors}

    def to_json(self) -> str:
        """The plan as a file. To change it by hand, change a ``width``: ``recost`` renews all that follows from it."""
        tensors = [
            {
                "name": tensor.name,
                "shape": list(tensor.shape),
                "width": tensor.width,
                "bytes": tensor.bytes,
                "tqs": tensor.tqs,
                "predicted_damage": tensor.predicted_damage,
            }
            for tensor in self.tensors
        ]
        body = {"format": FORMAT, "budget_bytes": self.budget_bytes, "tensors": tensors}
        return json.dumps(body, indent=2, allow_nan=False) + "\n"

    @staticmethod
    def from_json(text: str, where: str = "the plan") -> Plan:
        """Read what ``to_json`` wrote. Raises UsageError with the place of the first thing that is wrong."""
        try:
            body = json.loads(text)
        except ValueError as error:
            raise UsageError(f"{where} is not JSON: {error}", hint="Write one with `edge-tqs plan --out`.") from error
        _keys(where, body, ("format", "budget_bytes", "tensors"))
        if body["format"] != FORMAT:
            raise UsageError(
                f"{where}: format {body['format']!r} is not {FORMAT}", hint="Write it anew with `edge-tqs plan`."
            )
        if body["budget_bytes"] is not None:
            _number(f"{where}: budget_bytes", body["budget_bytes"], whole=True)
        if not isinstance(body["tensors"], list) or not body["tensors"]:
            raise UsageError(f"{where}: tensors is not a list of weights", hint="Write it anew with `edge-tqs plan`.")
        tensors = tuple(_tensor(f"{where}: tensors[{i}]", item) for i, item in enumerate(body["tensors"]))
        names = [tensor.name for tensor in tensors]
        for name in names:
            if names.count(name) > 1:
                raise UsageError(f"{where}: {name} is listed twice", hint="Remove one of the two.")
        return Plan(body["budget_bytes"], tensors)


def predicted_damage(tqs: float, width: int) -> float:
    """Omega: the damage that ``width`` bits are expected to do to a weight of score ``tqs``, squared model's units."""
    return float(tqs * ((2 ** (REFERENCE_WIDTH - 1) - 1) / (2 ** (width - 1) - 1)) ** 2)


def plan(
    scores: Scores,
    costs: Costs,
    budget_bytes: int,
    *,
    pins: Mapping[str, int] | None = None,
    shapes: Shapes | None = None,
) -> Plan:
    """The widths of least predicted damage that fit ``budget_bytes``; exact.

    Of equally good plans the one of fewer bytes is taken, then the one that is wider at the earliest weight.

    Args:
        scores: TQS by weight, finite and not negative, in the model's order (the order of the plan).
        costs: bytes by weight and width, with all that the flatbuffer spends on it.
        budget_bytes: the most that all weights together may take.
        pins: widths that are not up for choice.
        shapes: of the weights, to be carried along.

    Raises:
        UsageError: the budget is below the smallest plan (the message names that), or a pin fits no weight.
    """
    choices = _choices(scores, costs, pins or {})
    smallest = sum(min(costs[name][width] for width in widths) for name, widths in choices.items())
    if budget_bytes < smallest:
        raise UsageError(
            f"A budget of {budget_bytes:,} bytes is too small for these weights: the smallest plan takes "
            f"{smallest:,} bytes (all-int4 {_describe(costs, 4)}, all-int8 {_describe(costs, 8)}).",
            hint=f"Give a budget of {smallest:,} bytes or more, or a smaller model.",
        )
    best = _undominated(scores, costs, choices, budget_bytes)[-1]
    return _planned(scores, costs, best, budget_bytes, shapes or {})


def frontier(scores: Scores, costs: Costs, *, shapes: Shapes | None = None) -> tuple[Plan, ...]:
    """Every plan that no other one beats in both bytes and predicted damage, from the smallest to the best."""
    found = _undominated(scores, costs, _choices(scores, costs, {}), None)
    return tuple(_planned(scores, costs, widths, None, shapes or {}) for widths in found)


def uniform(costs: Costs, scores: Mapping[str, float | None], width: int, *, shapes: Shapes | None = None) -> Plan:
    """All weights at one width. Raises UsageError when a weight cannot have it."""
    for name, options in costs.items():
        if width not in options:
            raise UsageError(
                f"{name} cannot be built with {width} bits", hint=f"Choose from {_listed(sorted(options))}."
            )
    return _planned(scores, costs, dict.fromkeys(costs, width), None, shapes or {})


def default_budget(costs: Costs) -> int:
    """The budget when none is given: halfway between all-int4 and all-int8, rounded down. Always feasible."""
    return (_total(costs, 4) + _total(costs, 8)) // 2


def recost(edited: Plan, costs: Costs, *, shapes: Shapes | None = None) -> Plan:
    """``edited`` in the model's order, with bytes and predicted damage that follow from its widths.

    Raises UsageError when it does not name exactly the weights in ``costs``, or a width that one cannot have.
    """
    listed = {tensor.name: tensor for tensor in edited.tensors}
    for name in listed:
        if name not in costs:
            raise UsageError(f"The plan names {name}, which is no weight of this model", hint=_suggest(name, costs))
    for name, options in costs.items():
        if name not in listed:
            raise UsageError(f"The plan has no width for {name}", hint="Write it anew with `edge-tqs plan`.")
        if listed[name].width not in options:
            raise UsageError(
                f"{name} cannot be built with {listed[name].width} bits",
                hint=f"Choose from {_listed(sorted(options))}.",
            )
    scores = {name: tensor.tqs for name, tensor in listed.items()}
    given = {name: tensor.shape for name, tensor in listed.items()}
    return _planned(scores, costs, edited.widths(), edited.budget_bytes, given | dict(shapes or {}))


def parse_budget(text: str) -> int:
    """Bytes from "24576", "24KB", "24 KiB", "1.5MB". As in linker scripts KB and KiB are 1024 bytes, MB and MiB 1024^2.

    Raises UsageError for anything else, zero and negative numbers among it.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(?:(k|m)(?:i?b)?|b|bytes)?\s*", text, re.IGNORECASE)
    scale = {None: 1, "k": 1024, "m": 1024**2}[match[2].lower() if match and match[2] else None]
    size = int(float(match[1]) * scale) if match else 0
    if size < 1:
        raise UsageError(f"{text!r} is not a number of bytes", hint="Write 24576, 24KB (KB = 1024 bytes) or 1.5MB.")
    return size


def _choices(scores: Scores, costs: Costs, pins: Mapping[str, int]) -> dict[str, tuple[int, ...]]:
    """The widths that each weight may take, widest first, in the order of ``scores``."""
    if set(scores) != set(costs):
        raise ValueError(f"scores and costs name different weights: {sorted(set(scores) ^ set(costs))}")
    for name, tqs in scores.items():
        if not (math.isfinite(tqs) and tqs >= 0):
            raise UsageError(
                f"The score of {name} is {tqs}, so nothing can be planned with it",
                hint="The model's own rollout runs away: score it with a shorter horizon or with real windows.",
            )
    for name, width in pins.items():
        if name not in costs:
            raise UsageError(f"{name} is no weight of this model, it cannot be pinned", hint=_suggest(name, costs))
        if width not in costs[name]:
            raise UsageError(
                f"{name} cannot be pinned to {width} bits", hint=f"Choose from {_listed(sorted(costs[name]))}."
            )
    return {name: (pins[name],) if name in pins else tuple(sorted(costs[name], reverse=True)) for name in scores}


def _undominated(
    scores: Scores, costs: Costs, choices: Mapping[str, tuple[int, ...]], budget: int | None
) -> list[dict[str, int]]:
    """Assignments that none beats in bytes and damage, by bytes; with a budget, the best one within it alone."""
    size = np.zeros(1, np.int64)
    damage = np.zeros(1)
    rank = np.zeros(1, np.int64)  # order of the assignments so far by preference, for ties
    rest = sum(min(costs[name][width] for width in widths) for name, widths in choices.items())
    trail: list[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]] = []
    for name, widths in choices.items():
        rest -= min(costs[name][width] for width in widths)
        count = size.size
        parent = np.tile(np.arange(count), len(widths))
        choice = np.repeat(np.arange(len(widths)), count)
        size = np.concatenate([size + costs[name][width] for width in widths])
        damage = np.concatenate([damage + predicted_damage(scores[name], width) for width in widths])
        order = np.lexsort((choice, rank[parent], damage, size))
        if budget is not None:
            order = order[size[order] + rest <= budget]
        least = np.minimum.accumulate(damage[order])
        order = order[np.concatenate([[True], damage[order][1:] < least[:-1]])]
        size, damage, parent, choice = size[order], damage[order], parent[order], choice[order]
        rank = np.argsort(np.lexsort((choice, rank[parent])))
        trail.append((parent, choice))
    ends = range(size.size) if budget is None else [size.size - 1]
    return [_trace(choices, trail, end) for end in ends]


def _trace(
    choices: Mapping[str, tuple[int, ...]],
    trail: Sequence[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]],
    end: int,
) -> dict[str, int]:
    widths: dict[str, int] = {}
    for (name, options), (parent, choice) in zip(reversed(list(choices.items())), reversed(trail), strict=True):
        widths[name] = options[int(choice[end])]
        end = int(parent[end])
    return {name: widths[name] for name in choices}


def _planned(
    scores: Mapping[str, float | None], costs: Costs, widths: Mapping[str, int], budget: int | None, shapes: Shapes
) -> Plan:
    tensors = []
    for name in costs:
        tqs, width = scores.get(name), widths[name]
        damage = None if tqs is None else predicted_damage(tqs, width)
        tensors.append(PlannedTensor(name, tuple(shapes.get(name, ())), width, int(costs[name][width]), tqs, damage))
    return Plan(budget, tuple(tensors))


def _total(costs: Costs, width: int) -> int:
    """Bytes with all weights at ``width``, or at the width nearest to it that a weight can have."""
    return sum(options[min(options, key=lambda b: (abs(b - width), b))] for options in costs.values())


def _describe(costs: Costs, width: int) -> str:
    if all(width in options for options in costs.values()):
        return f"{_total(costs, width):,}"
    return "not possible"


def _listed(widths: Sequence[int]) -> str:
    return " or ".join(f"{width} bits" for width in widths)


def _suggest(name: str, known: Mapping[str, Any]) -> str:
    near = difflib.get_close_matches(name, list(known), 1, 0.5)
    return f"Did you mean {near[0]}?" if near else f"The weights are {', '.join(known)}."


def _keys(where: str, value: Any, wanted: tuple[str, ...]) -> None:
    if not isinstance(value, dict):
        raise UsageError(f"{where} is not a JSON object", hint="Write it anew with `edge-tqs plan`.")
    for key in value:
        if key not in wanted:
            near = difflib.get_close_matches(key, wanted, 1, 0.5)
            raise UsageError(
                f"{where}: unknown key {key!r}",
                hint=f"Did you mean {near[0]!r}?" if near else f"It takes {', '.join(wanted)}.",
            )
    for key in wanted:
        if key not in value:
            raise UsageError(f"{where}: {key} is missing", hint="Write it anew with `edge-tqs plan`.")


def _number(where: str, value: Any, *, whole: bool) -> None:
    good = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
    if not good or value < 0 or not math.isfinite(value):
        raise UsageError(
            f"{where} is {value!r}, not a {'whole ' if whole else ''}number of 0 or more",
            hint="Write it anew with `edge-tqs plan`.",
        )


def _tensor(where: str, item: Any) -> PlannedTensor:
    _keys(where, item, ("name", "shape", "width", "bytes", "tqs", "predicted_damage"))
    if not isinstance(item["name"], str):
        raise UsageError(f"{where}: name is {item['name']!r}, not text", hint="Write it anew with `edge-tqs plan`.")
    where = f"{where} ({item['name']})"
    if item["width"] not in WIDTHS or isinstance(item["width"], bool):
        raise UsageError(f"{where}: width is {item['width']!r}", hint=f"Choose from {_listed(WIDTHS)}.")
    if not isinstance(item["shape"], list):
        raise UsageError(f"{where}: shape is not a list", hint="Write it anew with `edge-tqs plan`.")
    for size in item["shape"]:
        _number(f"{where}: shape", size, whole=True)
    _number(f"{where}: bytes", item["bytes"], whole=True)
    for key in ("tqs", "predicted_damage"):
        if item[key] is not None:
            _number(f"{where}: {key}", item[key], whole=False)
    tqs = None if item["tqs"] is None else float(item["tqs"])
    tensor = PlannedTensor(item["name"], tuple(item["shape"]), item["width"], item["bytes"], tqs, None)
    return tensor if tqs is None else replace(tensor, predicted_damage=predicted_damage(tqs, tensor.width))
