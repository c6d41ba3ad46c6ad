"""CPU seconds of each method as models and horizons grow. Models are untrained: time does not depend on it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from benchmarks.evidence.data import load
from benchmarks.evidence.judge import budgets, costs
from benchmarks.evidence.rivals import hawq_v2
from benchmarks.evidence.zoo import HORIZON, Member, Trained
from edge_tqs.planning.refine import SEEDS, Refiner
from edge_tqs.planning.score import score
from edge_tqs.read.keras.system import keras_system
from edge_tqs.system.reading import Said
from edge_tqs.system.seeds import zero_data_seeds

WINDOW = 16
SERIES = "mackey-glass"
#: Hidden layers of 32 units.
LAYERS = (2, 4, 8, 16, 32)
#: Units of the hidden layers whose three weights have about 10^4 to 10^7 parameters.
UNITS = (64, 220, 700, 2228)
HORIZONS = (12, 24, 48, 96, 192)


def measure() -> dict[str, Any]:
    """{axis: [{size, parameters, weights, seconds: {method: s}}]}; the scores' seconds hold tracing and compiling."""
    return {
        "weights": [_times([32] * layers, HORIZON) for layers in LAYERS],
        "parameters": [_times([units] * 3, HORIZON) for units in UNITS],
        "horizon": [_times([32] * 4, horizon) for horizon in HORIZONS],
    }


def _times(units: list[int], horizon: int) -> dict[str, Any]:
    trained = _untrained(units)
    system = trained.system
    seconds = {}
    seconds["TQS"], sensitivity = _timed(lambda: score(system, horizon=horizon))
    seconds["HAWQ-V2"], _ = _timed(lambda: hawq_v2(trained))
    scores = {tensor.name: tensor.tqs for tensor in sensitivity.tensors}

    def refine() -> None:
        prices = costs(system)
        seeds = zero_data_seeds(system, SEEDS, horizon, 0)
        Refiner(system, scores, prices, seeds, horizon).plan(budgets(prices)[50])

    seconds["refined"], _ = _timed(refine)
    return {
        "parameters": trained.model.count_params(),
        "weights": len(system.weights),
        "horizon": horizon,
        "seconds": seconds,
    }


def _untrained(units: list[int]) -> Trained:
    import keras

    keras.utils.clear_session()
    keras.utils.set_random_seed(0)
    series = load(SERIES)
    x = inputs = keras.layers.Input((WINDOW, series.channels))
    x = keras.layers.Flatten()(x)
    for width in units:
        x = keras.layers.Dense(width, activation="tanh")(x)
    model = keras.Model(inputs, keras.layers.Dense(series.outputs)(x), name="mlp")
    return Trained(Member("mlp", SERIES, 0, False), model, series, keras_system(model, Said(feedback=series.feedback)))


def _timed(call: Callable[[], Any]) -> tuple[float, Any]:
    started = time.process_time()
    made = call()
    return time.process_time() - started, made
