"""One recipe from training to figures: the build and TFLite's converter, against float Keras on held-out windows."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.recipes.flatbuffer import Built
from benchmarks.recipes.project import built
from benchmarks.recipes.recipe import Recipe, Trained, train
from benchmarks.recipes.series import Array
from benchmarks.recipes.tflite import Interpreted, convert

#: Closed loops that are compared, and steps of each.
ROLLOUTS, STEPS = 32, 48


def measure(recipe: Recipe, seed: int, folder: Path) -> dict[str, Any]:
    """The record of a recipe. Errors are root mean squares, in the units that the model was trained in."""
    seconds, begun = [], time.monotonic()
    trained = train(recipe, seed)
    seconds.append(time.monotonic() - begun)
    project = built(trained, folder)
    seconds.append(time.monotonic() - begun - sum(seconds))
    converted = convert(trained)
    seconds.append(time.monotonic() - begun - sum(seconds))
    float_said = last(trained, trained.predict(trained.held_out))
    truth = last(trained, _labels(trained))
    record: dict[str, Any] = {
        "name": recipe.name,
        "parameters": trained.model.count_params(),
        "lines": project.lines,
        "refused": project.error,
        "bit_exact": project.bit_exact,
        "board_steps": project.steps,
        "bytes": project.size,
        "tflite_bytes": len(converted.content),
        "tflite_how": converted.how,
        "seconds": seconds,
        "float_vs_truth": rmse(float_said, truth) if not trained.classes else agreement(float_said, truth),
        "classes": trained.classes,
        "ours": None,
        "tflite": None,
        "ours_rollout": None,
        "tflite_rollout": None,
    }
    ours = Built(project.content) if project.bit_exact else None
    theirs = Interpreted(converted.content) if converted.content else None
    x = trained.inputs.of(trained.held_out).astype(np.float32)
    said = {
        "ours": None if ours is None else trained.targets.of(trained.shaped(ours.predict(trained.held_out))),
        "tflite": None if theirs is None else trained.shaped(theirs.predict(x)),
    }
    for name, values in said.items():
        if values is not None:
            record[name] = rmse(last(trained, values), float_said)
            if trained.classes:
                record[f"{name}_agreement"] = agreement(last(trained, values), float_said)
    if recipe.loop:
        record |= _rollouts(trained, ours, theirs)
    return record


def _rollouts(trained: Trained, ours: Built | None, theirs: Interpreted | None) -> dict[str, Any]:
    windows = trained.held_out[:: len(trained.held_out) // ROLLOUTS]
    x = trained.inputs.of(windows).astype(np.float32)
    floats = rolled(trained, lambda part: trained.model.predict(part, 256, verbose=0), x)
    found: dict[str, Any] = {}
    if ours is not None:
        said = np.stack([ours.rollout(window, STEPS) for window in windows])
        found["ours_rollout"] = rmse(trained.targets.of(said), floats)
    if theirs is not None:
        found["tflite_rollout"] = rmse(rolled(trained, theirs.predict, x), floats)
    return found


def rolled(trained: Trained, predict: Any, windows: Array) -> Array:
    """Closed loops of STEPS steps from ``windows`` (N, W, F), all in the model's units: (N, STEPS, F)."""
    path = windows
    while path.shape[1] < trained.recipe.window + STEPS:
        block = last(trained, trained.shaped(predict(path[:, -trained.recipe.window :])))
        path = np.concatenate([path, block.astype(np.float32)], axis=1)
    return path[:, trained.recipe.window : trained.recipe.window + STEPS]


def last(trained: Trained, values: Array) -> Array:
    """Of labels for each sample of the window, the last; else all."""
    return values[:, -1:] if trained.recipe.label == "wide" else values


def _labels(trained: Trained) -> Array:
    labels = trained.targets.of(trained.labels)
    return np.eye(trained.classes)[labels.astype(int)[..., 0]] if trained.classes else labels


def rmse(a: Array, b: Array) -> float:
    """Root mean square of the difference."""
    return float(np.sqrt(np.mean(np.square(np.asarray(a, np.float64) - b))))


def agreement(a: Array, b: Array) -> float:
    """How often both say the same class, 0 to 1."""
    return float(np.mean(a.argmax(axis=-1) == b.argmax(axis=-1)))
