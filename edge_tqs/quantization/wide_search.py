"""Which activations of an int8 graph are worth int16 codes, as rollouts measure it, within what they may cost.

Units are what has codes of one type: families of `quantize`; x, y and the states together; the steps of an unrolled
layer together. An operator works in the type that it writes, so what it reads is rounded to int8 in two places: where
it is written, if that is by an int8 operator, and where an int8 operator reads it. Rollouts with one of these roundings
alone, all else exact, are so many vectors of differences from float; those of a choice add up, and so the square of
their sum says what it does (0.95 to 1.05 of what was measured, on a Transformer of 36 units, where rollouts are short).

The choice grows from int8 by one unit, or two or three that read one another, whichever wins most for its
instructions, while it costs no more than it may. Then units that win nothing are taken back, and those that did not fit
are tried in the place of others.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from edge_tqs.errors import ModelError
from edge_tqs.graph.graph import Array, Graph, Quant
from edge_tqs.quantization.calibration import Ranges
from edge_tqs.quantization.families import Family
from edge_tqs.quantization.judges import LEAST_JUDGES, Judges, cost
from edge_tqs.quantization.quantize import Shared, quant_read, shared_quants, with_rounded_weights
from edge_tqs.quantization.rounded_rollout import RoundedRollouts
from edge_tqs.quantization.simulate import decode, encode, integer_rollout

#: x, y and the states, which have codes of one type.
ENDS = ("loop", "state", "output")
#: Operators whose output has no bound.
POLES = ("rsqrt",)
#: Steps that one rounding alone is rolled out: further on what several do no longer adds up.
STEPS = 16
#: Nanoseconds, as `judges.cost` counts them: of all roundings, and of an integer graph's rollouts.
SEARCH_NS, LAST_NS = 8e9, 0.15e9
#: Of what int8 codes do, what is not worth a unit; and what may be left.
LEAST_GAIN, LEFT = 0.002, 0.02
#: Of what int8 codes do, what may be left for the costs not to go up: a fifth of the error, not squared.
ENOUGH = 0.04
#: What RAM and instructions count when moves are put in order.
ORDERS: tuple[Order, ...] = ((1.0, 1.0), (0.0, 1.0), (0.0, 0.0))
#: Choices that the costs are asked of, at most.
MOST_TRIED = 2500

Order = tuple[float, float]
#: Places in Damages.units.
Units = frozenset[int]
#: RAM and instructions of a choice over those of int8.
Costs = tuple[float, float]
#: What a choice costs; exactly, or the RAM at least.
CostOf = Callable[[frozenset[Family], bool], Costs]
#: How often a choice is looked for whose RAM, exactly, is not more than it may be.
MOST_LOOKS = 4


@dataclass(frozen=True)
class Widened:
    """names: of one tensor each of what has int16 codes, in the graph's order. units, of: how many, and of all. closed:
    of the squared error between int8 and int16 what is won, by integer graphs' rollouts; 1 where there is none. ram,
    instructions: over those of int8."""

    names: tuple[str, ...]
    units: int
    of: int
    closed: float
    ram: float
    instructions: float

    @property
    def words(self) -> str:
        """What is won, and what it costs."""
        return (
            f"{self.units} of {self.of} activations int16, which take away {self.closed:.0%} of what int8 ones add "
            f"over int16 ones, for {self.ram:.2f} times the RAM of int8 and about {self.instructions:.2f} times the "
            "instructions"
        )


@dataclass(frozen=True, eq=False)
class Damages:
    """What int8 codes do. units: families. edges: (written, read by what writes); vectors: one of each unit's own
    rounding, then one of each edge's, (units + edges, values)."""

    units: tuple[tuple[Family, ...], ...]
    edges: tuple[tuple[int, int], ...]
    vectors: Array

    @cached_property
    def _products(self) -> Array:
        products: Array = self.vectors @ self.vectors.T
        return products

    def of(self, wide: Units) -> float:
        """The mean square of all that a choice rounds."""
        rounded = [unit not in wide for unit in range(len(self.units))]
        chosen = np.array(rounded + [a in wide and b not in wide for a, b in self.edges], np.float64)
        return float(chosen @ self._products @ chosen)

    def families(self, wide: Units) -> frozenset[Family]:
        return frozenset(family for unit in wide for family in self.units[unit])


def widened(
    graph: Graph,
    make: Callable[[frozenset[Family]], Graph],
    ranges: Ranges,
    horizon: int,
    costs: Callable[[Shared, Graph, Graph], CostOf],
    limits: Sequence[Costs],
) -> Widened:
    """What of ``graph`` (float) gets int16 codes, where it costs no more than the first of ``limits`` that is enough.

    That is one within which the roundings that are left do no more than ENOUGH of all; else it is the last.

    make: the integer graph with those families wide. costs: of what is shared, and the graphs without and with all of
    it wide. Raises ModelError where too few windows were seen to measure on (LEAST_JUDGES), or nothing can be wide.
    """
    if ranges.kept is None or len(ranges.kept) < LEAST_JUDGES:
        raise ModelError(
            f"{graph.name}: fewer than {LEAST_JUDGES} windows to measure activations on",
            hint="Give more data (--data), or take --activations int8 or int16.",
        )
    plain = make(frozenset())
    shared = shared_quants(with_rounded_weights(graph, plain), ranges)
    units = _units(shared)
    able, whole = _able(units, make)
    if not able:
        raise ModelError(
            f"{graph.name}: none of its activations can have int16 codes",
            hint="Take --activations int8.",
        )
    found = damages(graph, shared, units, ranges, horizon)
    cost_of = costs(shared, plain, whole)
    chosen = _chosen(found, able, lambda wide, exact: cost_of(found.families(wide), exact), limits)
    if not chosen:
        raise ModelError(
            f"{graph.name}: no int16 activation wins anything for {limits[-1][0]:g} times the RAM and "
            f"{limits[-1][1]:g} times the instructions of int8 ones",
            hint="Take --activations int8 or int16.",
        )
    families = found.families(chosen)
    judges = Judges(graph, ranges.kept, LAST_NS / cost(graph), horizon, deep=True)
    least, most = (_error(made, judges) for made in (whole, plain))
    closed = (most - _error(make(families), judges)) / (most - least) if most > least else 1.0
    return Widened(names_of(shared, families), len(chosen), len(units), closed, *cost_of(families, True))


def names_of(shared: Shared, families: frozenset[Family]) -> tuple[str, ...]:
    """The first tensor of each of ``families``, in the graph's order."""
    first = {family: name for name, family in reversed(list(shared.families.items())) if family in families}
    order = {name: place for place, name in enumerate(shared.graph.tensors)}
    return tuple(sorted(first.values(), key=order.__getitem__))


def families_of(shared: Shared, names: Iterable[str]) -> frozenset[Family]:
    """The families of ``names``; of x, y and the states all or none. Raises KeyError for what is no activation."""
    found = {shared.families[name] for name in names}
    ends = {family for family in shared.quants if family[0] in ENDS}
    return frozenset(found | ends if found & ends else found)


def damages(graph: Graph, shared: Shared, units: Sequence[tuple[Family, ...]], ranges: Ranges, horizon: int) -> Damages:
    """What each rounding does to rollouts of the windows of ``ranges``, each step over what all of them do."""
    assert ranges.kept is not None
    place = {family: unit for unit, families in enumerate(units) for family in families}
    reads: dict[tuple[int, int], dict[tuple[Family, Family], Quant]] = {}
    for op in shared.graph.ops:
        weights = op.inputs[1:] if op.signature.is_weighted else ()
        made = shared.families[op.outputs[0]]
        for name in op.inputs if op.kind != "quantize" else ():
            if name in weights or shared.graph.tensors[name].data is not None:
                continue
            family = shared.families[name]
            if place[family] != place[made]:
                quant = quant_read(shared, name, ranges)
                reads.setdefault((place[family], place[made]), {}).setdefault((family, made), quant)
    exact = dict.fromkeys(shared.quants)
    variants = [{f: None for f in exact if place.get(f) != unit} for unit in range(len(units))]
    variants += [exact] * len(reads)
    narrowing = [{}, {}, *[{}] * len(units), *reads.values()]
    rows = SEARCH_NS / (len(variants) + 2) / cost(graph)
    judges = Judges(graph, ranges.kept, rows, min(horizon, STEPS), deep=True)
    floats, all_int8, *outputs = RoundedRollouts(shared).outputs(
        judges.seeds, judges.horizon, [exact, {}, *variants], narrowing
    )
    scale = np.sqrt(np.square((all_int8 - floats) / judges.units).mean(axis=(0, 2), keepdims=True))
    scale = np.where(np.isfinite(scale) & (scale > 0), scale, np.inf) * judges.units
    vectors = np.stack([((output - floats) / scale).reshape(-1) for output in outputs]) / np.sqrt(floats.size)
    vectors[~np.isfinite(vectors).all(axis=1)] = 0.0
    return Damages(tuple(units), tuple(reads), vectors.astype(np.float64))


def _units(shared: Shared) -> list[tuple[Family, ...]]:
    """What a pole is in lies in one unit with what comes of it: near it they go wrong together."""
    computed = {shared.families[name] for name, tensor in shared.graph.tensors.items() if tensor.data is None}
    joined: dict[str, str] = {}
    for op in shared.graph.ops:
        if op.kind in POLES:
            joined[_key(shared.families[op.outputs[0]])] = _key(shared.families[op.inputs[0]])
    found: dict[str, list[Family]] = {}
    for family in shared.quants:
        if family in computed:
            key = _key(family)
            found.setdefault(joined.get(key, key), []).append(family)
    return list(map(tuple, found.values()))


def _key(family: Family) -> str:
    return "" if family[0] in ENDS else f"{family[0]} {re.sub(r'/[0-9]+(?=/|$)', '/#', family[1])}"


def _able(units: Sequence[tuple[Family, ...]], make: Callable[[frozenset[Family]], Graph]) -> tuple[Units, Graph]:
    """The units that can have int16 codes, and the graph where all of them have."""
    able = frozenset(range(len(units)))
    for _ in range(2):
        try:
            return able, make(frozenset(family for unit in able for family in units[unit]))
        except ModelError:
            able = frozenset(unit for unit in able if _can(units[unit], make))
    return frozenset(), make(frozenset())


def _can(unit: tuple[Family, ...], make: Callable[[frozenset[Family]], Graph]) -> bool:
    try:
        make(frozenset(unit))
    except ModelError:
        return False
    return True


def _chosen(found: Damages, able: Units, cost_of: Callable[[Units, bool], Costs], limits: Sequence[Costs]) -> Units:
    search, chosen = _Search(found, able, lambda wide: cost_of(wide, False)), frozenset[int]()
    for limit in limits:
        search.limits = limit
        for _ in range(MOST_LOOKS):
            chosen = _best(search, found)
            over = max(ours - most for ours, most in zip(cost_of(chosen, True), limit, strict=True))
            if over <= 0:
                break
            search.limits = search.limits[0] - over, limit[1]
        else:
            chosen = frozenset()
        if found.of(chosen) <= ENOUGH * found.of(frozenset()):
            break
    return chosen


def _best(search: _Search, found: Damages) -> Units:
    """The best of what grows with the order of moves and one unit left out that the first choice had."""
    tried = [search.pruned(search.grown(frozenset(), by, frozenset())) for by in ORDERS]
    for by in ORDERS:
        tried += [search.pruned(search.grown(frozenset(), by, frozenset((unit,)))) for unit in sorted(tried[0])]
    best = min(tried, key=lambda wide: (found.of(wide), len(wide), sorted(wide)))
    return search.pruned(search.swapped(best))


class _Search:
    """``limits``: what a choice may cost."""

    def __init__(self, found: Damages, able: Units, cost_of: Callable[[Units], Costs]) -> None:
        self._found, self._cost_of = found, cost_of
        self.limits: Costs = (np.inf, np.inf)
        self._known: dict[Units, Costs] = {}
        self._whole = found.of(frozenset()) or 1.0
        beside: dict[int, set[int]] = {unit: set() for unit in able}
        for a, b in found.edges:
            if a in able and b in able:
                beside[a].add(b)
                beside[b].add(a)
        pairs = {frozenset((a, b)) for a in able for b in beside[a]}
        threes = {pair | {c} for pair in pairs for unit in pair for c in beside[unit]}
        single = {frozenset((unit,)) for unit in able}
        self._moves = sorted(single | pairs | threes, key=lambda move: (len(move), sorted(move)))

    def grown(self, wide: Units, by: Order, without: Units) -> Units:
        """With one move after another, the one that wins most for what it costs, as long as one fits."""
        refused: set[Units] = set()
        open_moves = [move for move in self._moves if not move & without]
        while self._found.of(wide) > LEFT * self._whole:
            moves = dict.fromkeys(move - wide for move in open_moves if not move <= wide)
            gains = {move: self._gain(wide, move) for move in moves if move not in refused}
            ranked = [(gain / self._size(move, by), move) for move, gain in gains.items() if gain >= LEAST_GAIN]
            for _, move in sorted(ranked, key=_by_gain):
                if self._fits(wide | move):
                    wide |= move
                    break
                refused.add(move)
            else:
                return wide
        return wide

    def pruned(self, wide: Units) -> Units:
        """Without what wins nothing, the least first; where it makes room, for codes are converted at its borders."""
        while True:
            losses = sorted((self._found.of(wide - {unit}) - self._found.of(wide), unit) for unit in wide)
            idle = (unit for loss, unit in losses if loss < LEAST_GAIN * self._whole)
            found = next((unit for unit in idle if self._cheaper(wide - {unit}, wide)), None)
            if found is None:
                return wide
            wide -= {found}

    def _cheaper(self, one: Units, other: Units) -> bool:
        return all(a <= b for a, b in zip(self._cost(one), self._cost(other), strict=True))

    def swapped(self, wide: Units) -> Units:
        """The best that comes of leaving one unit out and growing anew, as long as that is better."""
        while True:
            others = [self.pruned(self.grown(wide - {u}, by, frozenset((u,)))) for u in sorted(wide) for by in ORDERS]
            best = min(others, key=self._found.of, default=wide)
            if self._found.of(best) > self._found.of(wide) - LEAST_GAIN * self._whole:
                return wide
            wide = best

    def _gain(self, wide: Units, move: Units) -> float:
        return (self._found.of(wide) - self._found.of(wide | move)) / self._whole

    def _size(self, move: Units, by: Order) -> float:
        """What a move costs by itself: the order does not need to know it better."""
        alone = self._cost(move)
        return max(sum(weight * max(value - 1.0, 0.0) for weight, value in zip(by, alone, strict=True)), 0.001)

    def _fits(self, wide: Units) -> bool:
        return all(value <= limit for value, limit in zip(self._cost(wide), self.limits, strict=True))

    def _cost(self, wide: Units) -> Costs:
        if wide not in self._known:
            if len(self._known) >= MOST_TRIED:
                return (np.inf, np.inf)
            self._known[wide] = self._cost_of(wide)
        return self._known[wide]


def _by_gain(item: tuple[float, Units]) -> tuple[float, list[int]]:
    return -item[0], sorted(item[1])


def _error(graph: Graph, judges: Judges) -> float:
    rolled = integer_rollout(graph, encode(graph, judges.seeds), judges.horizon)
    return float(np.square(judges.errors(decode(graph, rolled.outputs))).mean())
