"""What the judge rolls out: the Keras model itself, by loops that share nothing with what is scored.

A window at a time is cut out of the samples with numpy and given to the model; a sequence is given whole, from states
of zero, and its last T answers count; what is fed back goes into a window sample by sample. Weights are the model's own
variables, set before a rollout and put back after it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks.evidence.kinds.zoo import Trained
from edge_tqs.graph.graph import Array
from edge_tqs.system.system import Part, Rollouts, System


def judged_system(trained: Trained) -> System:
    """The same weights under the same names as the scored system; its rollouts are Keras' own."""
    import tensorflow as tf

    model, member, problem = trained.model, trained.member, trained.problem
    variables = {variable.path: variable for variable in model.variables}
    own = {path: np.array(variable.numpy()) for path, variable in variables.items()}
    # Kernels of Dense, convolutions, LSTM and GRU: an output channel is an index of the last axis.
    weights = {path: (Part(path, own[path], (own[path].ndim - 1,)),) for path in trained.system.weights}
    bias = getattr(model.layers[-1], "bias", None)
    call = tf.function(lambda x: model(x, training=False), autograph=False, reduce_retracing=True)

    def answers(x: Array) -> Array:
        found: Array = call(tf.constant(np.ascontiguousarray(x, np.float32))).numpy()
        return found

    def roll(seeds: Array, horizon: int) -> Array:
        window, count = member.window, len(seeds)
        if member.sequence:
            return answers(seeds[:, : window + horizon - 1])[:, window - 1 :]
        if problem.held is None:
            each = np.concatenate([seeds[:, t : t + window] for t in range(horizon)])  # all of one time after another
            return answers(each).reshape(horizon, count, -1).transpose(1, 0, 2)
        seen, said = np.array(seeds[:, :window]), []
        for _ in range(horizon):
            said.append(answers(seen))
            sample = seen[:, -1].copy()
            sample[:, list(problem.targets)] = said[-1]  # inputs are the columns, in their order
            seen = np.concatenate([seen[:, 1:], sample[:, None]], axis=1)
        return np.stack(said, axis=1)

    @contextmanager
    def changed_to(changed: Mapping[str, Array]) -> Iterator[None]:
        for path, data in changed.items():
            variables[path].assign(data)
        try:
            yield
        finally:
            for path in changed:
                variables[path].assign(own[path])

    def trace(horizon: int, _: int) -> Rollouts:
        def run(changed: Mapping[str, Array], seeds: Array) -> Array:
            with changed_to(changed):
                return roll(seeds, horizon)

        return run

    return replace(
        trained.system,
        weights=weights,
        output_bias=None if bias is None else Part(bias.path, own[bias.path], (0,)),
        trace=trace,
        roll=roll,
    )


def apart(trained: Trained, judged: System, seeds: Array, horizon: int) -> float:
    """Largest difference of the rollouts that are scored from the judge's, in standard deviations."""
    scored: Any = trained.system.roll(seeds, horizon)
    return float(np.abs(scored - judged.roll(seeds, horizon)).max())
