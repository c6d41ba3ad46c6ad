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
    widths = [tuple(search.widths[c] for c in taken) for taken in best]
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


def test_nothing_fits() -> None:
    search, sizes = random_search(np.random.default_rng(0), 3, 1)
    assert search.best(sizes, 0) == []
