"""The settings, chosen on one half of the zoo; the tables are of the other half.

Two are up for choice: draws of the score, by the median rank correlation with the expected int4 damage; and seeds of
the refinement, by the geometric mean of its divergence over that of HAWQ-V2's plan. Of equally good ones the cheaper is
taken: within TOLERANCE.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from benchmarks.evidence.judge import Judge, budgets, file_costs
from benchmarks.evidence.methods import knapsack, refined
from benchmarks.evidence.rivals import hawq_v2
from benchmarks.evidence.statistics import geometric_mean, median, spearman
from benchmarks.evidence.zoo import HORIZON, Trained
from edge_tqs.planning.refine import RefineSettings
from edge_tqs.planning.score import score
from edge_tqs.system.seeds import zero_data_seeds

DRAWS = (8, 16, 32)
SEEDS = (16, 48, 96)
TOLERANCE = 0.01


@dataclass(frozen=True)
class Settings:
    """draws: noises a weight of the score. seeds: zero-data windows that the refinement measures on."""

    draws: int = 16
    seeds: int = 48


def measure(trained: Trained, windows: int) -> dict[str, Any]:
    """Of one model of the choosing half, what each candidate gives."""
    system = trained.system
    judge = Judge(system, trained.series.windows(system.window, HORIZON, windows, held_out=True), HORIZON)
    assert trained.graph is not None
    prices = file_costs(trained.graph)
    limits = budgets(prices)
    expected = list(judge.expected().values())
    by_draws, scores = {}, {}
    for draws in DRAWS:
        scores = {tensor.name: tensor.tqs for tensor in score(system, horizon=HORIZON, draws=draws).tensors}
        by_draws[draws] = spearman(list(scores.values()), expected)
    hawq = hawq_v2(trained)
    rival = {share: judge.plan(knapsack(hawq, prices, most)) for share, most in limits.items()}
    by_seeds = {}
    for count in SEEDS:
        seeds = zero_data_seeds(system, count, HORIZON, 0)
        found = refined(system, scores, judge, prices, limits, seeds=seeds, settings=RefineSettings())
        by_seeds[count] = [found["divergence"][share] / rival[share] for share in limits]
    return {"draws": by_draws, "seeds": by_seeds}


def choose(records: list[dict[str, Any]]) -> tuple[Settings, dict[str, dict[int, float]]]:
    """The settings, and what each candidate gave. Records are as ``measure`` gives them, keys as text."""
    by_draws = {draws: median([record["draws"][str(draws)] for record in records]) for draws in DRAWS}
    by_seeds = {
        count: geometric_mean([ratio for record in records for ratio in record["seeds"][str(count)]]) for count in SEEDS
    }
    draws = min(count for count in DRAWS if by_draws[count] >= max(by_draws.values()) - TOLERANCE)
    seeds = min(count for count in SEEDS if by_seeds[count] <= min(by_seeds.values()) * (1 + TOLERANCE))
    return Settings(draws, seeds), {"draws": by_draws, "seeds": by_seeds}
