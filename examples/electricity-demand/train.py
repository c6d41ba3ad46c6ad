"""Train the forecaster of this example: the next 24 hours of electricity demand, all 48 half hours at once.

    python train.py                # makes model.keras and the table in README.md: under a minute on two cores
    python train.py --validate     # fits without the last week of the training part and judges there, for choosing

Needs tensorflow and numpy. Every random number comes from --seed, and TensorFlow runs deterministically on one thread:
one machine gives the same weights again. The errors in README.md come from here, from NumPy alone.
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

HERE = Path(__file__).parent
DAY, WEEK = 48, 336  # half hours
WINDOW, HORIZON = WEEK + DAY, DAY
TEST_ROWS = 3 * WEEK  # the last three weeks, as test_rows in edge-tqs.toml
UNITS, EPOCHS, BATCH, RATE, WEIGHT_DECAY, DROPOUT = 32, 150, 64, 2e-3, 1e-2, 0.1
SHOWN = (1, 2, 4, 8, 16, 24, 32, 40, 48)
BEGIN, END = "<!-- written by train.py -->\n", "<!-- end -->"


def read_demand() -> np.ndarray:
    """(rows, 1), MW."""
    with (HERE / "demand.csv").open(newline="", encoding="utf-8") as file:
        return np.array([[float(row["demand"])] for row in csv.DictReader(file)])


def forecaster() -> keras.Model:
    """(N, WINDOW, 1) -> (N, HORIZON, 1): the same half hours a week ago, and a correction to each.

    The correction is learned from how far the last day was off the same day a week before, and from that week-old
    profile, which says what time of the week it is.
    """
    layers = keras.layers
    window = keras.Input((WINDOW, 1), name="demand")
    last_day = layers.Cropping1D((WEEK, 0), name="last_day")(window)
    day_a_week_ago = layers.Cropping1D((0, WEEK), name="day_a_week_ago")(window)
    week_ago = layers.Flatten(name="week_ago")(layers.Cropping1D((DAY, WINDOW - 2 * DAY), name="next_day_then")(window))
    change = layers.Flatten(name="change")(layers.Subtract()([last_day, day_a_week_ago]))
    hidden = layers.Dense(UNITS, "relu", name="hidden")(layers.Concatenate()([change, week_ago]))
    correction = layers.Dense(HORIZON, name="correction")(layers.Dropout(DROPOUT, name="dropout")(hidden))
    forecast = layers.Reshape((HORIZON, 1), name="forecast")(layers.Add()([week_ago, correction]))
    return keras.Model(window, forecast, name="electricity_demand")


def windows(values: np.ndarray, first: int, last: int) -> tuple[np.ndarray, np.ndarray]:
    """All windows (N, WINDOW, 1) and what followed (N, HORIZON, 1), the latter within rows first to last."""
    origins = range(max(first, WINDOW), last - HORIZON + 1)
    seeds = np.stack([values[origin - WINDOW : origin] for origin in origins])
    return seeds, np.stack([values[origin : origin + HORIZON] for origin in origins])


def baselines(seeds: np.ndarray) -> dict[str, np.ndarray]:
    """Forecasts (N, HORIZON, 1) that need no model, from windows (N, WINDOW, 1)."""
    return {
        "persistence": np.repeat(seeds[:, -1:], HORIZON, axis=1),
        "a day ago": seeds[:, -DAY:],
        "a week ago": seeds[:, DAY : 2 * DAY],
    }


def errors(forecasts: dict[str, np.ndarray], truth: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Root mean squared and mean absolute error at each step, each (HORIZON,), in the units of ``truth``."""
    return {
        name: (np.sqrt(np.mean((forecast - truth) ** 2, axis=(0, 2))), np.mean(abs(forecast - truth), axis=(0, 2)))
        for name, forecast in forecasts.items()
    }


def table(found: dict[str, tuple[np.ndarray, np.ndarray]], count: int, parameters: int, level: float) -> str:
    """Markdown; raises SystemExit where the model is not better than each baseline at each step."""
    lines = [
        f"{count} forecasts, one from each half hour of the last three weeks; {parameters:,} parameters. RMSE in MW:",
        "",
        "| hours ahead | " + " | ".join(f"{step / 2:g}" for step in SHOWN) + " | all |",
        "|---" * (len(SHOWN) + 2) + "|",
    ]
    for name, (rmse, _) in found.items():
        shown = [*(rmse[step - 1] for step in SHOWN), np.sqrt(np.mean(rmse**2))]
        lines.append(f"| {name} | " + " | ".join(f"{value:,.0f}" for value in shown) + " |")
    model, others = found["model"], {name: error for name, error in found.items() if name != "model"}
    worst = {name: max((model[0] / rmse).max(), (model[1] / mae).max()) for name, (rmse, mae) in others.items()}
    lines += [
        "",
        f"The mean absolute error of the model is {model[1].mean():,.0f} MW, {model[1].mean() / level:.2%} of the mean "
        "demand. "
        "At the horizon that is worst for it, its error (RMSE or MAE) is "
        + ", ".join(f"{value:.2f} times that of *{name}*" for name, value in worst.items())
        + ".",
    ]
    text = "\n".join(lines) + "\n"
    if max(worst.values()) >= 1:
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

    demand = read_demand()
    rows = len(demand) - TEST_ROWS
    mean, std = demand[:rows].mean(), demand[:rows].std()
    fitted, last = (rows - WEEK, rows) if options.validate else (rows, len(demand))
    values = ((demand - mean) / std).astype(np.float32)

    model = forecaster()
    seeds, truth = windows(values, 0, fitted)
    decay = keras.optimizers.schedules.CosineDecay(RATE, EPOCHS * -(-len(seeds) // BATCH))
    model.compile(keras.optimizers.AdamW(decay, weight_decay=WEIGHT_DECAY), "mse")
    history = model.fit(seeds, truth, BATCH, EPOCHS, verbose=0)
    print(f"{len(seeds)} windows fitted, loss {history.history['loss'][-1]:.4f}")

    seeds, truth = windows(values, fitted, last)
    forecasts = {"model": model.predict(seeds, verbose=0), **baselines(seeds)}
    forecasts = {name: forecast * std + mean for name, forecast in forecasts.items()}
    text = table(errors(forecasts, truth * std + mean), len(seeds), model.count_params(), demand.mean())
    print(text)
    if not options.validate:
        keras.Model(model.inputs, model.outputs, name=model.name).save(HERE / "model.keras")  # without the optimizer
        write_table(text)


if __name__ == "__main__":
    main()
