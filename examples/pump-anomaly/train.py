"""Train the anomaly detector of this example: an autoencoder of two hours of a pump's six sensors.

    python train.py                # makes model.keras and the tables in README.md: two minutes on two cores

Needs tensorflow and numpy. It is fitted to four weeks without a fault; the fifth, without one too, gives the threshold;
the last four hold the faults and are only judged. Every random number comes from --seed, and TensorFlow runs
deterministically on one thread: one machine gives the same weights again. The figures in README.md come from here, from
Keras and NumPy alone.
"""

from __future__ import annotations

import argparse
import csv
import os
from itertools import pairwise
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import keras
import numpy as np
import tensorflow as tf

HERE = Path(__file__).parent
SENSORS = ("speed", "flow", "pressure", "current", "bearing_temp", "vibration")
FAULTS = ("none", "bearing wear", "cavitation", "clogged strainer", "pressure drift", "leak")
DAY = 96  # rows
WEEK = 7 * DAY
WINDOW = 8  # two hours
FITTED, TEST_ROWS = 4 * WEEK, 4 * WEEK  # the week between gives the threshold; test_rows as in edge-tqs.toml
UNITS, CODE, EPOCHS, BATCH, RATE = 48, 8, 100, 64, 3e-3
BEGIN, END = "<!-- written by train.py -->\n", "<!-- end -->"


def read_pump() -> tuple[np.ndarray, np.ndarray]:
    """Sensors (rows, 6), physical units, and the fault code (rows,)."""
    with (HERE / "pump.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return np.array([[float(row[name]) for name in SENSORS] for row in rows]), np.array([int(r["fault"]) for r in rows])


def autoencoder() -> keras.Model:
    """(N, WINDOW, 6) -> (N, WINDOW, 6), in standard deviations of the training part, through CODE numbers."""
    layers = keras.layers
    window = keras.Input((WINDOW, len(SENSORS)), name="sensors")
    encoded = layers.Dense(UNITS, "relu", name="encoder")(layers.Flatten(name="flat")(window))
    code = layers.Dense(CODE, name="code")(encoded)
    decoded = layers.Dense(UNITS, "relu", name="decoder")(code)
    output = layers.Dense(WINDOW * len(SENSORS), name="samples")(decoded)
    return keras.Model(window, layers.Reshape((WINDOW, len(SENSORS)), name="again")(output), name="pump_anomaly")


def windows(values: np.ndarray) -> np.ndarray:
    """(rows - WINDOW + 1, WINDOW, columns): window i ends with row i + WINDOW - 1."""
    return np.stack([values[end - WINDOW : end] for end in range(WINDOW, len(values) + 1)])


def principal(seeds: np.ndarray, others: np.ndarray) -> np.ndarray:
    """``others`` (N, WINDOW, 6) as the first CODE principal components of ``seeds`` say."""
    flat = seeds.reshape(len(seeds), -1)
    mean = flat.mean(axis=0)
    basis = np.linalg.svd(flat - mean, full_matrices=False)[2][:CODE]
    return ((others.reshape(len(others), -1) - mean) @ basis.T @ basis + mean).reshape(others.shape)


def scores(model: keras.Model, values: np.ndarray) -> dict[str, np.ndarray]:
    """Of each method, (rows,): how unusual the window that ends in each row is; nan where there is none yet."""
    past = windows(values)
    found = {
        "autoencoder": np.mean((model.predict(past, verbose=0) - past) ** 2, axis=(1, 2)),
        f"{CODE} principal components": np.mean((principal(past[:FITTED], past) - past) ** 2, axis=(1, 2)),
        "largest deviation of a sensor": abs(past).max(axis=(1, 2)),
        "change from sample to sample": np.mean(np.diff(past, axis=1) ** 2, axis=(1, 2)),
    }
    for name, lag in (("difference to a day ago", DAY), ("difference to a week ago", WEEK)):
        change = np.full_like(values, np.nan)
        change[lag:] = values[lag:] - values[:-lag]
        found[name] = np.mean(windows(change) ** 2, axis=(1, 2))
    return {name: np.concatenate([np.full(WINDOW - 1, np.nan), score]) for name, score in found.items()}


def events(codes: np.ndarray) -> list[tuple[int, int, int]]:
    """(fault, first row, row behind the last) of each stretch of one fault."""
    edges = np.flatnonzero(np.diff(codes, prepend=0, append=0))
    return [(int(codes[a]), int(a), int(b)) for a, b in pairwise(edges) if codes[a]]


def tables(found: dict[str, np.ndarray], codes: np.ndarray, parameters: int) -> tuple[str, float]:
    """Markdown and the autoencoder's threshold; raises SystemExit where it does not beat each other method."""
    first = len(codes) - TEST_ROWS
    rows = np.arange(len(codes))
    faulty = codes > 0
    recent = np.array([faulty[max(0, row - WINDOW + 1) : row + 1].any() for row in rows])
    judged = (rows >= first) & (faulty | ~recent)  # a healthy row just after a fault still has it in its window
    planted = events(codes)
    lines = [
        f"{judged.sum():,} windows of the last four weeks; {len(planted)} faults, in the newest row of "
        f"{(judged & faulty).sum()} windows. The autoencoder has {parameters:,} parameters. An alarm is a score above "
        "the highest of the fifth week:",
        "",
        "| | precision | recall | F1 | faults found | false alarms a week |",
        "|---" * 6 + "|",
    ]
    f1, alarms, limits = {}, {}, {}
    for name, score in found.items():
        limits[name] = score[FITTED + WINDOW - 1 : first].max()
        alarms[name] = alarm = score > limits[name]
        hits = (alarm & faulty & judged).sum()
        wrong = alarm & ~faulty & judged
        precision, recall = hits / max(1, (alarm & judged).sum()), hits / (faulty & judged).sum()
        f1[name] = 2 * precision * recall / max(1e-9, precision + recall)
        seen = sum(alarm[a:b].any() for _, a, b in planted)
        begun = (wrong & ~np.roll(wrong, 1)).sum() / (TEST_ROWS / WEEK)
        lines.append(
            f"| {name} | {precision:.3f} | {recall:.3f} | {f1[name]:.3f} | {seen} of {len(planted)} | {begun:g} |"
        )
    lines += [
        "",
        "| fault | rows found | hours to the first alarm |",
        "|---|---|---|",
    ]
    for fault, name in enumerate(FAULTS[1:], 1):
        mine = [(a, b) for code, a, b in planted if code == fault]
        part = np.mean(np.concatenate([alarms["autoencoder"][a:b] for a, b in mine]))
        delays = [np.flatnonzero(alarms["autoencoder"][a:b]) for a, b in mine]
        shown = ", ".join(f"{found_[0] / 4:g}" if len(found_) else "never" for found_ in delays)
        lines.append(f"| {name} | {part:.0%} | {shown} |")
    text = "\n".join(lines) + "\n"
    if any(f1["autoencoder"] <= value for name, value in f1.items() if name != "autoencoder"):
        raise SystemExit(f"{text}\nThe autoencoder does not beat every other method.")
    return text, float(limits["autoencoder"])


def write_table(text: str) -> None:
    path = HERE / "README.md"
    head, _, rest = path.read_text(encoding="utf-8").partition(BEGIN)
    path.write_text(head + BEGIN + text + END + rest.partition(END)[2], encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    keras.utils.set_random_seed(options.seed)
    tf.config.experimental.enable_op_determinism()
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)

    sensors, codes = read_pump()
    train = len(sensors) - TEST_ROWS
    values = ((sensors - sensors[:train].mean(axis=0)) / sensors[:train].std(axis=0)).astype(np.float32)
    model = autoencoder()
    seeds = windows(values[:FITTED])
    decay = keras.optimizers.schedules.CosineDecay(RATE, EPOCHS * -(-len(seeds) // BATCH))
    model.compile(keras.optimizers.AdamW(decay, weight_decay=1e-3), "mse")
    history = model.fit(seeds, seeds, BATCH, EPOCHS, verbose=0)
    print(f"{len(seeds)} windows fitted, loss {history.history['loss'][-1]:.4f}")
    text, threshold = tables(scores(model, values), codes, model.count_params())
    text += f"\nThe autoencoder's threshold is {threshold:.4f} squared standard deviations.\n"
    print(text)
    keras.Model(model.inputs, model.outputs, name=model.name).save(HERE / "model.keras")  # without the optimizer
    write_table(text)


if __name__ == "__main__":
    main()
