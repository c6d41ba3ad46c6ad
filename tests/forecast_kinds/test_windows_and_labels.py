"""Windows, inputs and labels as people have them, each from Keras to the board: flat windows, static values beside the
window, a label for each sample of it, autoencoders, a softmax at the end, a Normalization that was adapted."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tflite_by_hand as by_hand
from saving import save
from tflite_models import convert
from whole_way import as_int8, check_on_board, codes_apart, series, written

from edge_tqs.errors import ModelError, UsageError
from edge_tqs.read.opening import open_model
from edge_tqs.system.reading import Said

W, F = 6, 2
EMULATED = ("qemu-mps2-an386",)


@dataclass(frozen=True)
class Form:
    """make: the Keras model. said, window: what its user says. channels: of a sample. given: a window (N, W, F) as it
    is called. picked: what is the forecast of what it gives. boards: where its C is run beside the host's. drawn:
    whether its weights are drawn at random."""

    make: Callable[[Any], Any]
    said: Said
    channels: int = F
    window: int | None = None
    given: Callable[[np.ndarray], Any] = lambda x: x
    picked: Callable[[np.ndarray], np.ndarray] = lambda y: y
    recurrence: str = "none"
    boards: tuple[str, ...] = ()
    drawn: bool = True


def flat(keras: Any) -> Any:
    layers = keras.layers
    return keras.Sequential([keras.Input((W * F,)), layers.Dense(8, "relu"), layers.Dense(2 * F)])


def static(keras: Any) -> Any:
    """The static input comes first in the model, and last among the channels."""
    layers = keras.layers
    site, past = keras.Input((3,), name="site"), keras.Input((W, F), name="past")
    return keras.Model([site, past], layers.Dense(F)(layers.Concatenate()([layers.LSTM(4)(past), site])))


def static_convolutional(keras: Any) -> Any:
    layers = keras.layers
    past, site = keras.Input((W, F), name="past"), keras.Input((1, 3), name="site")
    seen = layers.Flatten()(layers.Conv1D(4, 3, activation="relu")(past))
    return keras.Model([past, site], layers.Dense(1)(layers.Concatenate()([seen, layers.Flatten()(site)])))


def known_ahead(keras: Any) -> Any:
    """What is to come in three samples, which is convolved, beside the past."""
    layers = keras.layers
    ahead, past = keras.Input((3, 2), name="ahead"), keras.Input((W, F), name="past")
    seen = layers.Flatten()(layers.Conv1D(4, 3, activation="relu")(ahead))
    return keras.Model([ahead, past], layers.Dense(3)(layers.Concatenate()([seen, layers.LSTM(4)(past)])))


def of_late(keras: Any) -> Any:
    """Two windows of the same sensors, the longer one behind the shorter."""
    layers = keras.layers
    short, long = keras.Input((2, 1), name="a"), keras.Input((W, 1), name="b")
    flat = [layers.Flatten()(x) for x in (short, long)]
    return keras.Model({"a": short, "b": long}, layers.Dense(F)(layers.Concatenate()(flat)))


def wide(keras: Any) -> Any:
    layers = keras.layers
    return keras.Sequential([keras.Input((W, F)), layers.LSTM(4, return_sequences=True), layers.Dense(F)])


def residual(keras: Any) -> Any:
    layers = keras.layers
    x = keras.Input((W, F))
    return keras.Model(x, x + layers.Dense(F)(layers.GRU(4, return_sequences=True)(x)))


def wide_convolutional(keras: Any) -> Any:
    layers = keras.layers
    return keras.Sequential(
        [keras.Input((W, F)), layers.Conv1D(4, 3, padding="causal", activation="relu"), layers.Dense(F)]
    )


def autoencoder(keras: Any) -> Any:
    layers = keras.layers
    again = [layers.RepeatVector(W), layers.LSTM(3, return_sequences=True), layers.TimeDistributed(layers.Dense(F))]
    return keras.Sequential([keras.Input((W, F)), layers.LSTM(3), *again])


def softmax(keras: Any) -> Any:
    layers = keras.layers
    taps = [layers.Conv1D(4, 3, activation="relu"), layers.GlobalAveragePooling1D()]
    return keras.Sequential([keras.Input((W, F)), *taps, layers.Dense(3, "softmax")])


def adapted(keras: Any) -> Any:
    layers = keras.layers
    norm = layers.Normalization()
    norm.adapt(series(4, 50, F))
    return keras.Sequential([keras.Input((W, F)), norm, layers.GRU(4), layers.Dense(F)])


def vibration(keras: Any) -> Any:
    """A window as an image of one row: everything moves along it."""
    layers = keras.layers
    seen = [layers.Conv2D(4, (1, 3), activation="relu"), layers.BatchNormalization(), layers.MaxPooling2D((1, 2))]
    again = [layers.DepthwiseConv2D((1, 2)), layers.GlobalAveragePooling2D(), layers.Dense(3, "softmax")]
    return keras.Sequential([keras.Input((1, W, F)), *seen, *again])


def image(keras: Any) -> Any:
    """A window as an image of one channel: along time, along both axes, and over all sensors at once."""
    layers = keras.layers
    taps = [layers.Conv2D(3, (3, 1), padding="same", activation="relu"), layers.Conv2D(3, 2, padding="same")]
    joined = [layers.AveragePooling2D((2, 1)), layers.Conv2D(4, (2, F), activation="relu")]
    return keras.Sequential([keras.Input((W, F, 1)), *taps, *joined, layers.Flatten(), layers.Dense(F)])


FORMS = {
    "flat": Form(flat, Said(steps=2), window=W, given=lambda x: x.reshape(-1, W * F), boards=EMULATED),
    "static": Form(
        static,
        Said(),
        channels=F + 3,
        given=lambda x: [x[:, -1, F:], x[..., :F]],
        recurrence="windowed",
        boards=EMULATED,
    ),
    "static convolutional": Form(
        static_convolutional,
        Said(kind="direct", targets=("price",)),
        channels=F + 3,
        given=lambda x: [x[..., :F], x[:, -1:, F:]],
    ),
    "known ahead": Form(
        known_ahead,
        Said(kind="direct", targets=("load",)),
        channels=F + 2,
        given=lambda x: [x[:, -3:, :2], x[..., 2:]],
        boards=EMULATED,
    ),
    "of late": Form(of_late, Said(), given=lambda x: {"a": x[:, -2:, :1], "b": x[..., 1:]}),
    "wide": Form(wide, Said(last_only=True), picked=lambda y: y[:, -1], recurrence="windowed", boards=EMULATED),
    "residual": Form(residual, Said(last_only=True), picked=lambda y: y[:, -1], recurrence="windowed"),
    "wide convolutional": Form(wide_convolutional, Said(last_only=True), picked=lambda y: y[:, -1]),
    "autoencoder": Form(autoencoder, Said(kind="reconstruction"), boards=EMULATED),
    "softmax": Form(softmax, Said(), boards=EMULATED),
    "vibration": Form(vibration, Said(), given=lambda x: x[:, None]),
    "image": Form(image, Said(), given=lambda x: x[..., None]),
    "adapted": Form(adapted, Said(), recurrence="windowed", drawn=False),
}


@pytest.mark.parametrize("name", FORMS)
def test_from_keras_to_the_board(name: str, keras: Any, tmp_path: Path) -> None:
    form = FORMS[name]
    made = form.make(keras)
    if form.drawn:
        path = save(made, tmp_path / "m.keras")
    else:
        path = tmp_path / "m.keras"
        made.save(path)
    graph = open_model(path, window=form.window, said=form.said).need_graph()[1]
    assert (graph.forecast.channels, graph.forecast.recurrence) == (form.channels, form.recurrence)
    model = written(as_int8(graph), tmp_path)
    windows = series(20, W, form.channels, seed=5)
    keras_says = form.picked(np.asarray(made(form.given(windows))))
    assert codes_apart(model, keras_says, windows) < 1
    for board in ("host", *form.boards):
        check_on_board(board, model)


def test_what_is_read_without_being_said_is_told(keras: Any, tmp_path: Path) -> None:
    told = {
        "flat": "Its flat window of 12 values is read as 6 samples of 2, the oldest sample first",
        "static": "Channels 2 to 4 are its input site: static, read off the newest sample.",
        "softmax": "It ends in a softmax: its outputs are read as evidence for classes.",
    }
    for name, text in told.items():
        form = FORMS[name]
        path = save(form.make(keras), tmp_path / f"{name}.keras")
        loaded, graph = open_model(path, window=form.window, said=form.said).need_graph()
        assert any(text in note for note in loaded.notes)
    assert graph.forecast.task == "classes"


def test_static_values_are_held(keras: Any, tmp_path: Path) -> None:
    path = save(static(keras), tmp_path / "m.keras")
    forecast = open_model(path).need_graph()[1].forecast
    assert (forecast.feedback, forecast.held) == ((0, 1, None, None, None), (2, 3, 4))
    ahead = open_model(path, said=Said(known_ahead=(2, 3, 4))).need_graph()[1].forecast
    assert (ahead.held, ahead.exogenous) == ((), (2, 3, 4))
    with pytest.raises(UsageError, match="input 3 is static"):
        open_model(path, said=Said(feedback=(0, None, None, 1, None)))


@pytest.mark.parametrize(
    ("make", "asked", "match", "line"),
    [
        (flat, {}, "a flat window of 12 values, and nothing says how many", "--window SAMPLES: 1, 2, 3, 4, 6, 12"),
        (flat, {"window": 5}, "12 values is no 5 samples", "1, 2, 3, 4, 6, 12"),
        (flat, {"window": 6}, "4 values from 2 channels, and nothing says", "steps = 2, or --steps 2"),
        (static_convolutional, {}, "1 value from 2 channels beside 3 that are held", "--target-column COLUMN"),
        (wide, {}, "6 samples, as many as its window holds", 'labels = "wide"'),
        (autoencoder, {}, "6 samples, as many as its window holds", 'kind = "reconstruction"'),
        (wide, {"recurrence": "stateful"}, "it gives a sequence", 'labels = "wide"'),
    ],
)
def test_what_is_not_said_is_refused_with_the_line_that_says_it(
    make: Callable[[Any], Any], asked: dict[str, Any], match: str, line: str, keras: Any, tmp_path: Path
) -> None:
    with pytest.raises((ModelError, UsageError), match=match) as refused:
        open_model(save(make(keras), tmp_path / "m.keras"), **asked)
    assert line in refused.value.hint


def length_open(keras: Any) -> Any:
    a, b = keras.Input((None, F), name="past"), keras.Input((3, 1), name="future")
    pool, flatten = keras.layers.GlobalAveragePooling1D(), keras.layers.Flatten()
    return keras.Model([a, b], keras.layers.Dense(F)(keras.layers.Concatenate()([pool(a), flatten(b)])))


def as_long_as_the_window(keras: Any) -> Any:
    a, b = keras.Input((W, F), name="past"), keras.Input((W,), name="hour")
    return keras.Model([a, b], keras.layers.Dense(F)(keras.layers.Concatenate()([keras.layers.Flatten()(a), b])))


def two_flat_ones(keras: Any) -> Any:
    a, b = keras.Input((W,), name="a"), keras.Input((3,), name="b")
    return keras.Model([a, b], keras.layers.Dense(F)(keras.layers.Concatenate()([a, b])))


@pytest.mark.parametrize(
    ("make", "match", "line"),
    [
        (length_open, "past .* and future .* differ", "start the model with Input"),
        (as_long_as_the_window, "may be one channel over the 6 samples of the window, or 6 values", "(1, 6)"),
        (two_flat_ones, "none of its inputs is a sequence", "static"),
    ],
)
def test_inputs_that_make_no_window_are_refused(
    make: Callable[[Any], Any], match: str, line: str, keras: Any, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match=match) as refused:
        open_model(save(make(keras), tmp_path / "m.keras"))
    assert line in refused.value.hint


@pytest.mark.parametrize(
    ("layer", "match", "hint"),
    [
        (lambda layers: layers.DepthwiseConv2D(2), "its kernel is 2 x 2, .* it moves along two axes", r"\(K, 1\)"),
        (lambda layers: layers.Permute((2, 1, 3)), "applied to an image", "Reshape"),
        (lambda layers: layers.Conv2D(3, (2, 1), groups=3), "its groups are not supported", "groups=1"),
    ],
)
def test_what_is_done_to_an_image_and_has_no_form_of_one_axis(
    layer: Callable[[Any], Any], match: str, hint: str, keras: Any, tmp_path: Path
) -> None:
    layers = keras.layers
    parts = [keras.Input((W, F, 1)), layers.Conv2D(3, 1), layer(layers), layers.Flatten(), layers.Dense(F)]
    with pytest.raises(ModelError, match=match) as refused:
        open_model(save(keras.Sequential(parts), tmp_path / "m.keras")).need_graph()
    assert re.search(hint, refused.value.hint)


@pytest.mark.parametrize("name", ["flat", "softmax", "wide convolutional"])
def test_a_tflite_file_is_of_the_same_kind_as_its_keras_model(name: str, keras: Any, tmp_path: Path) -> None:
    form = FORMS[name]
    made = form.make(keras)
    of_keras = open_model(save(made, tmp_path / "m.keras"), window=form.window, said=form.said)
    path = tmp_path / "m.tflite"
    path.write_bytes(convert(made))
    loaded, graph = open_model(path, window=form.window, said=form.said).need_graph()
    assert graph.forecast == of_keras.need_graph()[1].forecast
    assert loaded.notes == of_keras.need_graph()[0].notes
    windows = series(20, W, form.channels, seed=5)
    keras_says = form.picked(np.asarray(made(form.given(windows))))
    assert codes_apart(written(as_int8(graph), tmp_path), keras_says, windows) < 1


def test_a_flat_tflite_file_without_its_window_is_refused(tmp_path: Path) -> None:
    file = by_hand.Maker()
    x = file.value("x", (1, W * F))
    path = tmp_path / "m.tflite"
    path.write_bytes(file.file([x], [file.dense(x, "y", by_hand.normal(F, W * F), by_hand.normal(F))]))
    with pytest.raises(ModelError, match="a flat window of 12 values, and nothing says how many") as refused:
        open_model(path)
    assert "--window SAMPLES: 1, 2, 3, 4, 6, 12" in refused.value.hint
    with pytest.raises(UsageError, match="12 values is no 5 samples"):
        open_model(path, window=5)
