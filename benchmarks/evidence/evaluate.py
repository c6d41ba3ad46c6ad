"""All that is measured of one model of the judging half, as one JSON record."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import numpy as np

from benchmarks.evidence import peers, whole
from benchmarks.evidence.choose import Settings
from benchmarks.evidence.judge import EXHAUSTIVE, Judge, budgets, file_costs, optimum
from benchmarks.evidence.methods import additive, compensations, refinements
from benchmarks.evidence.rivals import rivals
from benchmarks.evidence.zoo import HORIZON, Trained
from edge_tqs.planning.plan import predicted_damage, uniform

#: Held-out windows that everything is judged on.
WINDOWS = 32
#: Training seeds whose models are compensated, built whole and given to peers, which takes longest.
WHOLE_SEEDS = (0,)


def measure(trained: Trained, settings: Settings, *, peer: bool = True) -> dict[str, Any]:
    """See docs/evidence.md for what the figures mean; divergences are RMSE, damages mean squares."""
    system, series, member = trained.system, trained.series, trained.member
    windows = series.windows(system.window, HORIZON, WINDOWS, held_out=True)
    judge = Judge(system, windows, HORIZON)
    assert trained.graph is not None
    prices = file_costs(trained.graph)
    limits = budgets(prices)
    damages, plans = additive(system, judge, prices, limits, rivals(trained, settings.draws))
    plans |= refinements(trained, damages["TQS"], judge, prices, limits, settings.seeds)
    whole_models = member.training_seed in WHOLE_SEEDS
    flat = {f"int{width}": judge.plan(uniform(prices, dict.fromkeys(prices), width)) for width in (8, 4)}
    if whole_models:
        scores = {name: by[8] / predicted_damage(1.0, 8) for name, by in damages["TQS"].items()}

        def training(count: int) -> Any:
            return series.windows(system.window, HORIZON, count, held_out=False)

        graph = trained.graph
        found, compensated = compensations(system, graph, training, scores, judge, prices, limits, settings.seeds)
        plans, flat = plans | found, flat | compensated
    every = judge.every(prices) if len(prices) <= EXHAUSTIVE else []
    truth = series.truth(system.window, HORIZON, WINDOWS, held_out=True)
    persistence = np.repeat(windows[:, system.window - 1 : system.window, : series.outputs], HORIZON, axis=1)
    return {
        **asdict(member),
        "parameters": trained.model.count_params(),
        "training": json.loads(member.file.with_suffix(".json").read_text(encoding="utf-8")),
        "weights": list(prices),
        "bias": system.output_bias is not None,
        "error": {"model": _rmse(judge.nominal, truth), "persistence": _rmse(persistence, truth)},
        "largest": float(np.abs(judge.nominal).max()),
        "isolated": list(judge.isolated(4).values()),
        "expected": list(judge.expected().values()),
        "damages": {name: [by[4] for by in damage.values()] for name, damage in damages.items()},
        "optimum": {share: optimum(every, most) for share, most in limits.items()} if every else None,
        "plans": plans,
        "uniform": flat,
        "bytes": {f"int{width}": sum(options[width] for options in prices.values()) for width in (8, 4)},
        "whole": whole.measure(trained, windows, judge.nominal, truth) if whole_models else None,
        "peer": peers.measure(trained, windows, judge.nominal) if peer and whole_models else {"error": "left out"},
    }


def _rmse(a: Any, b: Any) -> float:
    return float(np.sqrt(np.mean(np.square(a - b))))
