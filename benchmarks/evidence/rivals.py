"""What TQS is compared with: for each weight the damage that a method predicts at 8 and at 4 bits.

Damages of one method are comparable with each other only; all go to the same knapsack over the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from benchmarks.evidence.judge import Judge, rounded
from benchmarks.evidence.zoo import HORIZON, Trained
from edge_tqs.graph.graph import Array
from edge_tqs.planning.plan import predicted_damage
from edge_tqs.planning.score import score
from edge_tqs.system.system import System

#: weight -> width -> predicted damage
Damages = Mapping[str, Mapping[int, float]]
WIDTHS = (8, 4)
#: Training windows that HAWQ-V2 and leave-one-out see.
WINDOWS = 32
HESSIAN_WINDOWS = 256
#: Rademacher vectors of Hutchinson's estimate.
VECTORS = 64


def tqs(system: System, draws: int, horizon: int = HORIZON, windows: Array | None = None) -> Damages:
    """The tool's own score, from zero-data windows unless some are given. Over a single step the loop is left open."""
    found = score(system, horizon=horizon, draws=draws, seeds=windows)
    return scaled({tensor.name: tensor.tqs for tensor in found.tensors})


def scaled(scores: Mapping[str, float]) -> Damages:
    return {name: {width: predicted_damage(value, width) for width in WIDTHS} for name, value in scores.items()}


def leave_one_out(system: System, windows: Array) -> Damages:
    """Measured: the mean square divergence from training windows with one weight rounded."""
    judge = Judge(system, windows, HORIZON)
    by_width = {width: judge.isolated(width) for width in WIDTHS}
    return {source: {width: by_width[width][source] for width in WIDTHS} for source in system.weights}


def weight_error(system: System) -> Damages:
    """||Q(w) - w||^2."""
    return {source: {width: _error(system, source, width) for width in WIDTHS} for source in system.weights}


def random(system: System, draw: int) -> Damages:
    """Scores that are log-uniform over four decades."""
    rng = np.random.default_rng([4, draw])
    return scaled({source: float(10.0 ** rng.uniform(-4, 0)) for source in system.weights})


def hawq_v2(trained: Trained) -> Damages:
    """Average Hessian trace times ||Q(w) - w||^2 (Dong et al., "HAWQ-V2", NeurIPS 2020).

    The Hessian is that of the training loss, the one-step mean square error, over training windows; its trace is
    Hutchinson's estimate.
    """
    model, series, system = trained.model, trained.series, trained.system
    starts = series.starts(system.window + 1, held_out=False)
    chosen = starts[np.linspace(0, len(starts) - 1, HESSIAN_WINDOWS).astype(int)]
    rows = series.values[chosen[:, None] + np.arange(system.window + 1)]
    return hawq_v2_of(system, model, mean_square, rows[:, : system.window], rows[:, system.window, : series.outputs])


def mean_square(made: Any, wanted: Any) -> Any:
    import tensorflow as tf

    return tf.reduce_mean(tf.square(made - wanted))


def hawq_v2_of(system: System, model: Any, loss: Callable[[Any, Any], Any], x: Array, y: Array) -> Damages:
    """As ``hawq_v2``, of any ``loss`` (what the model makes of ``x``, ``y``)."""
    traces = _traces(system, model, loss, x, y)
    return {
        source: {
            width: max(0.0, traces[source]) / system.size(source) * _error(system, source, width) for width in WIDTHS
        }
        for source in system.weights
    }


def _error(system: System, source: str, width: int) -> float:
    changed = rounded(system, source, width)
    return float(sum(np.square(changed[part.name] - part.data).sum() for part in system.weights[source]))


def _traces(
    system: System, model: Any, loss: Callable[[Any, Any], Any], inputs: Array, wanted: Array
) -> dict[str, float]:
    import tensorflow as tf

    x, y = tf.constant(inputs), tf.constant(wanted)
    kernels = [variable for variable in model.trainable_variables if variable.path in system.weights]
    values = [variable.value for variable in kernels]

    @tf.function(autograph=False)
    def products(vectors: list[Any]) -> list[Any]:
        with tf.GradientTape() as outer:
            with tf.GradientTape() as inner:
                lost = loss(model(x, training=False), y)
            gradients = inner.gradient(lost, values)
            slope = tf.add_n([tf.reduce_sum(g * v) for g, v in zip(gradients, vectors, strict=True)])
        curved = outer.gradient(slope, values, unconnected_gradients="zero")
        return [tf.reduce_sum(v * c) for v, c in zip(vectors, curved, strict=True)]

    rng = np.random.default_rng(2)
    found = []
    for _ in range(VECTORS):
        vectors = [tf.constant(rng.choice([-1.0, 1.0], variable.shape).astype(np.float32)) for variable in kernels]
        found.append([float(value) for value in products(vectors)])
    return dict(zip((variable.path for variable in kernels), map(float, np.mean(found, axis=0)), strict=True))


def rivals(trained: Trained, draws: int) -> dict[str, Callable[[], Damages]]:
    """The methods that predict a damage for each weight, by name; ``draws`` of those with noise."""
    system = trained.system
    return {
        "weight error": lambda: weight_error(system),
        "one-step noise": lambda: tqs(system, draws, 1),
        "HAWQ-V2": lambda: hawq_v2(trained),
        "leave-one-out": lambda: leave_one_out(
            system, trained.series.windows(system.window, HORIZON, WINDOWS, held_out=False)
        ),
        "TQS": lambda: tqs(system, draws),
    }
