"""The zoo: every architecture on two series, three training seeds each; one half chooses settings, the other judges.

Each architecture is in both halves, each time on another series; which pair is in which half is fixed here.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.evidence.architectures import ARCHITECTURES
from benchmarks.evidence.data import BUILD, Series, load
from edge_tqs.graph.graph import Graph
from edge_tqs.read.opening import open_model
from edge_tqs.system.reading import Said
from edge_tqs.system.system import System

TRAINING_SEEDS = 3
HORIZON = 48
STEPS = 1_200
BATCH = 64
RATE = 4e-3
#: Noise on the training windows, in standard deviations: it teaches a model to come back, so that its rollouts stay.
NOISE = 0.03

#: architecture: (series on which settings are chosen, series of the tables)
PAIRS = {
    "lstm": ("mackey-glass", "oscillator"),
    "stacked-lstm": ("oscillator", "machine-temperature"),
    "gru": ("ambient-temperature", "lorenz96"),
    "stacked-gru": ("lorenz96", "mackey-glass"),
    "projected-lstm": ("greensboro", "ambient-temperature"),
    "conv-lstm": ("machine-temperature", "greensboro"),
    "tcn": ("mackey-glass", "lorenz96"),
    "mlp": ("lorenz96", "machine-temperature"),
    "n-beats": ("machine-temperature", "ambient-temperature"),
    "dlinear": ("greensboro", "lorenz96"),
    "patchtst": ("ambient-temperature", "mackey-glass"),
    "transformer": ("mackey-glass", "oscillator"),
    "tsmixer": ("lorenz96", "greensboro"),
    "residual-mlp": ("ambient-temperature", "oscillator"),
}


@dataclass(frozen=True)
class Member:
    """One model of the zoo. chooses: whether it is in the half that settings are chosen on. steps: of its training."""

    architecture: str
    series: str
    training_seed: int
    chooses: bool
    steps: int = STEPS

    @property
    def name(self) -> str:
        fewer = "" if self.steps == STEPS else f"_{self.steps}"
        return f"{self.architecture}_{self.series}_{self.training_seed}{fewer}"

    @property
    def file(self) -> Path:
        return BUILD / "models" / f"{self.name}.keras"


@dataclass(frozen=True, eq=False)
class Trained:
    """A member with its Keras model, its series, and the system and the graph that the tool makes of its file."""

    member: Member
    model: Any
    series: Series
    system: System
    graph: Graph | None = None


def members(*, chooses: bool) -> list[Member]:
    """One half of the zoo, the first training seed of every pair first."""
    return [
        Member(architecture, series[0 if chooses else 1], training_seed, chooses)
        for training_seed in range(TRAINING_SEEDS)
        for architecture, series in PAIRS.items()
    ]


def build(member: Member, series: Series) -> Any:
    """The untrained model."""
    import keras

    keras.utils.clear_session()  # layers are numbered anew: the names of weights do not depend on what came before
    keras.utils.set_random_seed(member.training_seed)
    architecture = ARCHITECTURES[member.architecture]
    model = architecture.build(architecture.window, series.channels, series.outputs)
    model.name = member.name
    return model


def kept_model(file: Path, build: Callable[[], Any], train: Callable[[Any], float]) -> Any:
    """The model in ``file``; else one that is built and trained, and kept there with a record of its loss beside it."""
    import keras

    if file.exists():
        return keras.models.load_model(file, compile=False)
    model = build()
    started = time.monotonic()
    loss = train(model)
    file.parent.mkdir(parents=True, exist_ok=True)
    record = {"seconds": time.monotonic() - started, "loss": loss, "parameters": model.count_params()}
    file.with_suffix(".json").write_text(json.dumps(record) + "\n", encoding="utf-8")
    model.save(file)
    return model


def trained(member: Member) -> Trained:
    """The member, trained now or before."""
    series = load(member.series)
    model = kept_model(member.file, lambda: build(member, series), lambda model: _train(model, series, member))
    opened = open_model(member.file, said=Said(feedback=series.feedback))
    return Trained(member, model, series, opened.system, opened.loaded.graph if opened.loaded else None)


def _train(model: Any, series: Series, member: Member) -> float:
    """One-step mean square error over random training windows, with noise on them; the mean loss of the last tenth."""
    import keras
    import tensorflow as tf

    window = model.input_shape[1]
    starts = series.starts(window + 1, held_out=False)
    rng = np.random.default_rng(member.training_seed)
    rate = keras.optimizers.schedules.CosineDecay(RATE, member.steps, alpha=0.02)
    optimizer = keras.optimizers.Adam(rate, clipnorm=1.0)

    @tf.function(autograph=False)
    def step(x: Any, y: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(model(x, training=True) - y))
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        return loss

    losses = []
    for _ in range(member.steps):
        chosen = rng.choice(starts, BATCH)
        rows = series.values[chosen[:, None] + np.arange(window + 1)]
        x = rows[:, :window] + NOISE * rng.standard_normal(rows[:, :window].shape).astype(np.float32)
        losses.append(step(tf.constant(x), tf.constant(rows[:, window, : series.outputs])))
    return float(np.mean([float(loss) for loss in losses[-member.steps // 10 :]]))
