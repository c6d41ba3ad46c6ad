"""A recipe: a model, what it is trained on, and what edge-tqs must be told of it; and its training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from benchmarks.recipes.series import SIMULATORS, Array, Series

#: What a label is: the sample ``lead`` after the newest, the next ``steps``, one for each sample of the window, the
#: window again, the number of its class.
Label = Literal["sample", "block", "wide", "again", "class"]


@dataclass(frozen=True)
class Recipe:
    """One recipe.

    model: makes the Keras model, not compiled. inputs, targets: columns. lead: of "sample", 0 is the newest itself.
    line: (section, line) of edge-tqs.toml beyond what `edge-tqs init` writes. quantiles: levels of the outputs, where
    they are such. loop: outputs are the next sample or samples of all inputs, and are fed back.
    """

    name: str
    model: Callable[[], Any]
    series: str
    inputs: tuple[str, ...]
    targets: tuple[str, ...]
    window: int
    label: Label = "sample"
    steps: int = 1
    lead: int = 1
    line: tuple[str, str] | None = None
    scaling: Literal["standard", "minmax"] = "standard"
    quantiles: tuple[float, ...] = ()
    loop: bool = False
    epochs: int = 12
    rate: float = 3e-3

    @property
    def columns(self) -> tuple[str, ...]:
        """Of the CSV: the inputs, and what is predicted and is none."""
        return (*self.inputs, *(name for name in self.targets if name not in self.inputs))


@dataclass(frozen=True, eq=False)
class Scale:
    """(physical - mean) / std, by column."""

    mean: Array
    std: Array

    def of(self, physical: Array) -> Array:
        return (physical - self.mean) / self.std


@dataclass(frozen=True, eq=False)
class Trained:
    """A trained model with its data. fitted, held_out: windows (N, W, inputs), physical units.

    following: what came after each window held out, (N, steps, inputs). units: the size, in physical units, of one of
    the model's, by target; ones for classes.
    """

    recipe: Recipe
    model: Any
    series: Series
    inputs: Scale
    targets: Scale
    fitted: Array
    held_out: Array
    labels: Array

    def predict(self, windows: Array) -> Array:
        """(N, samples, values) of float Keras after ``windows`` (N, W, inputs), in the model's units."""
        return self.shaped(self.model.predict(self.inputs.of(windows).astype(np.float32), 256, verbose=0))

    def shaped(self, y: Array) -> Array:
        """Outputs, the oldest sample first, as (N, samples, values)."""
        values = len(self.recipe.quantiles) or self.classes or len(self.recipe.targets)
        return y.reshape(len(y), -1, values)

    @property
    def classes(self) -> int:
        return int(self.model.output_shape[-1]) if self.recipe.label == "class" else 0


WINDOWS = 256
HORIZON = 24


def rows_of(recipe: Recipe, series: Series, *, held_out: bool) -> Array:
    """All stretches of a window and what follows it, (N, W + HORIZON, columns), within one part of the series."""
    values = series.of(recipe.columns)
    part = values[series.train_rows :] if held_out else values[: series.train_rows]
    stretches = np.lib.stride_tricks.sliding_window_view(part, recipe.window + HORIZON, axis=0)
    return np.moveaxis(stretches, -1, 1)


def labels_of(recipe: Recipe, rows: Array) -> Array:
    """What the model is to say of each stretch (N, W + HORIZON, columns): (N, samples, targets)."""
    targets = [recipe.columns.index(name) for name in recipe.targets]
    window = recipe.window
    if recipe.label == "again":
        return rows[:, :window, : len(recipe.inputs)]
    if recipe.label == "wide":
        return rows[:, 1 : window + 1, targets]
    if recipe.label == "block":
        return rows[:, window : window + recipe.steps, targets]
    first = window - 1 + (0 if recipe.label == "class" else recipe.lead)
    return rows[:, first : first + 1, targets]


def train(recipe: Recipe, seed: int) -> Trained:
    """Train a recipe on its series, both from ``seed``, on one thread."""
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()
    series = SIMULATORS[recipe.series](seed)
    rows = rows_of(recipe, series, held_out=False)
    inputs, targets = (_scale(recipe, series, names) for names in (recipe.inputs, recipe.targets))
    x = inputs.of(rows[:, : recipe.window, : len(recipe.inputs)]).astype(np.float32)
    y = labels_of(recipe, rows)
    if recipe.label == "class":
        pure = (rows[:, : recipe.window, -1] == rows[:, recipe.window - 1, -1:]).all(axis=1)
        x, y = x[pure], y[pure, 0, 0]
    else:
        y = targets.of(y)
    x, y = x[:: max(1, len(x) // 2_000)], y[:: max(1, len(y) // 2_000)]
    model = recipe.model()
    if recipe.label not in ("class",) and not recipe.quantiles:
        y = y.reshape(len(y), *model.output_shape[1:])
    decay = keras.optimizers.schedules.CosineDecay(recipe.rate, recipe.epochs * -(-len(x) // 64))
    model.compile(keras.optimizers.Adam(decay), _loss(recipe), steps_per_execution=8, jit_compile=False)
    model.fit(x, y, 64, recipe.epochs, verbose=0)
    test = rows_of(recipe, series, held_out=True)
    chosen, of_train = (part[np.linspace(0, len(part) - 1, WINDOWS).round().astype(int)] for part in (test, rows))
    plain = keras.Model(model.inputs, model.outputs, name=model.name)  # without the optimizer
    cut = slice(0, recipe.window), slice(0, len(recipe.inputs))
    return Trained(
        recipe, plain, series, inputs, targets, of_train[:, *cut], chosen[:, *cut], labels_of(recipe, chosen)
    )


def _scale(recipe: Recipe, series: Series, names: tuple[str, ...]) -> Scale:
    values = series.of(names)[: series.train_rows]
    if recipe.label == "class":  # the series come scaled
        return Scale(np.zeros(1), np.ones(1))
    if recipe.scaling == "minmax":
        return Scale(values.min(axis=0), np.ptp(values, axis=0))
    return Scale(values.mean(axis=0), values.std(axis=0))


def _loss(recipe: Recipe) -> Any:
    import keras

    if recipe.label == "class":
        return keras.losses.SparseCategoricalCrossentropy()
    if not recipe.quantiles:
        return "mse"
    levels = np.array(recipe.quantiles, np.float32)

    def pinball(truth: Any, said: Any) -> Any:
        """truth (N, 1, 1), said (N, levels): both of one target."""
        off = keras.ops.reshape(truth, (-1, 1)) - said
        return keras.ops.mean(keras.ops.maximum(levels * off, (levels - 1) * off))

    return pinball
