"""The zoo of kinds: each kind with one or two architectures, each on two series as in the zoo of closed loops.

The first series of a pair is of the choosing half. Nothing is chosen here: settings are those that were chosen for
closed loops. That half is for trying the bench itself, as `--quick` does; the tables are of the other half alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.evidence.architectures import ARCHITECTURES, Architecture
from benchmarks.evidence.data import BUILD, Series, load
from benchmarks.evidence.kinds import problem as problems
from benchmarks.evidence.kinds.architectures import AUTOENCODERS, FILTERS
from benchmarks.evidence.kinds.problem import Problem
from benchmarks.evidence.rivals import mean_square
from benchmarks.evidence.zoo import BATCH, NOISE, RATE, kept_model
from edge_tqs.graph.graph import Array, Graph
from edge_tqs.read.keras.system import keras_system
from edge_tqs.read.opening import open_model
from edge_tqs.system.system import System

#: Half of those of a closed loop.
STEPS = 600
KNOWN: dict[str, Architecture] = {**ARCHITECTURES, **AUTOENCODERS, **FILTERS}

PROBLEMS: dict[str, Callable[[Series], Problem]] = {
    "soft sensor": problems.soft_sensor,
    "direct": problems.direct,
    "lag": problems.lagged,
    "reconstruction": problems.reconstruction(AUTOENCODERS["autoencoder"].window),
    "classes": problems.classes,
    "filter": problems.filtering,
    "partly fed back": problems.partly_fed_back,
}

#: (kind, architecture): (series of the choosing half, series of the tables)
PAIRS = {
    ("soft sensor", "gru"): ("oscillator", "lorenz96"),
    ("direct", "tcn"): ("lorenz96", "greensboro"),
    ("lag", "stacked-gru"): ("ambient-temperature", "mackey-glass"),
    ("reconstruction", "autoencoder"): ("oscillator", "lorenz96"),
    ("classes", "residual-mlp"): ("oscillator", "lorenz96"),
    ("filter", "gru-filter"): ("lorenz96", "oscillator"),
    ("partly fed back", "tcn"): ("greensboro", "lorenz96"),
    ("soft sensor", "tcn"): ("greensboro", "oscillator"),
    ("direct", "mlp"): ("greensboro", "oscillator"),
    ("lag", "n-beats"): ("machine-temperature", "ambient-temperature"),
    ("reconstruction", "lstm-autoencoder"): ("greensboro", "oscillator"),
    ("classes", "conv-lstm"): ("lorenz96", "greensboro"),
    ("filter", "tcn-filter"): ("mackey-glass", "greensboro"),
}


@dataclass(frozen=True)
class Member:
    """One model of the zoo of kinds. steps: that it is trained for."""

    kind: str
    architecture: str
    series: str
    chooses: bool
    training_seed: int = 0
    steps: int = STEPS

    @property
    def name(self) -> str:
        kind = self.kind.replace(" ", "-")
        return f"{kind}_{self.architecture}_{self.series}_{self.training_seed}_{self.steps}"

    @property
    def file(self) -> Path:
        return BUILD / "models" / f"{self.name}.keras"

    @property
    def window(self) -> int:
        return KNOWN[self.architecture].window

    @property
    def sequence(self) -> bool:
        """Whether it answers to each sample of a sequence, with states, or delay lines, on the device."""
        return self.architecture in FILTERS


@dataclass(frozen=True, eq=False)
class Trained:
    """A member with its Keras model, its problem, and the system that is scored."""

    member: Member
    model: Any
    problem: Problem
    system: System

    @property
    def loss(self) -> Callable[[Any, Any], Any]:
        """The one that it was trained with, of (answer, label)."""
        return cross_entropy if self.problem.edges else mean_square

    def examples(self, count: int) -> tuple[Array, Array]:
        """Evenly spaced training windows, or sequences, and their labels."""
        starts = self.problem.starts(_length(self.member), held_out=False)
        return _examples(self.member, self.problem, starts[np.linspace(0, len(starts) - 1, count).astype(int)])


def members(*, chooses: bool) -> list[Member]:
    """One half of the zoo."""
    return [
        Member(kind, architecture, series[0 if chooses else 1], chooses)
        for (kind, architecture), series in PAIRS.items()
    ]


def cross_entropy(made: Any, wanted: Any) -> Any:
    import tensorflow as tf

    return -tf.reduce_mean(tf.reduce_sum(wanted * tf.math.log(made + 1e-7), axis=-1))


def trained(member: Member) -> Trained:
    """The member, trained now or before."""
    problem = PROBLEMS[member.kind](load(member.series))
    model = kept_model(member.file, lambda: build(member, problem), lambda model: _train(model, member, problem))
    system = opened(member, problem)[0] if member.sequence else keras_system(model, problem.said)
    return Trained(member, model, problem, system)


def opened(member: Member, problem: Problem) -> tuple[System, Graph]:
    """What the tool makes of the trained member's file: a sequence a sample at a time, as it runs on the device."""
    if member.sequence:
        found = open_model(member.file, recurrence="stateful", window=member.window, said=problem.said)
    else:
        found = open_model(member.file, said=problem.said)
    assert found.loaded is not None
    return found.system, found.loaded.graph


def build(member: Member, problem: Problem) -> Any:
    """The untrained model."""
    import keras

    keras.utils.clear_session()
    keras.utils.set_random_seed(member.training_seed)
    model = KNOWN[member.architecture].build(member.window, problem.channels, problem.outputs)
    if problem.edges:
        model = keras.Model(model.input, keras.layers.Softmax()(model.output))
    model.name = member.name
    return model


def _length(member: Member) -> int:
    """Samples of a training example. A sequence is as long again as what comes before its first answer."""
    return member.window * (2 if member.sequence else 1)


def _examples(member: Member, problem: Problem, starts: Array) -> tuple[Array, Array]:
    length = _length(member)
    newest = starts[:, None] + np.arange(length) if member.sequence else starts + length - 1
    x, y = problem.windows(starts, length), problem.labels(newest)
    if member.kind == "reconstruction":
        y = y.reshape(x.shape)
    return x, y


def _train(model: Any, member: Member, problem: Problem) -> float:
    """The mean loss of the last tenth; batches, rate and noise are those of the closed loops."""
    import keras
    import tensorflow as tf

    starts = problem.starts(_length(member), held_out=False)
    rng = np.random.default_rng(member.training_seed)
    rate = keras.optimizers.schedules.CosineDecay(RATE, member.steps, alpha=0.02)
    optimizer = keras.optimizers.Adam(rate, clipnorm=1.0)
    loss_of = cross_entropy if problem.edges else mean_square

    @tf.function(autograph=False)
    def step(x: Any, y: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = loss_of(model(x, training=True), y)
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        return loss

    losses = []
    for _ in range(member.steps):
        x, y = _examples(member, problem, rng.choice(starts, BATCH))
        x = x + NOISE * rng.standard_normal(x.shape).astype(np.float32)
        losses.append(step(tf.constant(x), tf.constant(y)))
    return float(np.mean([float(loss) for loss in losses[-max(1, member.steps // 10) :]]))
