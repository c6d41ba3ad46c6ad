"""Train the forecaster of this example: two LSTM layers that predict the next half-hour mean.

    python train.py

It is trained in closed loop: first on one step, then on rollouts of 8 and of 32 steps that feed on their own
predictions, with less weight on later steps, which nobody can predict as well. Every random number comes from SEED
and TensorFlow runs deterministically, so that one machine gives the same weights again. Takes a minute and a half.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import keras
import numpy as np
import tensorflow as tf

from edge_tqs.series import normalise, read_series, standard_scaling, train_rows, windows

HERE = Path(__file__).parent
WINDOW = 24  # half a day
HORIZON = 96  # two days
UNITS = (32, 16)
SEED = 2
BATCH = 128
#: (steps of a rollout, epochs, windows an epoch, learning rate)
SCHEDULE = ((1, 40, 3072, 3e-3), (8, 10, 2048, 1e-3), (32, 14, 2048, 1e-3))


def forecaster(units: tuple[int, ...]) -> keras.Model:
    layers = [keras.Input((WINDOW, 1), name="temperature")]
    for index, size in enumerate(units):
        layers.append(keras.layers.LSTM(size, return_sequences=index < len(units) - 1, name=f"lstm_{index + 1}"))
    layers.append(keras.layers.Dense(1, name="head"))
    return keras.Sequential(layers, name="machine_temperature")


def traced_rollout(model: keras.Model):
    """The closed loop as one traced function: windows (N, W, 1), steps -> predictions (N, steps, 1)."""

    def advance(step, window, outputs):
        y = model(window, training=True)
        return step + 1, tf.concat([window[:, 1:], y[:, None]], axis=1), outputs.write(step, y)

    @tf.function(reduce_retracing=True)
    def rollout(window, steps):
        outputs = tf.TensorArray(tf.float32, steps, element_shape=(None, 1))
        shapes = (tf.TensorShape([]), tf.TensorShape([None, WINDOW, 1]), tf.TensorShape(None))
        *_, outputs = tf.while_loop(
            lambda step, *_: step < steps, advance, (tf.constant(0), window, outputs), shape_invariants=shapes
        )
        return tf.transpose(outputs.stack(), (1, 0, 2))

    return rollout


def vary(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """A gain and a shift for each of ``count`` windows; half of them are left as they are.

    The test part holds a failure far below anything in the training part: shifted windows teach the model to go on
    from a level that it has not seen, instead of jumping back to the mean.
    """
    touched = rng.random((count, 1, 1)) < 0.5
    gain = np.where(touched, rng.uniform(0.5, 1.5, (count, 1, 1)), 1.0)
    shift = np.where(touched, rng.normal(0.0, 2.0, (count, 1, 1)), 0.0)
    return gain.astype(np.float32), shift.astype(np.float32)


def train(model: keras.Model, rollout, values: np.ndarray, seed: int) -> None:
    """Fit ``model`` to ``values`` (rows, 1), the normalised training part."""
    optimizer = keras.optimizers.Adam()

    @tf.function(reduce_retracing=True)
    def fit(window, truth, steps):
        weight = 1.0 / (0.1 + tf.range(tf.cast(steps, tf.float32)) / 32.0)
        with tf.GradientTape() as tape:
            error = tf.reduce_mean(tf.square(rollout(window, steps) - truth), axis=(0, 2))
            loss = tf.reduce_sum(weight * error) / tf.reduce_sum(weight)
        gradients, _ = tf.clip_by_global_norm(tape.gradient(loss, model.trainable_variables), 1.0)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        return loss

    rng = np.random.default_rng(seed)
    for steps, epochs, count, rate in SCHEDULE:
        optimizer.learning_rate.assign(rate)
        origins = np.arange(WINDOW, len(values) - steps + 1)
        batches = min(count, len(origins)) // BATCH
        for _ in range(epochs):
            losses = []
            for batch in np.split(rng.permutation(origins)[: batches * BATCH], batches):
                window = np.stack([values[origin - WINDOW : origin] for origin in batch])
                truth = np.stack([values[origin : origin + steps] for origin in batch])
                gain, shift = vary(rng, BATCH)
                losses.append(float(fit(gain * window + shift, gain * truth + shift, tf.constant(steps))))
        print(f"rollouts of {steps}: loss {np.mean(losses):.4f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=HERE / "machine_temperature.keras")
    parser.add_argument("--seed", type=int, default=SEED)
    options = parser.parse_args()
    keras.utils.set_random_seed(options.seed)
    tf.config.experimental.enable_op_determinism()
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)

    series = read_series(HERE / "machine_temperature.csv", ["temperature"])
    rows = train_rows(series)
    scaling = standard_scaling(series, rows)
    print(
        f"{rows} rows for training, {series.rows - rows} for test, mean {scaling.mean[0]:.3f}, std {scaling.std[0]:.3f}"
    )
    model = forecaster(UNITS)
    rollout = traced_rollout(model)
    train(model, rollout, normalise(series.values[:rows], scaling), options.seed)
    model.save(options.out)

    seeds, truth = windows(series, WINDOW, HORIZON, 200, rows=rows, scaling=scaling)
    forecast = rollout(tf.constant(seeds), tf.constant(HORIZON)).numpy()
    for name, values in (
        ("forecaster", forecast),
        ("persistence", np.repeat(seeds[:, -1:], HORIZON, axis=1)),
        ("training mean", np.zeros_like(truth)),
    ):
        error = np.mean(np.square(values - truth), axis=(0, 2))
        print(f"{name}: MSE over {HORIZON} steps {error.mean():.3f}, over 8 steps {error[:8].mean():.3f}")


if __name__ == "__main__":
    main()
