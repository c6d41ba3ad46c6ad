"""All that is measured of one model of the zoo of kinds, as one JSON record."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import numpy as np

from benchmarks.evidence.choose import Settings
from benchmarks.evidence.evaluate import WINDOWS
from benchmarks.evidence.judge import Judge, budgets, costs
from benchmarks.evidence.kinds.problem import error
from benchmarks.evidence.kinds.truth import apart, judged_system
from benchmarks.evidence.kinds.zoo import Trained, opened
from benchmarks.evidence.methods import REFINEMENTS, additive, compensations, refined
from benchmarks.evidence.rivals import HESSIAN_WINDOWS, hawq_v2_of, leave_one_out, tqs, weight_error
from benchmarks.evidence.rivals import WINDOWS as RIVAL_WINDOWS
from benchmarks.evidence.zoo import HORIZON
from edge_tqs.planning.plan import predicted_damage, uniform
from edge_tqs.planning.score import SEEDS
from edge_tqs.system.seeds import zero_data_seeds

#: What the tool does with ``--rounding nearest``, and the same without clip ratios and bias correction.
REFINED = ("refined", "refined + clip + bias")
#: What it does by default, without data and with it.
COMPENSATED = ("candidates", "candidates, training windows")


def measure(trained: Trained, settings: Settings) -> dict[str, Any]:
    """See docs/evidence-kinds.md for what the figures mean; divergences are RMSE, damages mean squares."""
    system, problem, member = trained.system, trained.problem, trained.member
    judged = judged_system(trained)
    windows = problem.seeds(system.window, HORIZON, WINDOWS, held_out=True)
    judge = Judge(judged, windows, HORIZON)
    prices = costs(judged)
    limits = budgets(prices)

    def training(count: int) -> Any:
        return problem.seeds(system.window, HORIZON, count, held_out=False)

    methods = {
        "weight error": lambda: weight_error(judged),
        "one-step noise": lambda: tqs(system, settings.draws, 1),
        "HAWQ-V2": lambda: hawq_v2_of(judged, trained.model, trained.loss, *trained.examples(HESSIAN_WINDOWS)),
        "leave-one-out": lambda: leave_one_out(judged, training(RIVAL_WINDOWS)),
        "TQS": lambda: tqs(system, settings.draws),
        "TQS, training windows": lambda: tqs(system, settings.draws, windows=training(SEEDS)),
    }
    damages, plans = additive(judged, judge, prices, limits, methods)
    scores = {name: by[8] / predicted_damage(1.0, 8) for name, by in damages["TQS"].items()}
    seeds = zero_data_seeds(system, settings.seeds, HORIZON, 0)
    for name in REFINED:
        plans[name] = refined(system, scores, judge, prices, limits, seeds=seeds, settings=REFINEMENTS[name])
    flat = {width: uniform(prices, dict.fromkeys(prices), width) for width in (8, 4)}
    # Codes are those of the graph's tensors, so the graph is what they are judged in; ``graph_apart`` says how far that
    # is from the Keras model.
    own, graph = opened(member, problem)
    in_graph = Judge(own, windows, HORIZON)
    found, compensated = compensations(
        own, graph, training, scores, in_graph, prices, limits, settings.seeds, names=COMPENSATED
    )
    plans |= found
    truth = problem.truth(system.window, HORIZON, WINDOWS, held_out=True)
    return {
        **asdict(member),
        "parameters": trained.model.count_params(),
        "training": json.loads(member.file.with_suffix(".json").read_text(encoding="utf-8")),
        "weights": list(prices),
        "bias": system.output_bias is not None,
        "apart": apart(trained, judged, windows, HORIZON),
        "graph_apart": float(np.abs(in_graph.nominal - judge.nominal).max()),
        "error": {
            "model": error(judge.nominal, truth, classes=bool(problem.edges)),
            "naive": problem.naive_error(system.window, HORIZON, WINDOWS),
            "by": problem.naive,
        },
        "largest": float(np.abs(judge.nominal).max()),
        "isolated": list(judge.isolated(4).values()),
        "expected": list(judge.expected().values()),
        "damages": {name: [by[4] for by in damage.values()] for name, damage in damages.items()},
        "plans": plans,
        "uniform": {f"int{width}": judge.plan(made) for width, made in flat.items()} | compensated,
        "bytes": {f"int{width}": made.total_bytes for width, made in flat.items()},
    }
