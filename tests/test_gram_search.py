"""The search over a Gram matrix against brute force; the local search within its budget."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_tqs.planning import gram_search
from edge_tqs.planning.gram_search import Search


def random_search(rng: np.random.Generator, weights: int, clips: int) -> tuple[Search, list[int]]:
    """(search, bytes of each choice): one 8-bit and ``clips`` 4-bit choices a weight, errors that partly cancel."""
    choices, widths, sizes = [], [], []
    for _ in range(weights):
        first = len(widths)
        size = int(rng.integers(10, 400))
        widths += [8] + [4] * clips
        sizes += [size] + [max(1, int(size * rng.uniform(0.5, 1.2)))] * clips
        choices.append(tuple(range(first, len(widths))))
    scale = np.where(np.array(widths) == 8, 0.1, 1.0) * rng.uniform(0.1, 3, len(widths))
    vectors = rng.normal(size=(len(widths), 6)) * scale[:, None]
    return Search(tuple(choices), tuple(widths), vectors @ vectors.T), sizes


def brute_force(search: Search, sizes: list[int], budget: int) -> float:
    return min(
        (
            search.damage(taken)
            for taken in itertools.product(*search.choices)
            if sum(sizes[choice] for choice in taken) <= budget
        ),
        default=np.inf,
    )


def a_budget(search: Search, sizes: list[int], part: float) -> int:
    least = sum(min(sizes[c] for c in group) for group in search.choices)
    most = sum(max(sizes[c] for c in group) for group in search.choices)
    return least + int(part * (most - least))


@settings(deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 5), st.integers(1, 3), st.floats(0, 1))
def test_the_optimum_is_that_of_brute_force(seed: int, weights: int, clips: int, part: float) -> None:
    search, sizes = random_search(np.random.default_rng(seed), weights, clips)
    budget = a_budget(search, sizes, part)
    best = search.best(sizes, budget, 4)
    assert search.damage(best[0]) == pytest.approx(brute_force(search, sizes, budget), rel=1e-9, abs=1e-12)
    assert all(sum(sizes[c] for c in taken) <= budget for taken in best)
    damages = [search.damage(taken) for taken in best]
    assert damages == sorted(damages)
    widths = [tuple(search.forms[c] for c in taken) for taken in best]
    assert len(set(widths)) == len(widths)
    assert search.best(sizes, budget, 4) == best


@pytest.mark.parametrize("seed", range(10))
def test_clip_ratios_that_are_descended_to_come_close(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(seed)
    search, sizes = random_search(rng, 5, 4)
    budget = a_budget(search, sizes, 0.4)
    least = brute_force(search, sizes, budget)
    monkeypatch.setattr(gram_search, "EXACT", 0)
    best = search.best(sizes, budget)[0]
    assert sum(sizes[c] for c in best) <= budget
    assert least * (1 - 1e-9) <= search.damage(best) <= 2 * least + 1e-9


def test_without_clip_ratios_every_assignment_of_fourteen_weights_is_tried() -> None:
    search, sizes = random_search(np.random.default_rng(3), 14, 1)
    budget = a_budget(search, sizes, 0.5)
    assert search.enumerable
    assert search.damage(search.best(sizes, budget)[0]) == pytest.approx(brute_force(search, sizes, budget))


@pytest.mark.parametrize("seed", range(5))
def test_the_local_search_keeps_to_the_budget_and_gains(seed: int) -> None:
    search, sizes = random_search(np.random.default_rng(seed), 20, 3)
    assert not search.enumerable
    budget = a_budget(search, sizes, 0.5)
    start = tuple(min(group, key=lambda c: (sizes[c], c)) for group in search.choices)
    found = search.best(sizes, budget, 16, [start])
    assert all(sum(sizes[c] for c in taken) <= budget for taken in found)
    assert search.damage(found[0]) < search.damage(start)
    assert found == search.best(sizes, budget, 16, [start])


@pytest.mark.parametrize("seed", range(5))
def test_the_local_search_is_near_the_optimum_of_a_small_case(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    search, sizes = random_search(np.random.default_rng(seed), 8, 1)
    budget = a_budget(search, sizes, 0.5)
    monkeypatch.setattr(gram_search, "ENUMERATED", 1)
    best = search.best(sizes, budget)[0]
    assert search.damage(best) <= 1.5 * brute_force(search, sizes, budget)


# --- what a change adds, exactly: Gram matrices of whole numbers, whose sums have no rounding --------


def whole_search(seed: int, weights: int = 4, clips: int = 2) -> tuple[Search, list[int], np.random.Generator]:
    rng = np.random.default_rng(seed)
    search, sizes = random_search(rng, weights, clips)
    vectors = rng.integers(-9, 10, (len(search.forms), 5))
    return Search(search.choices, search.forms, (vectors @ vectors.T).astype(float)), sizes, rng


def drawn(search: Search, rng: np.random.Generator) -> tuple[int, ...]:
    return tuple(int(rng.choice(options)) for options in search.choices)


def with_choices(search: Search, taken: tuple[int, ...], *choices: int) -> tuple[int, ...]:
    after = list(taken)
    for choice in choices:
        after[next(i for i, options in enumerate(search.choices) if choice in options)] = choice
    return tuple(after)


@pytest.mark.parametrize("seed", range(5))
def test_a_damage_is_the_square_of_the_summed_errors(seed: int) -> None:
    rng = np.random.default_rng(seed)
    search, _ = random_search(rng, 4, 2)
    vectors = rng.integers(-9, 10, (len(search.forms), 5))
    search = Search(search.choices, search.forms, (vectors @ vectors.T).astype(float))
    pool = np.array(list(itertools.product(*search.choices)))
    expected = (vectors[pool].sum(axis=1) ** 2).sum(axis=1)
    assert [search.damage(taken) for taken in pool] == expected.tolist()
    assert search._damages(pool).tolist() == expected.tolist()


def test_a_damage_that_rounding_makes_negative_is_none() -> None:
    search = Search(((0,), (1,)), (8, 8), np.array([[1.0, -1.5], [-1.5, 1.0]]))
    assert search.damage((0, 1)) == 0.0
    assert search._damages(np.array([[0, 1]])).tolist() == [0.0]


@pytest.mark.parametrize("seed", range(5))
def test_a_change_is_the_damage_after_less_the_damage_before(seed: int) -> None:
    search, _, rng = whole_search(seed)
    pool = np.array([drawn(search, rng) for _ in range(20)])
    for weight, options in enumerate(search.choices):
        for choice in options:
            after = pool.copy()
            after[:, weight] = choice
            expected = [search.damage(b) - search.damage(a) for a, b in zip(pool, after, strict=True)]
            assert search._change(pool, weight, choice).tolist() == expected


@pytest.mark.parametrize("seed", range(5))
def test_a_move_is_the_damage_after_less_the_damage_before(seed: int) -> None:
    search, sizes, rng = whole_search(seed)
    taken = drawn(search, rng)
    room = [0, 50, -20, 10**6, 0][seed]
    budget = sum(sizes[c] for c in taken) + room
    reach = search.gram[:, list(taken)].sum(axis=1)
    one, two, owner = search._moves(np.array(taken), np.asarray(sizes), budget, reach)
    assert owner.tolist() == [i for i, options in enumerate(search.choices) for _ in options]

    def expected(*choices: int) -> float:
        after = with_choices(search, taken, *choices)
        fits = sum(sizes[c] for c in after) <= budget
        return search.damage(after) - search.damage(taken) if fits else np.inf

    assert one.tolist() == [expected(c) for c in range(len(owner))]
    for c, d in itertools.product(range(len(owner)), repeat=2):
        assert two[c, d] == (expected(c, d) if owner[c] < owner[d] else np.inf)


@pytest.mark.parametrize("seed", range(8))
def test_neighbours_are_the_best_changes_of_one_or_two_weights(seed: int) -> None:
    search, sizes, rng = whole_search(seed)
    taken = drawn(search, rng)
    budget = sum(sizes[c] for c in taken) + int(rng.integers(0, 60))
    reach = search.gram[:, list(taken)].sum(axis=1)
    gains = {}
    for after in itertools.product(*search.choices):
        changed = sum(a != b for a, b in zip(after, taken, strict=True))
        if changed in (1, 2) and sum(sizes[c] for c in after) <= budget:
            gains[after] = search.damage(after) - search.damage(taken)
    better = sorted(gain for gain in gains.values() if gain < 0)
    for keep in (1, 5, 300):
        found = search.neighbours(taken, reach, sizes, budget, keep)
        assert [gains[after] for after in found] == sorted(gains[after] for after in found)
        assert len(found) <= keep
        if better:
            assert gains[found[0]] == better[0]
        if keep == 300:
            assert {*found} == {after for after, gain in gains.items() if gain < 0}


@pytest.mark.parametrize("seed", range(8))
def test_the_local_search_ends_where_no_flip_and_no_swap_helps(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    search, sizes, rng = whole_search(seed, weights=5)
    budget = a_budget(search, sizes, 0.5)
    start = min((drawn(search, rng) for _ in range(200)), key=lambda taken: sum(sizes[c] for c in taken))
    monkeypatch.setattr(gram_search, "ENUMERATED", 1)
    for starts in ([], [start]):
        best = search.best(sizes, budget, 1, starts)[0]
        reach = search.gram[:, list(best)].sum(axis=1)
        one, two, _ = search._moves(np.array(best), np.asarray(sizes), budget, reach)
        assert min(one.min(), two.min()) >= 0
        assert sum(sizes[c] for c in best) <= budget


def test_of_equal_damage_the_fewer_bytes_come_first_then_the_earlier_choices() -> None:
    search = Search(((0, 1), (2, 3)), (8, 4, 8, 4), np.zeros((4, 4)))
    assert search.best([5, 3, 7, 4], 12, 4) == [(1, 3), (0, 3), (1, 2), (0, 2)]
    assert search.best([5, 5, 7, 7], 12, 4) == [(0, 2), (0, 3), (1, 2), (1, 3)]
    assert search.best([5, 3, 7, 4], 10, 4) == [(1, 3), (0, 3), (1, 2)]
    assert search.best([5, 3, 7, 4], 10, 2) == [(1, 3), (0, 3)]


def test_nothing_fits() -> None:
    search, sizes = random_search(np.random.default_rng(0), 3, 1)
    assert search.best(sizes, 0) == []


def test_nothing_fits_a_local_search(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gram_search, "ENUMERATED", 1)
    search, sizes = random_search(np.random.default_rng(0), 3, 1)
    assert search.best(sizes, 0) == []


def test_a_start_may_take_the_whole_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gram_search, "ENUMERATED", 1)
    assert Search(((0,), (1,)), (8, 8), np.eye(2)).best([5, 3], 8) == [(0, 1)]


# --- which way the local search goes --------------------------------------------------------------------


def walked(search: Search, sizes: list[int], budget: int, taken: tuple[int, ...], beside: int) -> set[tuple[int, ...]]:
    """What a descent meets: each place, and the ``beside`` best flips from it. A flip goes before a swap, then the
    choices that come first."""
    met, owner = {taken}, {choice: weight for weight, options in enumerate(search.choices) for choice in options}
    steps = [(c,) for c in owner] + [(c, d) for c, d in itertools.combinations(owner, 2) if owner[c] != owner[d]]
    while True:
        moves = [(len(choices), choices, with_choices(search, taken, *choices)) for choices in steps]
        fitting = [(search.damage(m[2]), *m) for m in moves if sum(sizes[c] for c in m[2]) <= budget]
        met |= {after for *_, after in sorted(move for move in fitting if move[1] == 1)[:beside]}
        damage, _, _, after = min(fitting)
        if damage >= search.damage(taken):
            return met
        taken = after
        met.add(taken)


@pytest.mark.parametrize("beside", [1, 3, 14])
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("scale", [1.0, 2.0**-80])
def test_a_descent_meets_what_lies_on_its_way(
    seed: int, beside: int, scale: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    search, sizes, rng = whole_search(seed, weights=4)
    search = Search(search.choices, search.forms, search.gram * scale)
    start = drawn(search, rng)
    budget = sum(sizes[c] for c in start) + 40
    monkeypatch.setattr(gram_search, "ENUMERATED", beside)
    met: set[tuple[int, ...]] = set()
    search._descend(np.array(start), np.asarray(sizes), budget, met)
    assert met == walked(search, sizes, budget, start, beside)


@pytest.mark.parametrize(("beside", "on_the_way"), [(14, {(0,), (1,), (2,)}), (0, {(0,), (2,)})])
def test_a_descent_of_one_weight_has_no_swaps(
    beside: int, on_the_way: set[tuple[int, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    search = Search(((0, 1, 2),), (8, 4, 4), np.diag([5.0, 3.0, 1.0]))
    monkeypatch.setattr(gram_search, "ENUMERATED", beside)
    met: set[tuple[int, ...]] = set()
    search._descend(np.array([0]), np.array([1, 1, 1]), 1, met)
    assert met == on_the_way


def test_of_a_flip_and_a_swap_that_gain_the_same_the_flip_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """(0, 3), (1, 2) and (0, 2) are all one better than (1, 3)."""
    gram = np.diag([1.0, 2.0, 1.0, 2.0])
    gram[0, 2] = gram[2, 0] = 0.5
    monkeypatch.setattr(gram_search, "ENUMERATED", 1)
    met: set[tuple[int, ...]] = set()
    Search(((0, 1), (2, 3)), (8, 4, 8, 4), gram)._descend(np.array([1, 3]), np.ones(4, np.int64), 2, met)
    assert met == {(1, 3), (0, 3)}


def test_of_neighbours_that_gain_the_same_the_first_are_kept() -> None:
    search = Search(tuple((2 * i, 2 * i + 1) for i in range(20)), (8, 4) * 20, np.diag([1.0, 0.0] * 20))
    taken, reach = tuple(range(0, 40, 2)), np.array([1.0, 0.0] * 20)
    assert search.neighbours(taken, reach, [1] * 40, 20, 3) == [with_choices(search, taken, 1, d) for d in (3, 5, 7)]
    alone = Search((tuple(range(40)),), (8,) * 40, np.diag([1.0] + [0.0] * 39))
    assert alone.neighbours((0,), np.array([1.0] + [0.0] * 39), [1] * 40, 1, 3) == [(1,), (2,), (3,)]


# --- clip ratios that are descended to ------------------------------------------------------------------


def test_a_descent_of_clip_ratios_begins_with_the_best_of_each_weight(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gram_search, "EXACT", 0)
    monkeypatch.setattr(gram_search, "ROUNDS", 0)
    search = Search(((0, 1, 2), (3, 4, 5)), (4, 4, 4, 4, 4, 4), np.diag([3.0, 1.0, 2.0, 2.0, 2.0, 1.0]))
    assert search.best([1] * 6, 2) == [(1, 5)]


@pytest.mark.parametrize("damage", [0.0, 1.0, 3.0])
def test_a_clip_ratio_that_gains_nothing_is_not_taken(damage: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gram_search, "EXACT", 0)
    search = Search(((0, 1), (2, 3)), (4, 4, 4, 4), np.kron(np.eye(2), np.full((2, 2), damage)))
    assert search.best([1] * 4, 2) == [(0, 2)]


def test_as_many_assignments_as_exact_are_all_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each second choice is worse alone, and both cancel."""
    gram = np.diag([1.0, 2.0, 1.0, 2.0])
    gram[1, 3] = gram[3, 1] = -2.0
    monkeypatch.setattr(gram_search, "EXACT", 4)
    monkeypatch.setattr(gram_search, "ROUNDS", 0)
    assert Search(((0, 1), (2, 3)), (4, 4, 4, 4), gram).best([1] * 4, 2) == [(1, 3)]


def test_one_assignment_is_given_where_no_number_is_said() -> None:
    search, sizes = random_search(np.random.default_rng(0), 3, 1)
    assert len(search.best(sizes, sum(sizes))) == 1
