"""A small Transformer and a PatchTST-like forecaster, trained here, built and validated on two emulated boards.

    python -m benchmarks.attention [--keep FOLDER]

The series is made: two sensors that are sums of sines with noise, 3,000 samples, the last 1,000 to test on. Both models
predict the next sample from 24. The table is that of closed_loop.py, a row a model, board and type of activations.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.closed_loop import measure
from edge_tqs.system.tensorflow import import_tensorflow, quiet

BOARDS = ("qemu-mps2-an386", "rpi4")
ROWS, TRAIN, WINDOW, CHANNELS, WIDTH = 3000, 2000, 24, 2, 16
HORIZON, ROLLOUTS, EPOCHS = 48, 4, 12


def series(seed: int = 0) -> np.ndarray:
    """(ROWS, CHANNELS) in physical units."""
    rng = np.random.default_rng(seed)
    t = np.arange(ROWS)
    day, week = np.sin(2 * np.pi * t / 24), np.sin(2 * np.pi * t / 168)
    columns = [20 + 5 * day + 2 * week, 50 - 8 * np.roll(day, 3) + 3 * week * day]
    return np.stack([column + rng.normal(0, 0.3, ROWS) for column in columns], axis=1)


def transformer(keras: Any) -> Any:
    """Embedded samples with positions, attention and a layer on each sample, both with a norm before and a skip."""
    layers, ops = keras.layers, keras.ops
    x = keras.Input((WINDOW, CHANNELS))
    y = layers.Dense(WIDTH)(x) + layers.Embedding(WINDOW, WIDTH)(ops.arange(WINDOW))
    normed = layers.LayerNormalization()(y)
    y = layers.Add()([y, layers.MultiHeadAttention(2, WIDTH // 2)(normed, normed)])
    z = layers.Dense(2 * WIDTH, activation="gelu")(layers.LayerNormalization()(y))
    y = layers.Add()([y, layers.Dense(WIDTH)(z)])
    return keras.Model(x, layers.Dense(CHANNELS)(y[:, -1]), name="transformer")


def patch(keras: Any) -> Any:
    """PatchTST-like: four samples make a patch, patches attend to each other, all of them make the forecast."""
    layers = keras.layers
    x = keras.Input((WINDOW, CHANNELS))
    y = layers.Dense(WIDTH)(layers.Reshape((WINDOW // 4, 4 * CHANNELS))(x))
    normed = layers.LayerNormalization()(y)
    y = layers.Add()([y, layers.MultiHeadAttention(2, WIDTH // 2)(normed, normed)])
    z = layers.Dense(2 * WIDTH, activation="gelu")(layers.LayerNormalization()(y))
    y = layers.Add()([y, layers.Dense(WIDTH)(z)])
    return keras.Model(x, layers.Dense(CHANNELS)(layers.Flatten()(y)), name="patches")


def trained(make: Any, data: np.ndarray, path: Path) -> Path:
    keras = import_tensorflow().keras
    keras.utils.set_random_seed(1)
    known = data[:TRAIN]
    normal = ((known - known.mean(0)) / known.std(0)).astype(np.float32)
    windows = np.stack([normal[i : i + WINDOW] for i in range(TRAIN - WINDOW)])
    with quiet():
        model = make(keras)
        model.compile(keras.optimizers.Adam(2e-3), "mse")
        model.fit(windows, normal[WINDOW:], batch_size=64, epochs=EPOCHS, verbose=0)
        model.save(path)
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", type=Path, help="folder that the models and the series are left in")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = args.keep or Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        data, csv = series(), folder / "series.csv"
        np.savetxt(csv, data, "%.5f", ",", header="near,far", comments="")
        errors = " | ".join(
            f"{kind} {width}" for kind in ("MSE", "RMSE") for width in ("float", "int8", "int4", "mixed")
        )
        print(f"| model | board | activations | {errors.replace('RMSE float | ', '')} | bit for bit | instructions |")
        print("|---" * 12 + "|")
        for make in (transformer, patch):
            path = trained(make, data, folder / f"{make.__name__}.keras")
            # tflite-runtime, which a Linux board may have, refuses mixed ones
            for activations, board in [*itertools.product(("int8", "int16"), BOARDS), ("mixed", BOARDS[0])]:
                settings = argparse.Namespace(
                    csv=csv,
                    train_rows=TRAIN,
                    board=board,
                    mean_bits=8.0,  # all weights int8
                    horizon=HORIZON,
                    rollouts=ROLLOUTS,
                )
                row = measure(path, activations, settings)
                print(f"| {row[0]} | {board} | {activations} | {' | '.join([*row[2:9], *row[14:16]])} |", flush=True)


if __name__ == "__main__":
    main()
