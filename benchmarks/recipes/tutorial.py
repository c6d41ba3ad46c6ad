"""The models of TensorFlow's time-series tutorial, each with the window and the labels that it has there."""

from __future__ import annotations

from typing import Any

from benchmarks.recipes.recipe import Recipe

COLUMNS = ("pressure", "temperature", "humidity", "wind_x", "wind_y", "day_sin", "day_cos")
F = len(COLUMNS)
TARGET = ("temperature",)
DAY = 24
UNITS = 32


def sequential(name: str, shape: tuple[int, int], *layers: Any) -> Any:
    import keras

    return keras.Sequential([keras.Input(shape, name="samples"), *layers], name=name)


# --- one step, one value ----------------------------------------------------------------------------------------------


def linear(outputs: int = 1) -> Any:
    from keras import layers as k

    return sequential("linear", (1, F), k.Dense(outputs))


def dense(outputs: int = 1) -> Any:
    from keras import layers as k

    return sequential("dense", (1, F), k.Dense(UNITS, "relu"), k.Dense(UNITS, "relu"), k.Dense(outputs))


def multi_step_dense() -> Any:
    """Three hours at once, and one label: (3, F) -> (1, 1)."""
    from keras import layers as k

    head = k.Dense(UNITS, "relu"), k.Dense(UNITS, "relu"), k.Dense(1), k.Reshape((1, -1))
    return sequential("multi_step_dense", (3, F), k.Flatten(), *head)


def cnn() -> Any:
    """The same as a convolution of three taps."""
    from keras import layers as k

    head = k.Dense(UNITS, "relu"), k.Dense(1)
    return sequential("cnn", (3, F), k.Conv1D(UNITS, 3, activation="relu"), *head)


def lstm(outputs: int = 1) -> Any:
    """A label for each sample of the window: (24, F) -> (24, outputs)."""
    from keras import layers as k

    return sequential("lstm", (DAY, F), k.LSTM(UNITS, return_sequences=True), k.Dense(outputs))


def residual() -> Any:
    """An LSTM of what changes: its output is added to its input; (24, F) -> (24, F)."""
    import keras
    from keras import layers as k

    window = keras.Input((DAY, F), name="samples")
    change = k.Dense(F, kernel_initializer="zeros")(k.LSTM(UNITS, return_sequences=True)(window))
    return keras.Model(window, k.Add()([window, change]), name="residual")


# --- a day at once ----------------------------------------------------------------------------------------------------


def _day(name: str, *layers: Any) -> Any:
    from keras import layers as k

    head = k.Dense(DAY * F, kernel_initializer="zeros"), k.Reshape((DAY, F))
    return sequential(name, (DAY, F), *layers, *head)


def day_linear() -> Any:
    """From the last sample, cropped in place of sliced by a Lambda, whose code no file can hold."""
    from keras import layers as k

    return _day("day_linear", k.Cropping1D((DAY - 1, 0)), k.Flatten())


def day_dense() -> Any:
    from keras import layers as k

    return _day("day_dense", k.Cropping1D((DAY - 1, 0)), k.Flatten(), k.Dense(64, "relu"))


def day_cnn() -> Any:
    from keras import layers as k

    return _day("day_cnn", k.Cropping1D((DAY - 3, 0)), k.Conv1D(64, 3, activation="relu"), k.Flatten())


def day_lstm() -> Any:
    from keras import layers as k

    return _day("day_lstm", k.LSTM(UNITS))


def feedback() -> Any:
    """A warm-up over the window, then the same cell and head once a step, fed their own forecast: (24, F) -> (4, F)."""
    import keras
    from keras import layers as k

    window = keras.Input((DAY, F), name="samples")
    cell, head = k.LSTM(UNITS, return_state=True, name="cell"), k.Dense(F, name="head")
    row = k.Reshape((1, F), name="row")
    y, *states = cell(window)
    said = [row(head(y))]
    for _ in range(FED_BACK - 1):
        y, *states = cell(said[-1], initial_state=states)
        said.append(row(head(y)))
    return keras.Model(window, k.Concatenate(axis=1)(said), name="feedback")


FED_BACK = 4


WIDE, BLOCK = ("forecast", 'labels = "wide"'), ("forecast", f"steps = {DAY}")


def _recipe(name: str, model: Any, window: int, targets: tuple[str, ...], **given: Any) -> Recipe:
    return Recipe(f"tutorial: {name}", model, "weather", COLUMNS, targets, window, **given)


RECIPES = (
    _recipe("linear", linear, 1, TARGET, rate=3e-2),
    _recipe("dense", dense, 1, TARGET),
    _recipe("multi-step dense", multi_step_dense, 3, TARGET),
    _recipe("CNN", cnn, 3, TARGET),
    _recipe("LSTM, wide labels", lstm, DAY, TARGET, label="wide"),
    _recipe("dense, all columns", lambda: dense(F), 1, COLUMNS, loop=True),
    _recipe("LSTM, all columns", lambda: lstm(F), DAY, COLUMNS, label="wide", line=WIDE, loop=True),
    _recipe("residual LSTM", residual, DAY, COLUMNS, label="wide", loop=True),
    _recipe(
        "day, linear", day_linear, DAY, COLUMNS, label="block", steps=DAY, line=BLOCK, loop=True, epochs=40, rate=1e-2
    ),
    _recipe("day, dense", day_dense, DAY, COLUMNS, label="block", steps=DAY, line=BLOCK, loop=True),
    _recipe("day, CNN", day_cnn, DAY, COLUMNS, label="block", steps=DAY, line=BLOCK, loop=True),
    _recipe("day, LSTM", day_lstm, DAY, COLUMNS, label="block", steps=DAY, line=BLOCK, loop=True),
    _recipe("feedback LSTM", feedback, DAY, COLUMNS, label="block", steps=FED_BACK, loop=True),
)
