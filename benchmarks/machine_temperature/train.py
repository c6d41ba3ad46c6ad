"""Train the forecaster of this example: a recurrent network that predicts the next half-hour mean.

    python train.py                 # makes machine_temperature.keras: a minute and a half on one core
    python train.py --seed 1        # another seed, for comparison

It is trained in closed loop: first on one step, then on rollouts of 8 and of 24 steps that feed on their own
predictions. The last fifth of the training part is not fitted to: it is for validation. README.md tells what was tried
and how this one was chosen.

Every random number comes from the seed, and TensorFlow runs deterministically on one thread: one machine gives the same
weights again.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import keras
import numpy as np
import tensorflow as tf

from edge_tqs.project.series import Series, normalise, read_series, standard_scaling, train_rows, windows
from edge_tqs.project.series_format import SeriesFormat

HERE = Path(__file__).parent
WINDOW = 16  # eight hours
HORIZON = 96  # two days
#: layers before the head: (kind, units)
LAYERS = (("gru", 64), ("dense", 128), ("dense", 64))
SEED = 0
VALIDATION_FRACTION = 0.2  # of the training part, its end
ROLLOUTS = 200  # windows that an error is the mean of
BATCH = 128
#: (steps of a rollout, batches, learning rate at the start; it falls to a tenth)
SCHEDULE = ((1, 600, 2e-3), (8, 300, 1e-3), (24, 400, 1e-3))
INPUT_NOISE = 0.15  # standard deviations
WEIGHT_DECAY = 1e-3
#: part of the windows that are moved (none: see README.md for what a quarter does), and how far at most: see vary
MOVED, GAIN, SHIFT = 0.0, 0.5, 2.0

Rollout = Callable[[tf.Tensor, int], tf.Tensor]


def forecaster(layers: Sequence[tuple[str, int]]) -> keras.Model:
    """(N, WINDOW, 1) -> (N, 1), both in standard deviations of the training part."""
    recurrent = [index for index, (kind, _) in enumerate(layers) if kind != "dense"]
    stack: list[Any] = [keras.Input((WINDOW, 1), name="temperature")]
    for index, (kind, units) in enumerate(layers):
        if kind == "dense":
            stack.append(keras.layers.Dense(units, activation="relu", name=f"dense_{index}"))
        else:
            layer = {"gru": keras.layers.GRU, "lstm": keras.layers.LSTM}[kind]
            stack.append(layer(units, return_sequences=index != recurrent[-1], name=f"{kind}_{index}"))
    stack.append(keras.layers.Dense(1, name="head"))
    return keras.Sequential(stack, name="machine_temperature")


def closed_loop(model: keras.Model) -> Rollout:
    """The model fed its own forecasts: windows (N, WINDOW, 1), steps -> forecasts (N, steps, 1)."""

    def rollout(window: tf.Tensor, steps: int) -> tf.Tensor:
        def advance(step: tf.Tensor, window: tf.Tensor, outputs: tf.TensorArray) -> tuple[Any, ...]:
            y = model(window, training=True)
            return step + 1, tf.concat([window[:, 1:], y[:, None]], axis=1), outputs.write(step, y)

        outputs = tf.TensorArray(tf.float32, steps, element_shape=(None, 1))
        *_, outputs = tf.while_loop(
            lambda step, *_: step < steps,
            advance,
            (tf.constant(0), window, outputs),
            shape_invariants=(tf.TensorShape([]), tf.TensorShape([None, WINDOW, 1]), tf.TensorShape(None)),
            maximum_iterations=steps,
        )
        return tf.transpose(outputs.stack(), (1, 0, 2))

    compiled: Rollout = tf.function(rollout)
    return compiled


def vary(rng: np.random.Generator, window: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Put noise on all windows, and move a part MOVED of them, with what follows, to another level and swing."""
    shape = (len(window), 1, 1)
    moved = rng.random(shape) < MOVED
    gain = np.where(moved, rng.uniform(1 - GAIN, 1 + GAIN, shape), 1.0)
    shift = np.where(moved, rng.uniform(-SHIFT, SHIFT, shape), 0.0)
    noise = rng.normal(0.0, INPUT_NOISE, window.shape)
    return (gain * window + shift + noise).astype(np.float32), (gain * truth + shift).astype(np.float32)


def train(model: keras.Model, rollout: Rollout, values: np.ndarray, seed: int) -> None:
    """Fit ``model`` to ``values`` (rows, 1), normalised."""
    rng = np.random.default_rng(seed)
    for steps, batches, rate in SCHEDULE:
        decay = keras.optimizers.schedules.CosineDecay(rate, batches, alpha=0.1)
        optimizer = keras.optimizers.AdamW(decay, weight_decay=WEIGHT_DECAY, global_clipnorm=1.0)
        optimizer.build(model.trainable_variables)

        @tf.function
        def fit(window: tf.Tensor, truth: tf.Tensor, steps: int = steps, optimizer: Any = optimizer) -> tf.Tensor:
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(tf.square(rollout(window, steps) - truth))
            optimizer.apply_gradients(
                zip(tape.gradient(loss, model.trainable_variables), model.trainable_variables, strict=True)
            )
            return loss

        origins = np.arange(WINDOW, len(values) - steps + 1)
        losses = []
        for _ in range(batches):
            batch = rng.choice(origins, BATCH, replace=False)
            window = np.stack([values[origin - WINDOW : origin] for origin in batch])
            truth = np.stack([values[origin : origin + steps] for origin in batch])
            losses.append(float(fit(*map(tf.constant, vary(rng, window, truth)))))
        print(f"rollouts of {steps}: loss {np.mean(losses[-50:]):.4f}", flush=True)


def errors(rollout: Rollout, seeds: np.ndarray, truth: np.ndarray) -> dict[str, np.ndarray]:
    """Mean squared error at each step, (HORIZON,), of the forecaster and of what it should beat."""
    forecasts = {
        "forecaster": rollout(tf.constant(seeds), HORIZON).numpy(),
        "persistence": np.repeat(seeds[:, -1:], HORIZON, axis=1),
        "training mean": np.zeros_like(truth),
    }
    return {name: np.mean(np.square(values - truth), axis=(0, 2)) for name, values in forecasts.items()}


def report(series: Series, rollout: Rollout, fitted: int, rows: int) -> None:
    """Print the errors on the validation part (rows ``fitted`` to ``rows``) and on the test part (the rest)."""
    scaling = standard_scaling(series, rows)
    validation = series.first(rows)
    for part, source, begin in (("validation", validation, fitted), ("test", series, rows)):
        seeds, truth = windows(source, WINDOW, HORIZON, ROLLOUTS, rows=begin, scaling=scaling)
        for name, error in errors(rollout, seeds, truth).items():
            print(f"{part}, {name}: MSE over 8 steps {error[:8].mean():.3f}, over {HORIZON} steps {error.mean():.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=HERE / "machine_temperature.keras")
    parser.add_argument("--seed", type=int, default=SEED)
    options = parser.parse_args()
    keras.utils.set_random_seed(options.seed)
    tf.config.experimental.enable_op_determinism()
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)

    series = read_series(HERE / "machine_temperature.csv", ["temperature"], SeriesFormat(time=False))
    rows = train_rows(series)
    fitted = rows - round(rows * VALIDATION_FRACTION)
    values = normalise(series.values, standard_scaling(series, rows))
    print(f"{fitted} rows to fit, {rows - fitted} for validation, {series.rows - rows} for test", flush=True)
    model = forecaster(LAYERS)
    rollout = closed_loop(model)
    train(model, rollout, values[:fitted], options.seed)
    model.save(options.out)
    report(series, rollout, fitted, rows)


if __name__ == "__main__":
    main()
