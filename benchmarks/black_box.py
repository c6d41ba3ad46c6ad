"""Black boxes: how a TensorFlow Lite file, scored through LiteRT alone, ranks its tensors beside its Keras model.

    python benchmarks/black_box.py                                  the ten models of tests/tflite_models.py
    python benchmarks/black_box.py model.keras model.tflite ...     pairs of files

Prints for each pair the Spearman correlation of the scores, once with the same noise on both sides and once with other
noise (another --seed) on the file's, which adds what 16 draws leave uncertain; the largest ratio of scores with the
same noise; and the seconds of each. Weights are matched by their values, whatever their names and layouts are.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from edge_tqs.planning.score import score
from edge_tqs.read.keras.model import load_keras
from edge_tqs.read.keras.system import keras_system
from edge_tqs.read.tflite.system import tflite_system
from edge_tqs.system.system import System

TESTS = Path(__file__).parent.parent / "tests"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="model.keras model.tflite, in pairs")
    parser.add_argument("--horizon", type=int, default=96)
    parser.add_argument("--draws", type=int, default=16)
    given = parser.parse_args()
    if len(given.files) % 2:
        parser.error("files come in pairs: model.keras model.tflite")
    print(f"{'model':<16}{'tensors':>8}{'same noise':>12}{'other noise':>13}{'ratio':>8}{'LiteRT s':>10}{'Keras s':>9}")
    for name, model, content in pairs(given.files):
        box, keras = tflite_system(content, name), keras_system(model)
        matches = matched(box, keras)
        horizon, draws = given.horizon, given.draws
        begin = time.perf_counter()
        ours = scores(box, horizon, draws)
        middle = time.perf_counter()
        theirs = scores(keras, horizon, draws)
        end = time.perf_counter()
        other = scores(box, horizon, draws, seed=1)
        one, three = ([found[key] for key in matches] for found in (ours, other))
        two = [theirs[key] for key in matches.values()]
        ratio = float(np.exp(np.abs(np.log(np.array(one) / np.array(two))).max()))
        print(
            f"{name:<16}{len(matches):>8}{spearman(one, two):>12.3f}{spearman(three, two):>13.3f}{ratio:>8.3f}"
            f"{middle - begin:>10.1f}{end - middle:>9.1f}",
            flush=True,
        )


def pairs(files: list[Path]) -> Iterator[tuple[str, Any, bytes]]:
    """Name, Keras model and TensorFlow Lite file of each pair."""
    if files:
        for keras, tflite in zip(files[::2], files[1::2], strict=True):
            yield tflite.stem, load_keras(keras), tflite.read_bytes()
        return
    sys.path.insert(0, str(TESTS))
    import tflite_models

    for name in tflite_models.MODELS:
        model = tflite_models.build(name)
        yield name, model, tflite_models.convert(model)


def matched(box: System, keras: System) -> dict[str, str]:
    """Weights of the file to weights of Keras: those of equal values, channel by channel."""
    found = {}
    for ours, (part,) in box.weights.items():
        for theirs, (other,) in keras.weights.items():
            if part.rows().shape == other.rows().shape and np.allclose(part.rows(), other.rows(), rtol=1e-6, atol=0):
                found[ours] = theirs
    if len(set(found.values())) != len(keras.weights) or len(found) != len(box.weights):
        print(f"{box.name}: {len(found)} of {len(box.weights)} and {len(keras.weights)} weights match", file=sys.stderr)
    return found


def scores(system: System, horizon: int, draws: int, seed: int = 0) -> dict[str, float]:
    return {tensor.name: tensor.tqs for tensor in score(system, horizon=horizon, draws=draws, seed=seed).tensors}


def spearman(one: list[float], other: list[float]) -> float:
    ranks = [np.argsort(np.argsort(values)) for values in (one, other)]
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


if __name__ == "__main__":
    main()
