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

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_tqs.errors import UsageError
from edge_tqs.planning.file import Evidence, Plan, PlannedTensor, Rounding, listed, predicted_damage
from edge_tqs.strict import nearest

__all__ = [
    "Evidence",
    "Plan",
    "PlannedTensor",
    "assigned",
    "default_budget",
    "frontier",
    "plan",
    "predicted_damage",
    "recost",
    "too_small",
    "uniform",
]

Scores = Mapping[str, float]
Costs = Mapping[str, Mapping[int, int]]
Shapes = Mapping[str, tuple[int, ...]]
#: What weights cost with one scale each; called once that matters.
OneScale = Callable[[], Costs]


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
        raise too_small(costs, budget_bytes, smallest)
    best = _undominated(scores, costs, choices, budget_bytes)[-1]
    return assigned(scores, costs, _to_nearest(best), budget_bytes, shapes or {})


def too_small(costs: Costs, budget_bytes: int, smallest: int) -> UsageError:
    """What to raise for a budget below the ``smallest`` plan."""
    return UsageError(
        f"A budget of {budget_bytes:,} bytes is too small for these weights: the smallest plan takes "
        f"{smallest:,} bytes (all-int4 {_describe(costs, 4)}, all-int8 {_describe(costs, 8)}).",
        hint=f"Give a budget of {smallest:,} bytes or more, or a smaller model.",
    )


def frontier(
    scores: Scores, costs: Costs, *, pins: Mapping[str, int] | None = None, shapes: Shapes | None = None
) -> tuple[Plan, ...]:
    """Every plan that no other one beats in both bytes and predicted damage, from the smallest to the best."""
    found = _undominated(scores, costs, _choices(scores, costs, pins or {}), None)
    return tuple(assigned(scores, costs, _to_nearest(widths), None, shapes or {}) for widths in found)


def uniform(costs: Costs, scores: Mapping[str, float | None], width: int, *, shapes: Shapes | None = None) -> Plan:
    """All weights at one width. Raises UsageError when a weight cannot have it."""
    for name, options in costs.items():
        if width not in options:
            raise UsageError(
                f"{name} cannot be built with {width} bits", hint=f"Choose from {listed(sorted(options))}."
            )
    return assigned(scores, costs, dict.fromkeys(costs, Rounding(width)), None, shapes or {})


def _to_nearest(widths: Mapping[str, int]) -> dict[str, Rounding]:
    return {name: Rounding(width) for name, width in widths.items()}


def default_budget(costs: Costs, pins: Mapping[str, int] | None = None) -> int:
    """The budget when none is given: halfway between all-int4 and all-int8, rounded down. Always feasible.

    A weight in ``pins`` counts with its pinned width at both ends.
    """
    open_costs = _pinned(costs, pins or {})
    return (_total(open_costs, 4) + _total(open_costs, 8)) // 2


def recost(edited: Plan, costs: Costs, *, shapes: Shapes | None = None, one_scale: OneScale = dict) -> Plan:
    """``edited`` in the model's order, with bytes and predicted damage that follow from its widths.

    Where the evidence is of other roundings, it is dropped, and the bias correction with it: both were measured with
    those. What told the codes from others is kept for the weights that are still rounded as they were. Raises
    UsageError when the plan does not name exactly the weights in ``costs``, or gives a width that one cannot have.
    """
    given = {tensor.name: tensor for tensor in edited.tensors}
    for name in given:
        if name not in costs:
            raise UsageError(f"The plan names {name}, which is no weight of this model", hint=_suggest(name, costs))
    for name, options in costs.items():
        if name not in given:
            raise UsageError(f"The plan has no width for {name}", hint="Write it anew with `edge-tqs plan`.")
        if given[name].width not in options:
            raise UsageError(
                f"{name} cannot be built with {given[name].width} bits", hint=f"Choose from {listed(sorted(options))}."
            )
    scores = {name: tensor.tqs for name, tensor in given.items()}
    known = {name: tensor.shape for name, tensor in given.items()} | dict(shapes or {})
    renewed = assigned(scores, costs, edited.roundings(), edited.budget_bytes, known, one_scale)
    was = edited.evidence.assignment.split(",") if edited.evidence else []
    same = dict(zip(given, was, strict=True)) if len(was) == len(given) else {}
    tensors = [
        replace(tensor, codes=given[tensor.name].codes if same.get(tensor.name) == str(tensor.rounded) else "")
        for tensor in renewed.tensors
    ]
    renewed = replace(renewed, tensors=tuple(tensors), origin=edited.origin, activations=edited.activations)
    if edited.evidence is None:
        return replace(renewed, bias_correction=edited.bias_correction)
    if edited.evidence.assignment != renewed.assignment:
        return renewed
    return replace(renewed, bias_correction=edited.bias_correction, evidence=edited.evidence)


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
    _pinned(costs, pins)
    return {name: (pins[name],) if name in pins else tuple(sorted(costs[name], reverse=True)) for name in scores}


def _pinned(costs: Costs, pins: Mapping[str, int]) -> dict[str, Mapping[int, int]]:
    """``costs`` with the pinned width alone where there is one. Raises UsageError for a pin that fits no weight."""
    for name, width in pins.items():
        if name not in costs:
            raise UsageError(f"{name} is no weight of this model, it cannot be pinned", hint=_suggest(name, costs))
        if width not in costs[name]:
            raise UsageError(
                f"{name} cannot be pinned to {width} bits", hint=f"Choose from {listed(sorted(costs[name]))}."
            )
    return {name: {pins[name]: options[pins[name]]} if name in pins else options for name, options in costs.items()}


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


def assigned(
    scores: Mapping[str, float | None],
    costs: Costs,
    roundings: Mapping[str, Rounding],
    budget: int | None,
    shapes: Shapes,
    one_scale: OneScale = dict,
) -> Plan:
    """The plan of given roundings, in the order of ``costs``. Raises UsageError for one scale that costs nothing."""
    tensors = []
    for name in costs:
        tqs, rounding = scores.get(name), roundings[name]
        width, clip, recipe, scales = rounding
        prices = one_scale() if rounding.one_scale else costs
        if name not in prices:
            raise UsageError(
                f"{name} cannot have one scale: no file of this model is written",
                hint="Leave its scales out of the plan.",
            )
        damage = None if tqs is None else predicted_damage(tqs, width)
        shape, size = tuple(shapes.get(name, ())), int(prices[name][width])
        tensors.append(PlannedTensor(name, shape, width, size, tqs, damage, clip, recipe, scales=scales))
    return Plan(budget, tuple(tensors))


def _total(costs: Costs, width: int) -> int:
    """Bytes with all weights at ``width``, or at the width nearest to it that a weight can have."""
    return sum(options[min(options, key=lambda b: (abs(b - width), b))] for options in costs.values())


def _describe(costs: Costs, width: int) -> str:
    if all(width in options for options in costs.values()):
        return f"{_total(costs, width):,}"
    return "not possible"


def _suggest(name: str, known: Mapping[str, Any]) -> str:
    return nearest(name, known, f"The weights are {', '.join(known)}.")
