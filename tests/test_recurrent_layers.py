"""The recurrent family: Keras, the float graph, the integer reference, tflite-micro and the C compute the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from c_library import TRAPS, Forecaster
from graphs import METADATA, needs_tflm
from saving import save

from edge_tqs.errors import ModelError
from edge_tqs.flatbuffer import model as tflite_model
from edge_tqs.passes.interpret import float_rollout
from edge_tqs.quantization import simulate
from edge_tqs.quantization.calibration import calibrate
from edge_tqs.quantization.quantize import quantize
from edge_tqs.quantization.runtimes import rollout_in
from edge_tqs.read.keras.model import load
from edge_tqs.system.tensorflow import quiet

W, F, U = 5, 3, 4


def chain(*layers: Any) -> Any:
    """A Sequential model; each item is ``lambda layers: layers.X(...)``."""
    return lambda keras: keras.Sequential([keras.Input((W, F)), *(layer(keras.layers) for layer in layers)])


def head(layers: Any) -> Any:
    return layers.Dense(F)


def flat(layers: Any) -> Any:
    return layers.Flatten()


def last(steps: int) -> Any:
    """The last sample of a sequence alone."""
    return lambda layers: layers.Cropping1D((steps - 1, 0))


def alone(kind: str, **config: Any) -> Any:
    return chain(lambda layers: getattr(layers, kind)(U, **config), head)


def backwards(kind: str) -> Any:
    """All outputs, of which the convolution tells the order, and the last one."""
    return chain(
        lambda layers: getattr(layers, kind)(U, go_backwards=True, return_sequences=True),
        lambda layers: layers.Conv1D(3, 2),
        lambda layers: getattr(layers, kind)(3, go_backwards=True),
        head,
    )


def both_ways(kind: str, mode: str, **config: Any) -> Any:
    def wrapped(layers: Any) -> Any:
        inner = getattr(layers, kind)(3, return_sequences=True, **config)
        return layers.Bidirectional(inner, merge_mode=mode)

    return chain(
        wrapped,
        lambda layers: layers.Conv1D(3, 2),
        lambda layers: layers.Bidirectional(getattr(layers, kind)(3, **config), merge_mode=mode),
        head,
    )


def two_kinds_of_direction(keras: Any) -> Any:
    layers = keras.layers
    both = layers.Bidirectional(
        layers.LSTM(3, return_sequences=True),
        backward_layer=layers.GRU(3, return_sequences=True, go_backwards=True),
    )
    return chain(lambda _: both, flat, head)(keras)


def encoder_decoder(keras: Any) -> Any:
    layers = keras.layers
    return chain(
        lambda _: layers.LSTM(U),
        lambda _: layers.RepeatVector(12),
        lambda _: layers.LSTM(3, return_sequences=True),
        lambda _: layers.TimeDistributed(layers.Dense(4, activation="relu")),
        lambda _: layers.TimeDistributed(layers.Dropout(0.5)),
        lambda _: layers.TimeDistributed(layers.Activation("tanh")),
        lambda _: layers.TimeDistributed(layers.Dense(F)),
        last(12),
        flat,
    )(keras)


def states_handed_on(kind: str) -> Any:
    """An encoder whose states, some also read by a Dense layer, start a decoder."""

    def make(keras: Any) -> Any:
        layers = keras.layers
        x = keras.Input((W, F))
        sequence, *states = getattr(layers, kind)(U, return_state=True, return_sequences=True)(x)
        seed = layers.RepeatVector(3)(layers.Dense(2)(states[-1]))
        decoder = getattr(layers, kind)(U, return_sequences=True, return_state=True)
        y, *final = decoder(seed, initial_state=states)
        y = layers.Concatenate(axis=1)([sequence, y])
        y = layers.Flatten()(layers.TimeDistributed(layers.Dense(2))(y))
        return keras.Model(x, layers.Dense(F)(layers.Concatenate()([y, *final])))

    return make


def states_read(keras: Any) -> Any:
    """The cell state behind the window: a step graph has it too."""
    layers = keras.layers
    x = keras.Input((W, F))
    y, h, c = layers.LSTM(U, return_state=True)(x)
    return keras.Model(x, layers.Dense(F)(layers.Concatenate()([y, c, h])))


def cells(*kinds: str, **config: Any) -> Any:
    def wrapped(layers: Any) -> Any:
        made = [getattr(layers, kind)(U - number) for number, kind in enumerate(kinds)]
        return layers.RNN(made if len(made) > 1 else made[0], **config)

    return chain(wrapped, *([flat] if config.get("return_sequences") else []), head)


#: name -> (how to make it, the recurrence of its graph)
MODELS: dict[str, tuple[Any, str]] = {
    "simple": (alone("SimpleRNN"), "windowed"),
    "simple relu": (alone("SimpleRNN", activation="relu", use_bias=False), "windowed"),
    "simple linear": (alone("SimpleRNN", activation="linear"), "windowed"),
    "simple sigmoid": (alone("SimpleRNN", activation="sigmoid", dropout=0.2, unroll=True), "windowed"),
    "options": (alone("LSTM", unit_forget_bias=False, dropout=0.2, recurrent_dropout=0.1, unroll=True), "windowed"),
    "hard gates": (alone("LSTM", recurrent_activation="hard_sigmoid", activation="relu"), "windowed"),
    "elu gates": (alone("GRU", recurrent_activation="hard_sigmoid", activation="elu"), "windowed"),
    "silu gates": (alone("GRU", activation="silu", reset_after=False), "windowed"),
    "relu6 gates": (alone("LSTM", activation="relu6"), "windowed"),
    "unrolled simple": (
        chain(lambda layers: layers.SimpleRNN(U, return_sequences=True), flat, head),
        "none",
    ),
    "unrolled hard gates": (
        chain(lambda layers: layers.GRU(3, recurrent_activation="hard_sigmoid", return_sequences=True), flat, head),
        "none",
    ),
    "backwards lstm": (backwards("LSTM"), "none"),
    "backwards gru": (backwards("GRU"), "none"),
    "backwards simple": (backwards("SimpleRNN"), "none"),
    "both concat": (both_ways("LSTM", "concat"), "none"),
    "both sum": (both_ways("GRU", "sum"), "none"),
    "both mul": (both_ways("SimpleRNN", "mul"), "none"),
    "both ave": (both_ways("GRU", "ave", reset_after=False, use_bias=False), "none"),
    "two kinds": (two_kinds_of_direction, "none"),
    "encoder decoder": (encoder_decoder, "none"),
    "lstm states": (states_handed_on("LSTM"), "none"),
    "gru states": (states_handed_on("GRU"), "none"),
    "simple states": (states_handed_on("SimpleRNN"), "none"),
    "states read": (states_read, "windowed"),
    "lstm cell": (cells("LSTMCell"), "windowed"),
    "stacked cells": (cells("LSTMCell", "GRUCell", "SimpleRNNCell"), "windowed"),
    "stacked backwards": (cells("GRUCell", "LSTMCell", go_backwards=True, return_sequences=True), "none"),
    "dense on samples": (
        chain(
            lambda layers: layers.TimeDistributed(layers.Dense(4, activation="relu")),
            lambda layers: layers.LSTM(3),
            head,
        ),
        "windowed",
    ),
    "reshaped between": (
        chain(lambda layers: layers.LSTM(6), lambda layers: layers.Reshape((3, 2)), lambda layers: layers.GRU(3), head),
        "none",
    ),
}


def windows(count: int) -> np.ndarray:
    return np.random.default_rng(9).normal(size=(count, W, F)).astype(np.float32)


@needs_tflm
@pytest.mark.parametrize("name", MODELS)
def test_every_form_of_the_layer_computes_the_same(name: str, keras: Any, tmp_path: Path) -> None:
    make, recurrence = MODELS[name]
    model = make(keras)
    loaded = load(save(model, tmp_path / "m.keras", spread=0.4))
    graph = loaded.graph
    assert loaded.parameters == model.count_params()
    assert graph.forecast.recurrence == recurrence
    found = float_rollout(graph, windows(4), 1).outputs[:, 0]
    np.testing.assert_allclose(found, np.asarray(model(windows(4), training=False)), atol=1e-5)
    kernels = [variable for variable in model.weights if variable.name.endswith("kernel")]
    paths = sorted(graph.weights())
    assert len(paths) == len(kernels)
    assert all(any(kernel.path.endswith(path) for kernel in kernels) for path in paths), "the paths of Keras"

    widths = {source: 4 if number % 2 else 8 for number, source in enumerate(graph.weights())}
    result = quantize(graph, widths, calibrate(graph, windows(4), 3))
    held = sum(tensor.size for tensors in result.weights().values() for tensor in tensors)
    assert held == sum(int(np.prod(kernel.shape)) for kernel in kernels), "all steps read the same weights"
    file = tflite_model.write(result, METADATA)
    assert tflite_model.read(file)[0].ops == result.ops
    codes = simulate.encode(result, windows(3))
    expected = simulate.integer_rollout(result, codes, 4).outputs
    np.testing.assert_array_equal(rollout_in("tflm", file, result, codes, 4).outputs, expected)
    forecaster = Forecaster(result, tmp_path, TRAPS)
    for seed, outputs in zip(codes, expected, strict=True):
        forecaster.reset()
        forecaster.push_codes(seed)
        np.testing.assert_array_equal(forecaster.forecast_codes(4)[0], outputs)


def test_each_step_of_an_unrolled_lstm_has_a_range_of_its_own_for_what_no_weights_read(
    keras: Any, tmp_path: Path
) -> None:
    """A c that grows over the steps is coarse in the range of all. h is read by weights, whose bias knows one scale."""
    made = chain(lambda layers: layers.LSTM(U, return_sequences=True), flat, head)(keras)
    graph = load(save(made, tmp_path / "m.keras")).graph
    ranges = calibrate(graph, windows(16), 1)
    result = quantize(graph, dict.fromkeys(graph.weights(), 8), ranges)

    def scales(what: str) -> list[float]:
        quants = [tensor.quant for name, tensor in result.tensors.items() if name.endswith(f"/{what}")]
        return [float(quant.scale[0]) for quant in quants if quant is not None]

    spans = [max(high, 0) - min(low, 0) for name, (low, high) in ranges.bounds.items() if name.endswith("/c_next")]
    np.testing.assert_allclose(scales("c_next"), np.array(spans) / 255, rtol=1e-6)
    assert len(set(scales("c_next"))) == W
    assert len(set(scales("h_next"))) == 1


REFUSED: dict[str, tuple[Any, str]] = {
    "function": (alone("SimpleRNN", activation="softplus", name="r"), "layer r .*activation softplus"),
    "inner function": (
        chain(lambda layers: layers.Bidirectional(layers.GRU(3, activation="softplus"), name="b"), head),
        "layer b/.*activation softplus",
    ),
    "inside": (
        chain(lambda layers: layers.TimeDistributed(layers.Reshape((3, 1)), name="t"), flat, head),
        r"layer t .*Reshape inside it",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_built_is_refused_with_its_reason(name: str, keras: Any, tmp_path: Path) -> None:
    make, reason = REFUSED[name]
    with quiet():
        make(keras).save(tmp_path / "m.keras")
    with pytest.raises(ModelError, match=reason) as caught:
        load(tmp_path / "m.keras")
    assert caught.value.hint


def test_stacked_cells_carry_their_states(keras: Any, tmp_path: Path) -> None:
    layers = keras.layers
    stack = layers.RNN([layers.LSTMCell(2), layers.GRUCell(3)], stateful=True)
    model = keras.Sequential([keras.Input((W, F), batch_size=1), stack, layers.Dense(F)])
    loaded = load(save(model, tmp_path / "m.keras", spread=0.4))
    assert loaded.graph.forecast.recurrence == "stateful"
    samples = np.random.default_rng(5).normal(size=(1, 2 * W, F)).astype(np.float32)
    for begin in (0, W):
        y = np.asarray(model(samples[:, begin : begin + W], training=False))
    graph = load(tmp_path / "m.keras", window=2 * W).graph
    np.testing.assert_allclose(float_rollout(graph, samples, 1).outputs[:, 0], y, atol=1e-5)


def _outputs_of_both(keras: Any) -> Any:
    x = keras.Input((W, F))
    a, b = keras.layers.Bidirectional(keras.layers.LSTM(3), merge_mode=None, name="b")(x)
    return keras.Model(x, keras.layers.Dense(F)(keras.layers.Add()([a, b])))


def _states_of_both(keras: Any) -> Any:
    x = keras.Input((W, F))
    outputs = keras.layers.Bidirectional(keras.layers.GRU(3, return_state=True), name="b")(x)
    return keras.Model(x, keras.layers.Dense(F)(outputs[1]))


def _state_as_output(keras: Any) -> Any:
    x = keras.Input((W, F))
    return keras.Model(x, keras.layers.GRU(F, return_state=True)(x)[1])


def _images(keras: Any) -> Any:
    layers = keras.layers
    return keras.Sequential([keras.Input((W, F, 1)), layers.ConvLSTM1D(2, 2, name="c"), layers.Flatten(), head(layers)])


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (_outputs_of_both, "layer b .*merge_mode=None"),
        (_states_of_both, "layer b .*return_state=True"),
        (_state_as_output, "output 1 of layer gru.*, a state"),
        (_images, "layer c .*states are images"),
    ],
)
def test_several_outputs_and_images_are_refused(make: Any, reason: str, keras: Any, tmp_path: Path) -> None:
    with quiet():
        make(keras).save(tmp_path / "m.keras")
    with pytest.raises(ModelError, match=reason):
        load(tmp_path / "m.keras")
