"""All that is measured of one model of the judging half, as one JSON record."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import numpy as np

from benchmarks.evidence import peers
from benchmarks.evidence.choose import Settings
from benchmarks.evidence.judge import EXHAUSTIVE, Judge, budgets, costs, optimum
from benchmarks.evidence.methods import additive, refinements
from benchmarks.evidence.rivals import rivals
from benchmarks.evidence.zoo import HORIZON, Trained
from edge_tqs.planning.plan import uniform

#: Held-out windows that everything is judged on.
WINDOWS = 32


def measure(trained: Trained, settings: Settings, *, peer: bool = True) -> dict[str, Any]:
    """See docs/evidence.md for what the figures mean; divergences are RMSE, damages mean squares."""
    system, series, member = trained.system, trained.series, trained.member
    windows = series.windows(system.window, HORIZON, WINDOWS, held_out=True)
    judge = Judge(system, windows, HORIZON)
    prices = costs(system)
    limits = budgets(prices)
    damages, plans = additive(system, judge, prices, limits, rivals(trained, settings.draws))
    plans |= refinements(trained, damages["TQS"], judge, prices, limits, settings.seeds)
    every = judge.every(prices) if len(prices) <= EXHAUSTIVE else []
    flat = {width: uniform(prices, dict.fromkeys(prices), width) for width in (8, 4)}
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
        "uniform": {f"int{width}": judge.plan(made) for width, made in flat.items()},
        "bytes": {f"int{width}": made.total_bytes for width, made in flat.items()},
        "peer": peers.measure(trained, windows, judge.nominal) if peer else {"error": "left out"},
    }


def _rmse(a: Any, b: Any) -> float:
    return float(np.sqrt(np.mean(np.square(a - b))))
