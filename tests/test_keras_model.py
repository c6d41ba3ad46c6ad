from __future__ import annotations

import hashlib
import json
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from c_library import TRAPS, Forecaster
from graphs import METADATA, needs_tflm
from saving import save

from edge_tqs.errors import CheckError, ModelError, ToolError, UsageError
from edge_tqs.flatbuffer import model as tflite_model
from edge_tqs.passes.interpret import float_rollout
from edge_tqs.quantization import simulate
from edge_tqs.quantization.calibration import calibrate
from edge_tqs.quantization.quantize import quantize
from edge_tqs.quantization.runtimes import rollout_in
from edge_tqs.read.keras import model as keras_model
from edge_tqs.read.keras.model import load
from edge_tqs.system.tensorflow import quiet

W, F = 6, 3
Make = Callable[[Any], Any]


def sequential(*layers: Make, window: int | None = W) -> Make:
    """Input (window, F), then the layers."""

    def make(keras: Any) -> Any:
        return keras.Sequential([keras.Input((window, F)), *(layer(keras.layers) for layer in layers)], name="net")

    return make


def recurrent(kind: str, units: int = 5, **config: Any) -> Make:
    return lambda layers: getattr(layers, kind)(units, **config)


def dense(units: int = F, activation: Any = None, **config: Any) -> Make:
    return lambda layers: layers.Dense(units, activation=activation, **config)


def flatten(layers: Any) -> Any:
    return layers.Flatten()


def functional(keras: Any) -> Any:
    x = keras.Input((W, F))
    y = keras.layers.GaussianNoise(0.1)(x)
    y = keras.layers.GRU(4, reset_after=False, dropout=0.2, recurrent_dropout=0.1)(y)
    return keras.Model(x, keras.layers.Dense(F)(keras.layers.Dropout(0.5)(y)))


def conv(filters: int, taps: int, **config: Any) -> Make:
    return lambda layers: layers.Conv1D(filters, taps, **config)


def residual(keras: Any) -> Any:
    """Causal dilated blocks with a skip around each, the last sample alone goes on."""
    layers = keras.layers
    x = keras.Input((W, F))
    y = layers.Conv1D(5, 1)(layers.GaussianNoise(0.1)(x))
    for dilation in (1, 2):
        z = layers.Conv1D(5, 3, padding="causal", dilation_rate=dilation, activation="relu")(y)
        z = layers.Conv1D(5, 3, padding="causal", dilation_rate=dilation, activation="tanh")(layers.Dropout(0.1)(z))
        y = layers.Add()([y, z])
    y = layers.Flatten()(layers.Cropping1D((W - 1, 0))(y))
    return keras.Model(x, layers.Dense(F)(y))


def centred(keras: Any) -> Any:
    """A forecast of what lies beside the window's mean, and every kind of joining."""
    layers = keras.layers
    x = keras.Input((W, F))
    mean = layers.GlobalAveragePooling1D(keepdims=True)(x)
    y = layers.Subtract()([x, mean])
    wide = layers.Concatenate()([y, layers.Conv1D(2, 3, padding="same", strides=1)(y)])
    longer = layers.Concatenate(axis=1)([wide, layers.ZeroPadding1D((2, 1))(wide)])
    pooled = layers.GlobalAveragePooling1D()(longer)
    gated = layers.Multiply()([layers.Dense(5, activation="sigmoid")(pooled), layers.Dense(5)(pooled), pooled])
    last = layers.Flatten()(layers.Cropping1D((W - 1, 0))(x))
    return keras.Model(x, layers.Add()([last, layers.Dense(F)(gated)]))


def centred_recurrent(kind: str, **config: Any) -> Make:
    """A recurrent layer on what lies beside the window's mean, and a skip around it: no step graph can do that."""

    def make(keras: Any) -> Any:
        layers = keras.layers
        x = keras.Input((W, F))
        y = layers.Subtract()([x, layers.GlobalAveragePooling1D(keepdims=True)(x)])
        y = getattr(layers, kind)(4, return_sequences=True, **config)(y)
        y = getattr(layers, kind)(5, **config)(layers.Dense(6, activation="relu")(y))
        return keras.Model(x, layers.Add()([layers.Flatten()(layers.Cropping1D((W - 1, 0))(x)), layers.Dense(F)(y)]))

    return make


def shared_value(keras: Any) -> Any:
    """What a relu reads is read elsewhere too: it must not be fused into the convolution."""
    layers = keras.layers
    x = keras.Input((W, F))
    y = layers.Dropout(0.5)(layers.Conv1D(4, 2)(x))
    y = layers.Concatenate()([y, layers.Activation("relu")(y)])
    return keras.Model(x, layers.Dense(F)(layers.Flatten()(y)))


def two_heads(keras: Any) -> Any:
    x = keras.Input((W, F))
    y = keras.layers.LSTM(4)(keras.layers.Dense(3)(x))
    joined = keras.layers.Add()([keras.layers.Dense(F)(y), keras.layers.Dense(F, activation="tanh")(y)])
    return keras.Model(x, joined)


def layer(kind: str, *given: Any, **config: Any) -> Make:
    return lambda layers: getattr(layers, kind)(*given, **config)


def merged(keras: Any) -> Any:
    """Joinings that are made of sums, and an average over time that reads what a sigmoid saturates."""
    layers = keras.layers
    x = keras.Input((W, F))
    y, z = layers.Conv1D(4, 1)(x), layers.Conv1D(4, 2, padding="causal", groups=1)(x)
    joined = [layers.Maximum()([y, z]), layers.Minimum()([y, z]), layers.Average()([y, z, layers.Dense(4)(x)])]
    grouped = layers.Conv1D(4, 2, groups=2)(layers.Concatenate()(joined[:2]))
    return keras.Model(x, layers.Dense(F)(layers.Flatten()(layers.Concatenate(axis=1)([*joined, grouped]))))


def shared(keras: Any) -> Any:
    """Layers that are applied again, an LSTM among them, and a model inside the model."""
    layers = keras.layers
    x = keras.Input((W, F))
    block = keras.Sequential([keras.Input((W, F)), layers.Dense(4, "relu"), layers.Dense(F)], name="block")
    memory = layers.LSTM(F, return_sequences=True)
    y = memory(layers.Add()([x, block(memory(block(x)))]))
    twice = layers.Dense(F, "tanh")
    return keras.Model(x, layers.Dense(F)(twice(twice(layers.LSTM(F)(y)))))


def shared_over_time(keras: Any) -> Any:
    """As above over the whole window, with a model of two inputs and two outputs inside."""
    layers = keras.layers
    a, b = keras.Input((W, F)), keras.Input((W, F))
    gate = layers.Dense(F, "sigmoid")
    inner = keras.Model([a, b], [layers.Multiply()([gate(a), b]), gate(layers.Subtract()([a, b]))], name="inner")
    x = keras.Input((W, F))
    convolution, memory = layers.Conv1D(F, 3, padding="causal", activation="relu"), layers.GRU(F)
    left, right = inner([x, convolution(convolution(x))])
    left, right = inner([right, left])
    return keras.Model(x, layers.Add()([memory(left), memory(right)]))


def shared_normalised(keras: Any) -> Any:
    """A layer that is applied again keeps its weights from the BatchNormalization behind one of its places; a shared
    BatchNormalization goes into a layer of its own, and stands alone elsewhere.
    """
    layers = keras.layers
    x = keras.Input((W, F))
    mix, taps, normal = (
        layers.Dense(F),
        layers.Conv1D(F, 2, padding="same", use_bias=False),
        layers.BatchNormalization(),
    )
    y = taps(normal(mix(x)))
    y = layers.BatchNormalization()(taps(mix(y)))
    y = normal(layers.Conv1D(F, 1, use_bias=False, name="alone")(y))
    rescale = layers.Rescaling(0.5, 0.1)
    return keras.Model(x, layers.Dense(F)(layers.Flatten()(rescale(layers.LayerNormalization()(rescale(y))))))


def shared_wrappers(keras: Any) -> Any:
    """Layers made of layers, or of parts of their weights, that are applied again."""
    layers = keras.layers
    x = keras.Input((W, F))
    both = layers.Bidirectional(layers.GRU(F, return_sequences=True), merge_mode="ave")
    each, cells = layers.TimeDistributed(layers.Dense(F)), layers.RNN(layers.LSTMCell(F), return_sequences=True)
    attention, separable = layers.MultiHeadAttention(2, 2), layers.SeparableConv1D(F, 2, padding="same")
    before = layers.GRU(F, reset_after=False, return_sequences=True)
    y = x
    for _ in range(2):
        y = separable(attention(each(both(y)), x))
        y = before(cells(y)) - x
    return keras.Model(x, layers.Dense(F)(layers.Flatten()(y)))


def nested_states(keras: Any) -> Any:
    """The states that a model inside gives start a recurrent layer outside; models inside models."""
    layers = keras.layers
    a = keras.Input((W, F))
    deep = keras.Sequential([keras.Input((W, F)), layers.Dense(F, "tanh")], name="deep")
    _, h, c = layers.LSTM(3, return_state=True, name="memory")(deep(a))
    encoder = keras.Model(a, [h, c], name="encoder")
    x = keras.Input((W, F))
    return keras.Model(x, layers.Dense(F)(layers.LSTM(3)(x, initial_state=encoder(x))))


MODELS: dict[str, Make] = {
    "depthwise": sequential(
        lambda layers: layers.ZeroPadding1D((2, 0)),
        layer("DepthwiseConv1D", 3, depth_multiplier=2, activation="relu"),
        layer("SeparableConv1D", 4, 3, padding="same", dilation_rate=2, depth_multiplier=3),
        layer("DepthwiseConv1D", 2, padding="same", strides=2, use_bias=False),
        conv(8, 2, groups=4, activation="relu6"),
        layer("Conv1DTranspose", 3, 4, strides=3, padding="same", activation="relu"),
        layer("Conv1DTranspose", 2, 2, dilation_rate=2, use_bias=False, activation="tanh"),
        flatten,
        dense(),
    ),
    "pooled": sequential(
        conv(4, 2, padding="same"),
        layer("AveragePooling1D", 3, strides=2, padding="same"),
        layer("UpSampling1D", 3),
        layer("MaxPooling1D", 2, strides=1),
        layer("Activation", "sigmoid"),
        layer("MaxPooling1D", 4, strides=3, padding="same"),
        layer("AveragePooling1D", 2, strides=1),
        layer("GlobalMaxPooling1D"),
        dense(),
    ),
    "merged": merged,
    "batch normalised": sequential(
        layer("Rescaling", 0.5, 0.1),
        layer("Normalization", mean=[0.1, -0.2, 0.3], variance=[1.5, 0.5, 2.0]),
        layer("BatchNormalization", center=False),
        conv(4, 3, use_bias=False),
        layer("BatchNormalization"),
        layer("ReLU"),
        layer("BatchNormalization", scale=False),
        flatten,
        dense(5),
        layer("BatchNormalization"),
        dense(4, "relu"),
        layer("BatchNormalization"),
        dense(),
    ),
    "steps normalised": sequential(
        layer("Rescaling", [0.5, 1.0, 2.0], [0.1, 0.0, -0.1]),
        layer("LayerNormalization"),
        recurrent("GRU", 3),
        layer("BatchNormalization"),
        dense(),
    ),
    "layer normalised": sequential(
        dense(6), layer("LayerNormalization"), flatten, dense(4, "tanh"), layer("LayerNormalization"), dense()
    ),
    "dense": sequential(flatten, dense()),
    "activations": sequential(
        flatten,
        dense(8, "relu"),
        dense(8, "tanh"),
        dense(8, "sigmoid"),
        dense(8, "elu"),
        dense(8, "leaky_relu"),
        dense(8, "silu", use_bias=False),
        dense(8, "relu6"),
        dense(F, "swish"),
    ),
    "activation layers": sequential(
        lambda layers: layers.Reshape((W * F,)),
        dense(8),
        lambda layers: layers.Dropout(0.3),
        lambda layers: layers.ReLU(),
        dense(8),
        lambda layers: layers.LeakyReLU(negative_slope=0.15),
        dense(8),
        lambda layers: layers.ELU(),
        dense(8),
        lambda layers: layers.ReLU(max_value=6.0),
        dense(8),
        lambda layers: layers.ReLU(negative_slope=0.4),
        lambda layers: layers.Activation("relu"),
        dense(F),
        lambda layers: layers.Activation("tanh"),
    ),
    "lstm": sequential(recurrent("LSTM"), flatten, dense()),
    "lstm without bias": sequential(recurrent("LSTM", use_bias=False), dense()),
    "three lstm": sequential(
        dense(4, "relu"),
        recurrent("LSTM", return_sequences=True),
        lambda layers: layers.SpatialDropout1D(0.2),
        recurrent("LSTM", 4, return_sequences=True),
        dense(6, "tanh"),
        recurrent("LSTM", 3),
        lambda layers: layers.Activation("relu"),
        dense(7, "relu"),
        dense(),
    ),
    "gru": sequential(recurrent("GRU"), dense()),
    "gru without bias": sequential(recurrent("GRU", use_bias=False), dense()),
    "gru before": sequential(recurrent("GRU", reset_after=False), dense()),
    "gru into lstm": sequential(recurrent("GRU", reset_after=False, return_sequences=True), recurrent("LSTM"), dense()),
    "no head": sequential(recurrent("GRU", F)),
    "functional": functional,
    "convolutions": sequential(
        conv(4, 3, activation="relu"),
        conv(5, 2, padding="same", strides=2, activation="elu"),
        conv(4, 2, padding="causal", use_bias=False),
        lambda layers: layers.ReLU(),
        flatten,
        dense(),
    ),
    "padded convolutions": sequential(
        lambda layers: layers.ZeroPadding1D((4, 0)),
        conv(4, 3, dilation_rate=2),
        lambda layers: layers.ZeroPadding1D(1),
        conv(4, 4, padding="same", activation="relu6"),
        lambda layers: layers.GlobalAveragePooling1D(),
        dense(),
    ),
    "dense on samples": sequential(dense(4, "relu"), dense(2), flatten, dense()),
    "exchanged": sequential(
        lambda layers: layers.Permute((2, 1)),
        dense(4, "relu"),
        lambda layers: layers.Permute((2, 1)),
        conv(4, 3),
        lambda layers: layers.Reshape((4, -1)),
        lambda layers: layers.Permute((2, 1)),
        flatten,
        dense(),
    ),
    "residual": residual,
    "centred": centred,
    "shared value": shared_value,
    "two heads": two_heads,
    "shared": shared,
    "shared over time": shared_over_time,
    "shared normalised": shared_normalised,
    "shared wrappers": shared_wrappers,
    "states of a model inside": nested_states,
    "centred lstm": centred_recurrent("LSTM"),
    "centred gru": centred_recurrent("GRU"),
    "centred gru before": centred_recurrent("GRU", reset_after=False, use_bias=False),
    "sequences of many samples": sequential(
        lambda layers: layers.ZeroPadding1D((0, 15)),
        recurrent("LSTM", 2, return_sequences=True),
        conv(2, 3, strides=2, activation="relu"),
        flatten,
        dense(),
    ),
    "one sample": sequential(
        lambda layers: layers.Cropping1D((W - 1, 0)), recurrent("GRU", 3, return_sequences=True), flatten, dense()
    ),
}


def transformer(keras: Any) -> Any:
    """Samples embedded, their positions added, self-attention and a layer on each sample, a skip around both."""
    layers, ops = keras.layers, keras.ops
    x = keras.Input((W, F))
    y = layers.Dense(4)(x) + layers.Embedding(W, 4)(ops.arange(W))
    y = layers.Add()([y, layers.MultiHeadAttention(2, 3, value_dim=2, dropout=0.1)(y, y)])
    z = layers.Dense(4)(layers.Dense(5, activation="gelu")(y))
    return keras.Model(x, layers.Dense(F)((y + z)[:, -1]))


def patches(keras: Any) -> Any:
    """PatchTST-like: two samples of all channels make one patch."""
    layers = keras.layers
    x = keras.Input((W, F))
    y = layers.Dense(4, activation="gelu")(layers.Reshape((W // 2, 2 * F))(x))
    y = layers.Add()([y, layers.MultiHeadAttention(2, 2, use_bias=False)(y, y)])
    return keras.Model(x, layers.Dense(F)(layers.Flatten()(y)))


def attentions(keras: Any) -> Any:
    """Causal, across, grouped, and without weights."""
    layers = keras.layers
    x = keras.Input((W, F))
    y = layers.MultiHeadAttention(2, 2)(x, x, use_causal_mask=True)
    z = layers.MultiHeadAttention(1, 3, output_shape=4)(query=layers.Conv1D(3, 2)(x), value=y)
    z = layers.GroupQueryAttention(2, 4, 2)(z, z)
    z = layers.Attention()([z, layers.Dense(4)(x), layers.Dense(4)(y)])
    z = layers.Attention(use_scale=False)([z, z], use_causal_mask=True)
    return keras.Model(x, layers.Dense(F)(layers.Flatten()(z)))


def nlinear(keras: Any) -> Any:
    """What lies beside the last sample, each channel on its own."""
    layers = keras.layers
    x = keras.Input((W, F))
    last = x[:, -1:, :]
    y = layers.Permute((2, 1))(layers.Dense(1)(layers.Permute((2, 1))(x - last)))
    return keras.Model(x, (y + last)[:, 0])


def normalised(keras: Any) -> Any:
    """RevIN by hand: beside the mean, over the deviation, and back."""
    layers, ops = keras.layers, keras.ops
    x = keras.Input((W, F))
    mean = ops.mean(x, axis=1, keepdims=True)
    deviation = ops.sqrt(ops.var(x, axis=1, keepdims=True) + 0.3)
    y = layers.Dense(F)(layers.Flatten()((x - mean) / deviation))
    return keras.Model(x, ops.squeeze(ops.reshape(y, (-1, 1, F)) * deviation + mean, axis=1))


def operations(keras: Any) -> Any:
    layers, ops = keras.layers, keras.ops
    x = keras.Input((W, F))
    y = ops.transpose(ops.tanh(1.0 - x / 2.0), (0, 2, 1))
    y = ops.concatenate([y, ops.relu(y)], axis=-1)[..., 1:8]
    y = ops.softmax(ops.swapaxes(y, 1, 2)) * np.array([1.0, -2.0, 0.5], np.float32)
    y = y - ops.mean(y, axis=-1, keepdims=True) + ops.sum(y, axis=1, keepdims=True) / 8.0
    stacked = ops.stack([layers.Dense(2)(y[:, 0]), layers.Dense(2)(y[:, -1])], axis=1)
    y = ops.matmul(stacked, ops.transpose(layers.Dense(2)(y), (0, 2, 1)))
    y = ops.gelu(layers.Dense(4)(layers.Flatten()(y)), approximate=False)
    y = layers.Dense(F)(ops.exp(ops.negative(ops.square(y))))
    return keras.Model(x, y + ops.squeeze(x[:, -1:], axis=1) * 0.5)


def scaled_recurrent(keras: Any) -> Any:
    """What works on each sample stays in the step of a recurrent model."""
    layers, ops = keras.layers, keras.ops
    x = keras.Input((W, F))
    y = layers.GRU(3)(ops.softplus((x - np.array([0.1, 0.2, 0.3], np.float32)) / 2.0))
    return keras.Model(x, layers.Dense(F)(ops.concatenate([y, y * 2.0], axis=-1)) + layers.Dense(F)(y))


def last_of_recurrent(keras: Any) -> Any:
    """The last sample of a sequence of states, and their sum by shares: of the window as a whole."""
    layers, ops = keras.layers, keras.ops
    x = keras.Input((W, F))
    y = layers.LSTM(2, return_sequences=True)(x - x[:, -1:])
    pooled = ops.sum(y * ops.softmax(layers.Dense(1, "tanh")(y), axis=1), axis=1)
    return keras.Model(
        x, layers.Dense(F)(layers.MultiHeadAttention(1, 2)(y, y)[:, -1]) + layers.Dense(F)(pooled) + x[:, -1]
    )


MODELS |= {
    "last of recurrent": last_of_recurrent,
    "transformer": transformer,
    "patches": patches,
    "attentions": attentions,
    "nlinear": nlinear,
    "normalised": normalised,
    "operations": operations,
}

#: Activations that are tables of int8 codes.
TABLED = (
    *("hard_sigmoid", "hard_silu", "hard_tanh", "softplus", "softsign", "gelu", "celu", "selu", "mish"),
    *("log_sigmoid", "squareplus", "sparse_plus", "sparse_sigmoid", "tanh_shrink", "soft_shrink", "hard_shrink"),
    *("exponential", "softmax"),
)
MODELS["tabled activations"] = sequential(dense(4, "gelu"), flatten, *(dense(4, name) for name in TABLED), dense())
MODELS["tabled activation layers"] = sequential(
    conv(4, 3),
    lambda layers: layers.PReLU(shared_axes=[1]),
    dense(4),
    lambda layers: layers.PReLU(),
    lambda layers: layers.Softmax(),
    lambda layers: layers.Softmax(axis=1),
    flatten,
    dense(5),
    lambda layers: layers.PReLU(),
    lambda layers: layers.ELU(alpha=0.5),
    lambda layers: layers.ReLU(max_value=2.0, negative_slope=0.1, threshold=0.2),
    lambda layers: layers.Activation("relu6"),
    dense(),
)


#: Recurrent models that are built over the whole window, without states.
UNROLLED = (
    *("centred lstm", "centred gru", "centred gru before", "sequences of many samples", "one sample"),
    "last of recurrent",
)
#: The others of this kind: a layer that is applied again has a bias for each scale of what it reads.
APPLIED_AGAIN = ("shared over time", "shared wrappers", "states of a model inside")


@pytest.mark.parametrize("name", MODELS)
def test_graph_equals_keras_step_by_step_and_in_closed_loop(name: str, keras: Any, tmp_path: Path) -> None:
    model = MODELS[name](keras)
    path = save(model, tmp_path / "model.keras")
    loaded = load(path)
    assert loaded.float_vs_keras_max_abs < 1e-5
    assert loaded.parameters == model.count_params()
    assert loaded.source_hash == hashlib.sha256(path.read_bytes()).hexdigest()
    forecast = loaded.graph.forecast
    has_states = any(isinstance(layer, keras.layers.RNN) for layer in model.layers) and name not in (
        *UNROLLED,
        *APPLIED_AGAIN,
    )
    assert (forecast.window, forecast.channels, forecast.feedback) == (W, F, (0, 1, 2))
    assert forecast.recurrence == ("windowed" if has_states else "none")
    window = np.random.default_rng(5).normal(size=(2, W, F)).astype(np.float32)
    found = float_rollout(loaded.graph, window, 4).outputs
    for t in range(4):
        y = np.asarray(model(window, training=False))
        np.testing.assert_allclose(found[:, t], y, atol=1e-4)
        window = np.concatenate([window[:, 1:], y[:, None]], axis=1)


@pytest.mark.parametrize("name", UNROLLED)
def test_the_steps_of_an_unrolled_layer_read_the_same_weights(name: str, keras: Any, tmp_path: Path) -> None:
    model = MODELS[name](keras)
    graph = load(save(model, tmp_path / "m.keras")).graph
    assert sum(tensor.size for tensor in graph.tensors.values() if tensor.source) == model.count_params()
    result = quantize(graph, dict.fromkeys(graph.weights(), 8), calibrate(graph, windows(4), 6))
    kernels = [tensor.size for tensors in graph.weights().values() for tensor in tensors]
    assert sum(tensor.size for tensor in result.tensors.values() if tensor.source) == sum(kernels)


def test_an_applied_again_layer_has_its_kernel_once_and_a_bias_for_each_scale(keras: Any, tmp_path: Path) -> None:
    model = MODELS["shared over time"](keras)
    graph = load(save(model, tmp_path / "m.keras")).graph
    assert sum(tensor.size for tensor in graph.tensors.values() if tensor.source) == model.count_params()
    result = quantize(graph, dict.fromkeys(graph.weights(), 8), calibrate(graph, windows(4), 6))
    kernels = [tensor.size for tensors in result.weights().values() for tensor in tensors]
    assert sorted(kernels) == sorted(t.size for tensors in graph.weights().values() for t in tensors)


@needs_tflm
@pytest.mark.parametrize("name", MODELS)
def test_every_form_of_the_model_computes_the_same(name: str, keras: Any, tmp_path: Path) -> None:
    """The numpy reference, tflite-micro and the C, bit for bit; the file read back is the same graph."""
    graph = load(save(MODELS[name](keras), tmp_path / "m.keras")).graph
    widths = {source: 4 if number % 2 else 8 for number, source in enumerate(graph.weights())}
    result = quantize(graph, widths, calibrate(graph, windows(4), 6))
    file = tflite_model.write(result, METADATA)
    assert tflite_model.read(file)[0].ops == result.ops
    codes = simulate.encode(result, windows(3))
    expected = simulate.integer_rollout(result, codes, 8).outputs
    np.testing.assert_array_equal(rollout_in("tflm", file, result, codes, 8).outputs, expected)
    forecaster = Forecaster(result, tmp_path, TRAPS)
    for seed, outputs in zip(codes, expected, strict=True):
        forecaster.reset()
        forecaster.push_codes(seed)
        np.testing.assert_array_equal(forecaster.forecast_codes(8)[0], outputs)


@needs_tflm
@pytest.mark.parametrize("name", ["depthwise", "pooled", "batch normalised"])
def test_int16_codes_are_the_same_everywhere(name: str, keras: Any, tmp_path: Path) -> None:
    graph = load(save(MODELS[name](keras), tmp_path / "m.keras")).graph
    widths = dict.fromkeys(graph.weights(), 8)
    if name == "depthwise":  # 4 bits are held a byte each there
        widths[next(iter(widths))] = 4
    result = quantize(graph, widths, calibrate(graph, windows(4), 6), activations="int16")
    codes = simulate.encode(result, windows(2))
    expected = simulate.integer_rollout(result, codes, 5).outputs
    file = tflite_model.write(result, METADATA)
    np.testing.assert_array_equal(rollout_in("tflm", file, result, codes, 5).outputs, expected)
    forecaster = Forecaster(result, tmp_path, TRAPS)
    forecaster.reset()
    forecaster.push_codes(codes[0])
    np.testing.assert_array_equal(forecaster.forecast_codes(5)[0], expected[0])


def test_a_layer_normalisation_of_int8_codes_stays_close_to_the_float_one(keras: Any, tmp_path: Path) -> None:
    graph = load(save(MODELS["layer normalised"](keras), tmp_path / "m.keras")).graph
    result = quantize(graph, dict.fromkeys(graph.weights(), 8), calibrate(graph, windows(16), 8))
    expected = float_rollout(graph, windows(8), 8).outputs
    found = simulate.decode(result, simulate.integer_rollout(result, simulate.encode(result, windows(8)), 8).outputs)
    assert np.sqrt(np.mean((found - expected) ** 2)) < 0.08 * expected.std()


def test_a_batch_normalisation_goes_into_the_layer_before_it_but_not_through_an_activation(
    keras: Any, tmp_path: Path
) -> None:
    graph = load(save(MODELS["batch normalised"](keras), tmp_path / "m.keras")).graph
    kinds = [op.kind for op in graph.ops if op.kind != "reshape"]
    scales, layers = ["depthwise_1d"] * 2, ["fully_connected"] * 2
    assert kinds == [*scales, "conv_1d", "depthwise_1d", *layers, "depthwise_1d", "fully_connected"]
    assert graph.ops[2].attrs["activation"] == "relu"


def test_a_batch_normalisation_does_not_go_into_a_layer_that_is_applied_again(keras: Any, tmp_path: Path) -> None:
    model = shared_normalised(keras)
    graph = load(save(model, tmp_path / "m.keras")).graph
    for layer in model.layers:
        if type(layer).__name__ == "Conv1D":
            kernel = graph.tensors[layer.kernel.path].data
            same = np.array_equal(kernel, np.asarray(layer.kernel).transpose(2, 0, 1))
            assert same == (layer.name != "alone")


@pytest.mark.parametrize(
    ("made", "says"),
    [
        (layer("LayerNormalization", axis=1), r"axis=\[1\] is not supported"),
        (layer("BatchNormalization", axis=1), r"axis=1 is not supported"),
        (layer("AveragePooling1D", 2, data_format="channels_first"), "channels_first is not supported"),
        (layer("GroupNormalization", 3), "this layer is not supported"),
    ],
)
def test_what_no_graph_holds_is_refused_by_layer(made: Make, says: str, keras: Any, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=says):
        load(save(sequential(made, flatten, dense())(keras), tmp_path / "m.keras"))


def windows(count: int) -> np.ndarray:
    return np.random.default_rng(9).normal(size=(count, W, F)).astype(np.float32)


@pytest.mark.parametrize("config", [{}, {"stateful": True}])
def test_states_cannot_be_carried_by_a_model_of_the_whole_window(config: Any, keras: Any, tmp_path: Path) -> None:
    layers = keras.layers
    x = keras.Input((W, F), batch_size=1 if config else None)
    y = layers.Dense(F)(layers.LSTM(3, **config)(layers.Conv1D(3, 2, name="over")(x)))
    path = save(keras.Model(x, y), tmp_path / "m.keras")
    with pytest.raises(ModelError, match=r"layer over .*no state can be carried"):
        load(path, recurrence="auto" if config else "stateful")


def test_a_padding_goes_into_the_convolution_behind_it(keras: Any, tmp_path: Path) -> None:
    graph = load(save(MODELS["padded convolutions"](keras), tmp_path / "m.keras")).graph
    assert [op.kind for op in graph.ops] == ["conv_1d", "conv_1d", "mean", "reshape", "fully_connected"]
    assert [(op.attrs["left"], op.attrs["right"]) for op in graph.ops[:2]] == [(4, 0), (2, 3)]


def test_tensors_keep_the_names_of_keras(keras: Any, tmp_path: Path) -> None:
    loaded = load(save(MODELS["gru into lstm"](keras), tmp_path / "m.keras"))
    weights = loaded.graph.weights()
    assert [[tensor.shape for tensor in tensors] for tensors in weights.values()] == [
        [(15, F)],
        [(10, 5), (5, 5)],
        [(20, 5)],
        [(20, 5)],
        [(F, 5)],
    ]
    paths = [name.split("/", 1)[1] for name in weights]
    cells = ["gru_cell", "lstm_cell"]
    assert [path.rstrip("_0123456789") if "/" not in path else path.split("/")[1] for path in paths] == [
        "kernel",
        "recurrent_kernel",
        "kernel",
        "recurrent_kernel",
        "kernel",
    ]
    assert all(cell in "".join(paths) for cell in cells)
    assert [state.name.rsplit("_", 1)[1] for state in loaded.graph.states] == ["h", "h", "c"]
    assert len(loaded.layers) == 3
    assert "LSTM(5), 220 parameters" in loaded.layers[1]


def test_relu_after_dense_is_fused_dropout_between_or_not(keras: Any, tmp_path: Path) -> None:
    graph = load(save(MODELS["activation layers"](keras), tmp_path / "m.keras")).graph
    fused = [op.attrs["activation"] for op in graph.ops if op.kind == "fully_connected"]
    assert fused == ["relu", "none", "none", "relu6", "none", "none"]


def stateful(kind: str, batch: int, window: int | None) -> Make:
    def make(keras: Any) -> Any:
        layers = keras.layers
        return keras.Sequential(
            [
                keras.Input((window, F), batch_size=batch),
                recurrent(kind, 4, stateful=True, return_sequences=True)(layers),
                recurrent(kind, 5, stateful=True)(layers),
                layers.Dense(F),
            ]
        )

    return make


@pytest.mark.parametrize(("kind", "batch", "window"), [("LSTM", 1, 1), ("GRU", 2, 3), ("LSTM", 1, None)])
def test_stateful_model_carries_its_states(
    kind: str, batch: int, window: int | None, keras: Any, tmp_path: Path
) -> None:
    model = stateful(kind, batch, window)(keras)
    loaded = load(save(model, tmp_path / "m.keras"), window=12)
    assert loaded.graph.forecast.recurrence == "stateful"
    assert loaded.graph.forecast.window == 12
    assert loaded.float_vs_keras_max_abs < 1e-5
    samples = np.random.default_rng(5).normal(size=(batch, 12, F)).astype(np.float32)
    for layer in model.layers[:2]:
        layer.reset_states()
    chunk = window or 12
    for begin in range(0, 12, chunk):
        y = np.asarray(model(samples[:, begin : begin + chunk], training=False))
    np.testing.assert_allclose(float_rollout(loaded.graph, samples, 1).outputs[:, 0], y, atol=1e-5)


def test_recurrence_can_be_chosen(keras: Any, tmp_path: Path) -> None:
    path = save(MODELS["lstm"](keras), tmp_path / "m.keras")
    assert load(path, recurrence="stateful").graph.forecast.recurrence == "stateful"
    path = save(stateful("GRU", 1, 4)(keras), tmp_path / "s.keras")
    windowed = load(path, recurrence="windowed").graph
    assert (windowed.forecast.recurrence, windowed.forecast.window) == ("windowed", 4)


def test_open_window_must_be_given(keras: Any, tmp_path: Path) -> None:
    path = save(sequential(recurrent("LSTM"), dense(), window=None)(keras), tmp_path / "m.keras")
    with pytest.raises(UsageError, match="open") as caught:
        load(path)
    assert "--window" in caught.value.hint
    assert load(path, window=9).graph.forecast.window == 9
    fixed = save(MODELS["lstm"](keras), tmp_path / "f.keras")
    with pytest.raises(UsageError, match="--window 9: the model was built for a window of 6"):
        load(fixed, window=9)
    with pytest.raises(UsageError, match="--window 0"):
        load(path, window=0)


def shared_stateful(keras: Any) -> Any:
    x = keras.Input((W, F), batch_size=1)
    layer = keras.layers.GRU(F, return_sequences=True, stateful=True, name="twice")
    return keras.Model(x, keras.layers.GRU(F, stateful=True)(layer(layer(x))))


def merged_ranks(keras: Any) -> Any:
    x = keras.Input((W, F))
    y = keras.layers.Add(name="sum")([x, keras.layers.Dense(F)(keras.layers.GlobalAveragePooling1D()(x))])
    return keras.Model(x, keras.layers.Dense(F)(keras.layers.Flatten()(y)))


def merged_shapes(keras: Any) -> Any:
    x = keras.Input((W, F))
    y = keras.layers.Add(name="sum")([x, keras.layers.Conv1D(1, 1)(x)])
    return keras.Model(x, keras.layers.Dense(F)(keras.layers.Flatten()(y)))


def mixed_stateful(keras: Any) -> Any:
    layers = keras.layers
    first = recurrent("LSTM", stateful=True, return_sequences=True)(layers)
    return keras.Sequential([keras.Input((W, F), batch_size=1), first, layers.GRU(3), layers.Dense(F)])


def of_window(call: Callable[[Any, Any], Any]) -> Make:
    """``call(keras, x)`` of the window, then a dense layer of all of it."""

    def make(keras: Any) -> Any:
        x = keras.Input((W, F))
        return keras.Model(x, keras.layers.Dense(F)(keras.layers.Flatten()(call(keras, x))))

    return make


def masked_attention(keras: Any, x: Any) -> Any:
    mask = np.ones((1, W, W), bool)
    return keras.layers.MultiHeadAttention(1, 2, name="mha")(x, x, attention_mask=mask)


def embedded(keras: Any, x: Any) -> Any:
    return keras.layers.Embedding(4, 2, name="words")(x[:, :, 0] * 2.0)


REFUSED: dict[str, tuple[Make, str]] = {
    "unit": (sequential(lambda layers: layers.UnitNormalization(name="unit"), flatten, dense()), r"layer unit \(Unit"),
    "masking": (
        sequential(dense(2), lambda layers: layers.Masking(name="mask"), recurrent("LSTM"), dense()),
        "layer mask .*skips samples by what other layers make of them",
    ),
    "softmax": (
        sequential(lambda layers: layers.Softmax(axis=(1, 2), name="soft"), flatten, dense()),
        r"layer soft .*axis=\[1, 2\]",
    ),
    "lambda": (
        sequential(conv(4, 3), lambda layers: layers.Lambda(lambda x: x[:, -1:, :], name="last"), flatten, dense()),
        "layer last .*code of a file is not run",
    ),
    "activation": (sequential(flatten, dense(F, "glu", name="head")), "layer head .*activation glu"),
    "sequences": (
        sequential(recurrent("LSTM", return_sequences=True), dense()),
        "as many as its window holds, and noth",
    ),
    "cell": (sequential(recurrent("LSTM", activation="softplus", name="r"), dense()), "layer r .*activation softplus"),
    "gates": (
        sequential(recurrent("LSTM", recurrent_activation="softplus", name="r"), dense()),
        "layer r .*recurrent_activation softplus",
    ),
    "largest": (
        of_window(lambda keras, x: keras.ops.max(x, axis=1)),
        r"layer max(_[0-9]+)? \(ops.Max\): this operation",
    ),
    "every second": (of_window(lambda keras, x: x[:, ::2]), "layer get_item.*not all in a row"),
    "batch": (of_window(lambda keras, x: keras.ops.mean(x, axis=0, keepdims=True)), "layer mean.*axis=0"),
    "image of ops": (of_window(lambda keras, x: keras.ops.expand_dims(x, 1)), r"gives \(1, 6, 3\)"),
    "two ranks": (of_window(lambda keras, x: x[:, :F] - x[:, 0]), "joins a sequence and a single sample"),
    "by zero": (of_window(lambda keras, x: x / 0.0), "it divides by zero"),
    "cube": (of_window(lambda keras, x: x**3), "only the powers 2 and 0.5"),
    "mask": (of_window(masked_attention), "layer mha .*attention_mask is not supported"),
    "additive": (
        of_window(lambda keras, x: keras.layers.AdditiveAttention(name="add")([x, x])),
        r"layer add \(AdditiveAttention\): it bends the sum",
    ),
    "embedding": (of_window(embedded), r"layer words \(Embedding\): it looks rows up by what other layers made"),
    "width": (sequential(flatten, dense(F + 1)), "predicts 4 values from 3 channels"),
    "image": (
        sequential(flatten, dense(2 * F), lambda layers: layers.Reshape((2, F, 1), name="ahead")),
        r"its output is the image \(2, 3, 1\)",
    ),
    "no weights": (
        lambda keras: keras.Sequential([keras.Input((1, F)), keras.layers.Flatten()]),
        "no weights to quantise",
    ),
    "rank": (
        lambda keras: keras.Sequential([keras.Input((F,)), keras.layers.Dense(F)]),
        "flat window of 3 values, and nothing says",
    ),
    "gaps": (
        sequential(layer("Conv1DTranspose", 2, 2, strides=3, name="back"), flatten, dense()),
        r"layer back .*its kernel of 2 is shorter than its strides of 3",
    ),
    "output padding": (
        sequential(layer("Conv1DTranspose", 2, 3, strides=2, output_padding=1, name="back"), flatten, dense()),
        "layer back .*output_padding is not supported",
    ),
    "precision": (sequential(flatten, dense(F, dtype="float16", name="half")), "layer half .*float16"),
    "merged ranks": (merged_ranks, "layer sum .*joins a sequence and a single sample"),
    "merged shapes": (merged_shapes, r"layer sum .*its inputs are \(6, 3\) and \(6, 1\)"),
    "shared": (shared_stateful, "layer twice .*stateful and applied 2 times"),
    "mixed stateful": (mixed_stateful, "some recurrent layers are stateful"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_built_is_refused_by_name(name: str, keras: Any, tmp_path: Path) -> None:
    make, reason = REFUSED[name]
    path = tmp_path / "refused.keras"
    with quiet():
        make(keras).save(path)
    with pytest.raises(ModelError, match=reason) as caught:
        load(path)
    assert str(path) in caught.value.message
    assert caught.value.hint
    assert "\n" not in caught.value.message


def test_custom_layer_and_custom_activation_are_refused_by_name(keras: Any, tmp_path: Path) -> None:
    class Dense(keras.layers.Layer):  # type: ignore[misc, name-defined]
        """A user's own layer that shadows one of Keras."""

        def call(self, x: Any) -> Any:
            return 2 * x

    def wobble(x: Any) -> Any:
        return x

    for layer, reason in (
        (lambda layers: Dense(name="mine"), r"layer mine \(Dense\): .*not supported"),
        (dense(F, wobble, name="own"), "layer own .*activation wobble"),
    ):
        path = tmp_path / "custom.keras"
        with quiet():
            sequential(flatten, layer, dense())(keras).save(path)
        with pytest.raises(ModelError, match=reason):
            load(path)


def test_weights_with_nan_are_refused(keras: Any, tmp_path: Path) -> None:
    model = MODELS["lstm"](keras)
    weights = model.get_weights()
    weights[1][2, 3] = np.nan
    model.set_weights(weights)
    with quiet():
        model.save(tmp_path / "nan.keras")
    with pytest.raises(ModelError, match=r"recurrent_kernel holds NaN"):
        load(tmp_path / "nan.keras")


def test_a_graph_that_differs_from_keras_fails_the_check(
    keras: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save(MODELS["lstm"](keras), tmp_path / "m.keras")
    right = keras_model._extract

    def wrong(layer: Any) -> Any:
        found = right(layer)
        for weight in found.weights.values():
            weight.data[...] *= 1.01
        return found

    monkeypatch.setattr(keras_model, "_extract", wrong)
    with pytest.raises(CheckError, match="differs from Keras"):
        load(path)


def archive(path: Path, **members: str) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for name, text in members.items():
            file.writestr(name.replace("_json", ".json"), text)
    return path


def keras_object(kind: str, module: str = "keras.layers", **config: Any) -> dict[str, Any]:
    return {"module": module, "class_name": kind, "config": config, "registered_name": None}


#: What Keras 2 wrote and Keras 3 no longer knows.
OLD = keras_object(
    "Sequential",
    "keras",
    name="old",
    layers=[keras_object("InputLayer", batch_shape=[None, W, F]), keras_object("Flatten", name="f", time_major=False)],
)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: path, "there is no such file"),
        (lambda path: path.mkdir() or path, "is a directory without saved_model.pb"),
        (lambda path: path.write_text("a,b\n1,2\n") and path, "is not a Keras 3 .keras file"),
        (lambda path: path.write_bytes(b"") or path, "is not a Keras 3 .keras file"),
        (lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(99)) and path, "is a damaged HDF5 file"),
        (lambda path: archive(path, readme="hello"), "is not a Keras 3 .keras file"),
        (lambda path: archive(path, config_json="{"), "is not a Keras 3 .keras file"),
        (lambda path: archive(path, config_json='{"class_name": "Sequential", "config": []}'), "is not a Keras 3"),
        (lambda path: archive(path, config_json='{"class_name": "Mine", "config": {}}'), "a model of class Mine"),
        (lambda path: archive(path, config_json=json.dumps(OLD)), "cannot load it: .*time_major"),
    ],
)
def test_files_that_are_no_model_give_one_clear_error(
    make: Callable[[Path], Path], reason: str, tmp_path: Path
) -> None:
    path = make(tmp_path / "broken.keras")
    with pytest.raises(ModelError, match=reason) as caught:
        load(path)
    assert caught.value.message.startswith(str(path))
    assert "\n" not in caught.value.message
    assert len(caught.value.message) < 400


def test_missing_tensorflow_is_one_clear_error(keras: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(MODELS["dense"](keras), tmp_path / "m.keras")
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(ToolError, match="needs TensorFlow") as caught:
        load(path)
    assert "pip install" in caught.value.hint


def test_operations_on_each_sample_stay_in_a_step_graph(keras: Any, tmp_path: Path) -> None:
    loaded = load(save(scaled_recurrent(keras), tmp_path / "m.keras"))
    assert loaded.float_vs_keras_max_abs < 1e-5
    assert loaded.graph.forecast.recurrence in ("windowed", "none")


def test_only_the_last_query_of_attention_is_computed(keras: Any, tmp_path: Path) -> None:
    """What the forecast reads is one sample: so are the queries, and a row of the weights; keys are all of them."""
    graph = load(save(transformer(keras), tmp_path / "m.keras")).graph
    scores = [op for op in graph.ops if op.kind == "batch_matmul" and op.attrs["transposed"]]
    assert [[graph.tensors[name].shape[1] for name in op.inputs] for op in scores] == [[1, W], [1, W]]
