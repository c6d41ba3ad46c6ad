"""Train the soft sensor of this example: the concentration in a reactor, from six other sensors' last four hours.

    python train.py                # makes model.keras and the table in README.md: two minutes on two cores
    python train.py --validate     # fits without the last week of the training part and judges there, for choosing

Needs tensorflow and numpy. Every random number comes from --seed, and TensorFlow runs deterministically on one thread:
one machine gives the same weights again. The errors in README.md come from here, from Keras and NumPy alone.
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
INPUTS = ("feed_flow", "feed_temp", "reactor_temp", "jacket_temp", "coolant_flow", "coolant_temp")
TARGET = "concentration"  # mol/l
WEEK = 1008  # rows
WINDOW = 24  # four hours
TEST_ROWS = 2 * WEEK  # the last two weeks, as test_rows in edge-tqs.toml
FILTERS, UNITS, EPOCHS, BATCH, RATE, WEIGHT_DECAY = 24, 32, 50, 64, 3e-3, 1e-2
BEGIN, END = "<!-- written by train.py -->\n", "<!-- end -->"


def read_reactor() -> tuple[np.ndarray, np.ndarray]:
    """Sensors (rows, 6) and target (rows, 1), physical units."""
    with (HERE / "reactor.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return (
        np.array([[float(row[name]) for name in INPUTS] for row in rows]),
        np.array([[float(row[TARGET])] for row in rows]),
    )


def soft_sensor() -> keras.Model:
    """(N, WINDOW, 6) -> (N, 1), both in standard deviations of the training part."""
    layers = keras.layers
    window = keras.Input((WINDOW, len(INPUTS)), name="sensors")
    features = layers.Conv1D(FILTERS, 3, activation="relu", padding="causal", name="conv_1")(window)
    features = layers.Conv1D(FILTERS, 3, activation="relu", padding="causal", dilation_rate=2, name="conv_2")(features)
    features = layers.Conv1D(FILTERS, 3, activation="relu", padding="causal", dilation_rate=4, name="conv_4")(features)
    newest = layers.Flatten(name="newest")(layers.Cropping1D((WINDOW - 1, 0), name="last")(features))
    hidden = layers.Dense(UNITS, "relu", name="hidden")(newest)
    return keras.Model(window, layers.Dense(1, name=TARGET)(hidden), name="reactor_concentration")


def windows(values: np.ndarray, target: np.ndarray, first: int, last: int) -> tuple[np.ndarray, np.ndarray]:
    """All windows (N, WINDOW, 6) whose newest row is one of first to last, and the target (N, 1) in that row."""
    newest = range(max(first, WINDOW - 1), last)
    return np.stack([values[row - WINDOW + 1 : row + 1] for row in newest]), target[newest.start : last]


def linear(seeds: np.ndarray, target: np.ndarray, ridge: float) -> np.ndarray:
    """Weights (features + 1, 1) of the ridge regression of ``target`` on ``seeds`` (N, ...)."""
    design = np.hstack([seeds.reshape(len(seeds), -1), np.ones((len(seeds), 1))])
    penalty = ridge * np.eye(design.shape[1])
    penalty[-1, -1] = 0
    return np.linalg.solve(design.T @ design + penalty, design.T @ target)


def apply(weights: np.ndarray, seeds: np.ndarray) -> np.ndarray:
    return seeds.reshape(len(seeds), -1) @ weights[:-1] + weights[-1]


def table(found: dict[str, np.ndarray], truth: np.ndarray, parameters: int) -> str:
    """Markdown; raises SystemExit where the model is not better than each other in each week."""
    error = {name: estimate - truth for name, estimate in found.items()}
    weeks = range(0, len(truth) - WEEK // 2, WEEK)
    lines = [
        f"{len(truth):,} estimates, one for each row of the held-out part; {parameters:,} parameters. Errors in mol/l:",
        "",
        "| | RMSE | " + " | ".join(f"week {index + 1}" for index in range(len(weeks))) + " | mean absolute | R² |",
        "|---" * (len(weeks) + 4) + "|",
    ]
    rmse = {}
    for name, off in error.items():
        rmse[name] = [np.sqrt(np.mean(part**2)) for part in (off, *(off[week : week + WEEK] for week in weeks))]
        cells = [f"{value:.4f}" for value in rmse[name]]
        cells += [f"{np.mean(abs(off)):.4f}", f"{1 - np.mean(off**2) / truth.var():.3f}"]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    worst = {
        name: max(a / b for a, b in zip(rmse["model"], others, strict=True))
        for name, others in rmse.items()
        if name != "model"
    }
    lines += ["", "The model's RMSE is " + ", ".join(f"{v:.2f} times that of *{n}*" for n, v in worst.items())]
    lines[-1] += ", in the week that is worst for it."
    text = "\n".join(lines) + "\n"
    if max(worst.values()) >= 1:
        raise SystemExit(f"{text}\nThe model does not beat every other estimate in every week.")
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

    sensors, target = read_reactor()
    rows = len(sensors) - TEST_ROWS
    fitted, last = (rows - WEEK, rows) if options.validate else (rows, len(sensors))
    mean, std = target[:rows].mean(), target[:rows].std()
    values = ((sensors - sensors[:rows].mean(axis=0)) / sensors[:rows].std(axis=0)).astype(np.float32)
    scaled = ((target - mean) / std).astype(np.float32)

    model = soft_sensor()
    seeds, truth = windows(values, scaled, 0, fitted)
    decay = keras.optimizers.schedules.CosineDecay(RATE, EPOCHS * -(-len(seeds) // BATCH))
    model.compile(keras.optimizers.AdamW(decay, weight_decay=WEIGHT_DECAY), "mse")
    history = model.fit(seeds, truth, BATCH, EPOCHS, verbose=0)
    print(f"{len(seeds)} windows fitted, loss {history.history['loss'][-1]:.4f}")
    weights = {
        "linear, the window": linear(seeds, truth, 1.0),
        "linear, newest sample": linear(seeds[:, -1], truth, 1.0),
    }

    seeds, truth = windows(values, scaled, fitted, last)
    found = {
        "model": model.predict(seeds, verbose=0),
        "linear, the window": apply(weights["linear, the window"], seeds),
        "linear, newest sample": apply(weights["linear, newest sample"], seeds[:, -1]),
        "mean of the training part": np.zeros_like(truth),
    }
    found = {name: estimate * std + mean for name, estimate in found.items()}
    text = table(found, truth * std + mean, model.count_params())
    print(text)
    if not options.validate:
        keras.Model(model.inputs, model.outputs, name=model.name).save(HERE / "model.keras")  # without the optimizer
        write_table(text)


if __name__ == "__main__":
    main()
