"""Train the forecaster of this example: five sensors of a greenhouse, half an hour ahead, fed back for 12 hours.

    python train.py                # makes model.keras and the table in README.md: two minutes on two cores
    python train.py --validate     # fits without the last six weeks of the training part and judges there

Needs tensorflow and numpy. It is fitted to the first 24 weeks of greenhouse.csv and to eight times 28 weeks with other
weather that simulate.py makes, in closed loop: on one step, then on rollouts of 6 and of 24 steps that feed on their
own predictions. Every random number comes from --seed, and TensorFlow runs deterministically on one thread: one machine
gives the same weights again. The errors in README.md come from here, from Keras and NumPy alone.
"""

from __future__ import annotations

import argparse
import csv
import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import keras
import numpy as np
import tensorflow as tf
from simulate import simulate

HERE = Path(__file__).parent
#: column -> unit, decimals of the table
COLUMNS = {
    "air_temp": ("°C", 2),
    "humidity": ("%", 2),
    "co2": ("ppm", 1),
    "pipe_temp": ("°C", 2),
    "radiation": ("W/m²", 1),
}
DAY, WEEK = 48, 336  # rows
WINDOW, HORIZON = DAY, DAY // 2
TEST_ROWS, VALIDATION_ROWS = 4 * WEEK, 6 * WEEK  # the last four weeks, as test_rows in edge-tqs.toml
OTHER_SEEDS = range(1, 9)  # of the weeks that are only fitted to
PATCH, FILTERS, UNITS, BATCH, WEIGHT_DECAY, INPUT_NOISE, RIDGE = 4, 16, 40, 128, 1e-2, 0.05, 30.0
#: (steps of a rollout, batches, learning rate at the start; it falls to a twentieth)
SCHEDULE = ((1, 1500, 2e-3), (6, 600, 1e-3), (24, 600, 1e-3))
SHOWN = (1, 2, 4, 8, 12, 16, 20, 24)
LINEAR = "linear autoregression, that it starts from"
BEGIN, END = "<!-- written by train.py -->\n", "<!-- end -->"


def read_sensors() -> np.ndarray:
    """(rows, 5), in the units of COLUMNS."""
    with (HERE / "greenhouse.csv").open(newline="", encoding="utf-8") as file:
        return np.array([[float(row[name]) for name in COLUMNS] for row in csv.DictReader(file)])


def forecaster(seeds: np.ndarray, truth: np.ndarray) -> keras.Model:
    """(N, WINDOW, 5) -> (N, 5), both in standard deviations of the training part.

    A linear autoregression and a correction to it. The autoregression starts as the ridge regression of ``truth``
    (N, 5) on ``seeds`` (N, WINDOW, 5), the correction at zero; all is trained.
    """
    layers = keras.layers
    window = keras.Input((WINDOW, len(COLUMNS)), name="sensors")
    linear = layers.Dense(len(COLUMNS), name="linear")
    patches = layers.Conv1D(FILTERS, PATCH, strides=PATCH, activation="relu", name="patches")(window)
    hidden = layers.Dense(UNITS, "relu", name="hidden")(layers.Flatten(name="flat_patches")(patches))
    correction = layers.Dense(len(COLUMNS), kernel_initializer="zeros", name="correction")
    flat = layers.Flatten(name="flat_window")(window)
    model = keras.Model(window, layers.Add(name="next_sample")([linear(flat), correction(hidden)]), name="greenhouse")
    design = np.hstack([seeds.reshape(len(seeds), -1), np.ones((len(seeds), 1))])
    fitted = np.linalg.solve(design.T @ design + RIDGE * np.eye(design.shape[1]), design.T @ truth)
    linear.set_weights([fitted[:-1], fitted[-1]])
    return model


def rollout(model: keras.Model, window: tf.Tensor, steps: int) -> tf.Tensor:
    """The model fed its own forecasts: windows (N, WINDOW, 5) -> forecasts (N, steps, 5)."""
    outputs = []
    for _ in range(steps):
        outputs.append(model(window))
        window = tf.concat([window[:, 1:], outputs[-1][:, None]], axis=1)
    return tf.stack(outputs, axis=1)


def windows(values: np.ndarray, first: int, last: int, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """All windows (N, WINDOW, 5) and what followed (N, steps, 5), the latter within rows first to last."""
    origins = range(max(first, WINDOW), last - steps + 1)
    seeds = np.stack([values[origin - WINDOW : origin] for origin in origins])
    return seeds, np.stack([values[origin : origin + steps] for origin in origins])


def windows_of_all(series: list[np.ndarray], steps: int) -> tuple[np.ndarray, np.ndarray]:
    """The windows of several series, each (rows, 5)."""
    seeds, truth = zip(*(windows(values, 0, len(values), steps) for values in series), strict=True)
    return np.concatenate(seeds), np.concatenate(truth)


def train(model: keras.Model, series: list[np.ndarray], seed: int) -> None:
    """Fit ``model`` to ``series``, each (rows, 5), in standard deviations."""
    rng = np.random.default_rng(seed)
    for steps, batches, rate in SCHEDULE:
        decay = keras.optimizers.schedules.CosineDecay(rate, batches, alpha=0.05)
        optimizer = keras.optimizers.AdamW(decay, weight_decay=WEIGHT_DECAY, global_clipnorm=1.0)
        optimizer.build(model.trainable_variables)

        @tf.function
        def fit(window: tf.Tensor, truth: tf.Tensor, steps: int = steps, optimizer=optimizer) -> tf.Tensor:
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(tf.square(rollout(model, window, steps) - truth))
            gradients = tape.gradient(loss, model.trainable_variables)
            optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
            return loss

        seeds, truth = windows_of_all(series, steps)
        losses = []
        for _ in range(batches):
            batch = rng.integers(len(seeds), size=BATCH)
            noisy = seeds[batch] + rng.normal(0, INPUT_NOISE, (BATCH, *seeds.shape[1:]))
            losses.append(float(fit(tf.constant(noisy, tf.float32), tf.constant(truth[batch], tf.float32))))
        print(f"rollouts of {steps}: loss {np.mean(losses[-50:]):.4f}", flush=True)


def closed_loop(model: keras.Model, seeds: np.ndarray) -> np.ndarray:
    """Forecasts (N, HORIZON, 5) from ``seeds`` (N, WINDOW, 5)."""
    return tf.function(lambda window: rollout(model, window, HORIZON))(tf.constant(seeds, tf.float32)).numpy()


def baselines(values: np.ndarray, first: int, last: int) -> dict[str, np.ndarray]:
    """Forecasts (N, HORIZON, 5) that need no model, from each row of first to last - HORIZON."""
    seeds, _ = windows(values, first, last, HORIZON)
    return {
        "persistence": np.repeat(seeds[:, -1:], HORIZON, axis=1),
        "a day ago": seeds[:, -DAY : HORIZON - DAY],
        "a week ago": np.stack([values[row - WEEK : row - WEEK + HORIZON] for row in range(first, last - HORIZON + 1)]),
    }


def table(found: dict[str, np.ndarray], truth: np.ndarray, std: np.ndarray, parameters: int) -> str:
    """Markdown; raises SystemExit where the model is not better than each baseline, for each sensor at each step."""
    rmse = {name: np.sqrt(np.mean((forecast - truth) ** 2, axis=0)) for name, forecast in found.items()}  # (HORIZON, 5)
    lines = [
        f"{len(truth):,} forecasts, one from each half hour of the last {TEST_ROWS // WEEK} weeks; "
        f"{parameters:,} parameters. RMSE:",
        "",
        "| | hours ahead | " + " | ".join(f"{step / 2:g}" for step in SHOWN) + " |",
        "|---" * (len(SHOWN) + 2) + "|",
    ]
    for channel, (column, (unit, digits)) in enumerate(COLUMNS.items()):
        for name, error in rmse.items():
            if name == LINEAR:
                continue
            label = f"`{column}`, {unit}" if name == "model" else ""
            cells = " | ".join(f"{error[step - 1, channel] * std[channel]:.{digits}f}" for step in SHOWN)
            lines.append(f"| {label} | {name} | {cells} |")
    for name, error in rmse.items():
        label = "all, standard deviations" if name == "model" else ""
        cells = " | ".join(f"{np.sqrt(np.mean(error[step - 1] ** 2)):.3f}" for step in SHOWN)
        lines.append(f"| {label} | {name} | {cells} |")
    ratios = {name: rmse["model"] / error for name, error in rmse.items() if name not in ("model", LINEAR)}
    worst = []
    for name, ratio in ratios.items():
        step, channel = np.unravel_index(ratio.argmax(), ratio.shape)
        worst.append(f"{ratio.max():.2f} times that of *{name}* (`{list(COLUMNS)[channel]}`, {(step + 1) / 2:g} hours)")
    lines += ["", f"At the sensor and horizon that are worst for the model, its error is {', '.join(worst)}."]
    text = "\n".join(lines) + "\n"
    if max(ratio.max() for ratio in ratios.values()) >= 1:
        raise SystemExit(f"{text}\nThe model does not beat every baseline at every horizon.")
    return text


def write_table(text: str) -> None:
    path = HERE / "README.md"
    head, _, rest = path.read_text(encoding="utf-8").partition(BEGIN)
    path.write_text(head + BEGIN + text + END + rest.partition(END)[2], encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--validate", action="store_true")
    options = parser.parse_args()
    keras.utils.set_random_seed(options.seed)
    tf.config.experimental.enable_op_determinism()
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)

    sensors = read_sensors()
    rows = len(sensors) - TEST_ROWS
    mean, std = sensors[:rows].mean(axis=0), sensors[:rows].std(axis=0)
    fitted, last = (rows - VALIDATION_ROWS, rows) if options.validate else (rows, len(sensors))
    values = ((sensors - mean) / std).astype(np.float32)
    print(f"simulating {len(OTHER_SEEDS)} times {len(sensors) // WEEK} weeks to fit to", flush=True)
    series = [values[:fitted], *(((simulate(seed) - mean) / std).astype(np.float32) for seed in OTHER_SEEDS)]

    seeds, truth = windows_of_all(series, 1)
    model = forecaster(seeds, truth[:, 0])
    seeds, truth = windows(values, fitted, last, HORIZON)
    linear = closed_loop(model, seeds)
    train(model, series, options.seed)
    found = {"model": closed_loop(model, seeds), **baselines(values, fitted, last), LINEAR: linear}
    text = table(found, truth, std, model.count_params())
    print(text)
    if not options.validate:
        model.save(HERE / "model.keras")
        write_table(text)


if __name__ == "__main__":
    main()
