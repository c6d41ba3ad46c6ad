"""Which choice for each weight: the least of a quadratic form within a byte budget.

Every weight takes one of its choices (a form, which is a width and what a scale is for, and at 4 bits a clip ratio).
With x the 0/1 vector of the choices taken and G their Gram matrix, the predicted damage is x'Gx: the errors that two
choices make may add up or cancel.

Up to ENUMERATED weights, and FORMS assignments of forms, each of these is tried. The clip ratios within each are exact
too while there are at most EXACT assignments of all choices, and descended to one weight at a time beyond. More weights
than that are searched locally: the best flip of one weight or swap of two is made until none helps.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edge_tqs.graph.graph import Array

#: For each weight, the number of the choice that it takes.
Assignment = tuple[int, ...]

#: Weights up to which every assignment of forms is tried: 2^14 of them where each has two.
ENUMERATED = 14
#: Assignments of forms up to which each is tried: 8 weights of four forms each.
FORMS = 1 << 16
#: Assignments of all choices up to which each is tried.
EXACT = 1 << 18
#: Rounds of descent over the clip ratios; each tries every weight once.
ROUNDS = 4


@dataclass(frozen=True, eq=False)
class Search:
    """The choices of each weight, in order, and what they do together.

    choices: choices[i] holds the numbers, rows of ``gram``, of the choices of weight i. forms: a number for the form of
    each choice, the same for the same form. gram: (C, C) symmetric float64; an assignment's predicted damage is the sum
    of its rows and columns.
    """

    choices: tuple[tuple[int, ...], ...]
    forms: tuple[int, ...]
    gram: Array
    _pools: dict[str, tuple[Array, Array]] = field(default_factory=dict)

    def damage(self, assignment: Sequence[int]) -> float:
        """Predicted mean square divergence; not below 0."""
        index = np.asarray(assignment)
        return max(0.0, float(self.gram[np.ix_(index, index)].sum()))

    def best(
        self, sizes: Sequence[int], budget: int, keep: int = 1, starts: Sequence[Assignment] = ()
    ) -> list[Assignment]:
        """Up to ``keep`` assignments that fit ``budget``, no two of the same forms, the least damage first.

        sizes: bytes of each choice. starts: where the local search begins, beside the smallest assignment. Of equal
        damage the fewer bytes come first, then the earlier choices. Empty when nothing fits.
        """
        cost = np.asarray(sizes, np.int64)
        if self.enumerable:
            pool, damage = self._enumerated()
        else:
            pool, damage = self._local(cost, budget, starts)
        total = cost[pool].sum(axis=1)
        order = np.lexsort((np.arange(len(pool)), total, damage))
        order = order[total[order] <= budget][:keep]
        return [tuple(int(choice) for choice in pool[row]) for row in order]

    @property
    def enumerable(self) -> bool:
        """Whether every assignment of forms is tried."""
        if len(self.choices) > ENUMERATED:
            return False
        return math.prod(len({self.forms[choice] for choice in options}) for options in self.choices) <= FORMS

    def _enumerated(self) -> tuple[Array, Array]:
        """(assignments (P, n), damage (P,)): each assignment of forms once, with its best clip ratios."""
        if "all" not in self._pools:
            count = int(np.prod([len(options) for options in self.choices], dtype=np.float64))
            if count <= EXACT:
                pool = _product(self.choices)
                self._pools["all"] = self._first_of_forms(pool, self._damages(pool))
            else:
                self._pools["all"] = self._descended()
        return self._pools["all"]

    def _descended(self) -> tuple[Array, Array]:
        """As _enumerated; clip ratios by descent from the best of each weight by itself."""
        alone = np.diag(self.gram)
        by_form = [self._by_form(options) for options in self.choices]
        pool = _product([[min(same, key=lambda c: (alone[c], c)) for same in groups.values()] for groups in by_form])
        damage = self._damages(pool)
        for _ in range(ROUNDS):
            for weight, groups in enumerate(by_form):
                for same in groups.values():
                    rows = np.flatnonzero(np.isin(pool[:, weight], same))
                    for choice in same:
                        changed = pool[rows].copy()
                        changed[:, weight] = choice
                        after = damage[rows] + self._change(pool[rows], weight, choice)
                        better = after < damage[rows] * (1 - 1e-12)
                        pool[rows[better]], damage[rows[better]] = changed[better], after[better]
        return pool, self._damages(pool)

    def _by_form(self, options: Sequence[int]) -> dict[int, list[int]]:
        groups: dict[int, list[int]] = {}
        for choice in options:
            groups.setdefault(self.forms[choice], []).append(choice)
        return groups

    def _change(self, pool: Array, weight: int, choice: int) -> Array:
        """What setting ``weight`` to ``choice`` adds to the damage of each assignment in ``pool`` (P, n)."""
        before = pool[:, weight]
        others = np.delete(pool, weight, axis=1)
        cross = self.gram[choice, others].sum(axis=1) - self.gram[before[:, None], others].sum(axis=1)
        change: Array = self.gram[choice, choice] - self.gram[before, before] + 2 * cross
        return change

    def _damages(self, pool: Array) -> Array:
        total = np.zeros(len(pool))
        for i in range(pool.shape[1]):
            total += self.gram[pool[:, i], pool[:, i]]
            for j in range(i):
                total += 2 * self.gram[pool[:, i], pool[:, j]]
        return np.maximum(total, 0.0)

    def _first_of_forms(self, pool: Array, damage: Array) -> tuple[Array, Array]:
        """The least damage of each assignment of forms."""
        order = np.lexsort((np.arange(len(pool)), damage))
        _, first = np.unique(np.asarray(self.forms)[pool[order]], axis=0, return_index=True)
        kept = np.sort(order[first])
        return pool[kept], damage[kept]

    def _local(self, cost: Array, budget: int, starts: Sequence[Assignment]) -> tuple[Array, Array]:
        """Assignments met on the way from each start, the best clip ratios of each assignment of forms."""
        smallest = tuple(min(options, key=lambda c: (cost[c], self.gram[c, c], c)) for options in self.choices)
        met: set[Assignment] = set()
        for start in (*starts, smallest):
            if int(cost[list(start)].sum()) <= budget:
                self._descend(np.array(start), cost, budget, met)
        if not met:
            return np.empty((0, len(self.choices)), np.int64), np.empty(0)
        pool = np.array(sorted(met))
        return self._first_of_forms(pool, self._damages(pool))

    def neighbours(
        self, taken: Assignment, reach: Array, sizes: Sequence[int], budget: int, keep: int
    ) -> list[Assignment]:
        """Up to ``keep`` assignments that change one or two weights of ``taken`` and fit ``budget``, the best first.

        reach: (C,), the inner product of each choice's error with the error that ``taken`` was measured to have, which
        the sum of its choices' errors only approximates. Those that would make it worse are left out.
        """
        cost, current = np.asarray(sizes, np.int64), np.array(taken)
        one, two, owner = self._moves(current, cost, budget, reach)
        moves: list[tuple[float, tuple[int, ...]]] = [
            (float(one[c]), (int(c),)) for c in np.argsort(one, kind="stable")[:keep]
        ]
        for flat in np.argsort(two, axis=None, kind="stable")[:keep]:
            pair = np.unravel_index(int(flat), two.shape)
            moves.append((float(two[pair]), tuple(int(c) for c in pair)))
        better = sorted(move for move in moves if move[0] < 0)
        return [tuple(map(int, _moved(current, owner, choices))) for _, choices in better[:keep]]

    def _descend(self, taken: Array, cost: Array, budget: int, met: set[Assignment]) -> None:
        """Best flips and swaps from ``taken`` until none lowers the damage; ``met`` collects what is met."""
        while True:
            met.add(tuple(map(int, taken)))
            one, two, owner = self._moves(taken, cost, budget, self.gram[:, taken].sum(axis=1))
            for choice in np.argsort(one, kind="stable")[:ENUMERATED]:
                if np.isfinite(one[choice]):
                    met.add(tuple(map(int, _moved(taken, owner, [choice]))))
            flip, swap = int(np.argmin(one)), np.unravel_index(int(np.argmin(two)), two.shape)
            least = min(one[flip], two[swap])
            if not least < -1e-12 * max(self.damage(taken.tolist()), 1e-300):
                return
            taken = _moved(taken, owner, [flip] if one[flip] <= two[swap] else list(swap))

    def _moves(self, taken: Array, cost: Array, budget: int, reach: Array) -> tuple[Array, Array, Array]:
        """What each flip (C,) and each pair of flips (C, C) adds to the damage, infinite where it does not fit.

        reach: (C,), inner products of each choice's error with that of ``taken``. Also gives each choice's weight.
        """
        owner = np.empty(len(self.gram), np.int64)
        for weight, options in enumerate(self.choices):
            owner[list(options)] = weight
        now = taken[owner]  # for each choice, the one that its weight takes now
        one = np.diag(self.gram) + self.gram[now, now] - 2 * self.gram[np.arange(len(now)), now]
        one += 2 * (reach - reach[now])
        grown = cost - cost[now]
        room = budget - int(cost[taken].sum())
        cross = self.gram - self.gram[now] - self.gram[:, now] + self.gram[np.ix_(now, now)]
        two = one[:, None] + one[None, :] + 2 * cross
        fits = (grown[:, None] + grown[None, :] <= room) & (owner[:, None] < owner[None, :])
        return np.where(grown <= room, one, np.inf), np.where(fits, two, np.inf), owner


def _moved(taken: Array, owner: Array, choices: Sequence[Any]) -> Array:
    after = taken.copy()
    for choice in choices:
        after[owner[choice]] = choice
    return after


def _product(options: Sequence[Sequence[int]]) -> Array:
    """Every way to take one of each, (P, n), the last varying fastest."""
    return np.array(list(itertools.product(*options)), np.int64).reshape(-1, len(options))
