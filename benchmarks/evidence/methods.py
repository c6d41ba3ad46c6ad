"""Plans of every method for one model under every budget, and what the judge says of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any

from benchmarks.evidence.judge import Coded, Judge
from benchmarks.evidence.rivals import Damages, random
from benchmarks.evidence.zoo import HORIZON, Trained
from edge_tqs.graph.graph import Array, Graph
from edge_tqs.planning.file import Origin
from edge_tqs.planning.plan import Costs, Plan, plan, predicted_damage
from edge_tqs.planning.refine import Refiner, RefineSettings
from edge_tqs.planning.roundings import WINDOWS, Roundings
from edge_tqs.quantization.sizes import one_scale_bytes
from edge_tqs.system.seeds import noise, zero_data_seeds
from edge_tqs.system.system import System

#: Random plans, of whose divergence the geometric mean counts.
RANDOM_PLANS = 8
#: What the refinement adds, part by part; the last is the tool's default.
REFINEMENTS = {
    "TQS, verified": RefineSettings(gram=False, clip=False, bias_correction=False),
    "refined": RefineSettings(clip=False, bias_correction=False),
    "refined + clip": RefineSettings(bias_correction=False),
    "refined + clip + bias": RefineSettings(),
}
#: Two of them again, measured on training windows, which HAWQ-V2 has too, in place of zero-data ones.
ON_DATA = {f"{name}, training windows": REFINEMENTS[name] for name in ("refined", "refined + clip + bias")}
#: Compensated rounding, one recipe for all weights and then the candidates: settings, whether data is seen, and whether
#: a weight may have one scale.
COMPENSATIONS = {
    "compensated": (RefineSettings(candidates=False), False, False),
    "candidates": (RefineSettings(), False, False),
    "candidates, one scale too": (RefineSettings(), False, True),
    "candidates, training windows": (RefineSettings(), True, False),
}
#: Of those, what all weights at one width are rounded by: one scale is for plans alone.
UNIFORM = tuple(name for name, (_, _, one_scale) in COMPENSATIONS.items() if not one_scale)


def knapsack(damages: Damages, prices: Costs, budget: int) -> Plan:
    """The plan of least total damage within ``budget``, by the tool's own knapsack.

    It takes scores, from which the damage at each width follows by a fixed ratio. Of two widths only the difference of
    their damages counts, so the score that has this difference gives the plan of these damages.
    """
    unit = predicted_damage(1.0, 4) - predicted_damage(1.0, 8)
    return plan({name: max(0.0, by[4] - by[8]) / unit for name, by in damages.items()}, prices, budget)


def additive(
    system: System,
    judge: Judge,
    prices: Costs,
    budgets: Mapping[int, int],
    methods: Mapping[str, Callable[[], Damages]],
) -> tuple[dict[str, Damages], dict[str, dict[str, Any]]]:
    """Damages by method, and {method: {divergence: {share: RMSE}, seconds}} of their plans."""
    damages, found = {}, {}
    for name, method in methods.items():
        started = time.process_time()
        damages[name] = method()
        seconds = time.process_time() - started
        divergence = {share: judge.plan(knapsack(damages[name], prices, most)) for share, most in budgets.items()}
        found[name] = {"divergence": divergence, "seconds": seconds}
    drawn = [random(system, draw) for draw in range(RANDOM_PLANS)]
    by_share = {
        share: [judge.plan(knapsack(damage, prices, most)) for damage in drawn] for share, most in budgets.items()
    }
    found["random"] = {"divergence": by_share, "seconds": 0.0}
    return damages, found


def refined(
    system: System,
    scores: Mapping[str, float],
    judge: Judge,
    prices: Costs,
    budgets: Mapping[int, int],
    *,
    seeds: Array,
    settings: RefineSettings,
) -> dict[str, Any]:
    """{divergence: {share: RMSE}, seconds}: of all budgets together, without the score that it starts from."""
    return _timed(lambda: Refiner(system, scores, prices, seeds, HORIZON, settings=settings), judge, budgets)[1]


def _timed(
    make: Callable[[], Refiner], judge: Judge, budgets: Mapping[int, int], coded: Coded | None = None
) -> tuple[Refiner, dict[str, Any]]:
    """The refiner that ``make`` gives, and what ``refined`` says of its plans; making it is in the seconds."""
    started = time.process_time()
    refiner = make()
    plans = {share: refiner.plan(most) for share, most in budgets.items()}
    seconds = time.process_time() - started
    return refiner, {
        "divergence": {share: judge.plan(made, coded) for share, made in plans.items()},
        "seconds": seconds,
    }


def compensations(
    system: System,
    graph: Graph,
    training: Callable[[int], Array],
    scores: Mapping[str, float],
    judge: Judge,
    prices: Costs,
    budgets: Mapping[int, int],
    count: int,
    names: Collection[str] = tuple(COMPENSATIONS),
) -> tuple[dict[str, dict[str, Any]], dict[str, float]]:
    """Of COMPENSATIONS, those in ``names``: plans as ``refined`` gives them, and (form, way) the divergence of one
    width for all. ``system`` is that of ``graph``; ``training`` gives so many training windows.

    "training windows": compensated over them, and measured on as many of them.
    """
    found, flat = {}, {}
    one = one_scale_bytes(graph, prices)
    for name in names:
        settings, on_data, may = COMPENSATIONS[name]
        if on_data:
            seeds = training(count)
            windows, origin = seeds, Origin("data", len(seeds), HORIZON, 0)
        else:
            seeds = zero_data_seeds(system, count, HORIZON, 0)
            windows, origin = noise(system, WINDOWS, HORIZON, 0), Origin("zero-data", WINDOWS, HORIZON, 0)
        roundings = Roundings(graph, lambda windows=windows: windows, origin)  # type: ignore[misc]
        coded = Coded(graph, roundings)
        make = partial(
            Refiner,
            system,
            scores,
            prices,
            seeds,
            HORIZON,
            settings=settings,
            roundings=roundings,
            one_scale=(lambda: one) if may else None,
        )
        refiner, found[name] = _timed(make, judge, budgets, coded)
        for width in (8, 4) if name in UNIFORM else ():
            flat[f"int{width} {name}"] = judge.plan(refiner.uniform(width), coded)
    return found, flat


def refinements(
    trained: Trained,
    damages: Damages,
    judge: Judge,
    prices: Costs,
    budgets: Mapping[int, int],
    count: int,
) -> dict[str, dict[str, Any]]:
    """``refined`` of each of REFINEMENTS, from ``count`` zero-data windows, and of ON_DATA, from as many real ones."""
    system = trained.system
    scores = {name: by[8] / predicted_damage(1.0, 8) for name, by in damages.items()}
    zero = zero_data_seeds(system, count, HORIZON, 0)
    found = {
        name: refined(system, scores, judge, prices, budgets, seeds=zero, settings=settings)
        for name, settings in REFINEMENTS.items()
    }
    real = trained.series.windows(system.window, HORIZON, count, held_out=False)
    found |= {
        name: refined(system, scores, judge, prices, budgets, seeds=real, settings=settings)
        for name, settings in ON_DATA.items()
    }
    return found
