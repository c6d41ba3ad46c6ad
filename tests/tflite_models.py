"""Ten forecasters, each built differently, in Keras and as the TensorFlow Lite files that its converter makes of them.

Kernels are scaled apart, so that their sensitivities differ by more than what 16 draws leave uncertain.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from edge_tqs.system.tensorflow import import_tensorflow, quiet

WINDOW, CHANNELS = 12, 3


def mlp(keras: Any) -> Any:
    x = keras.Input((WINDOW, CHANNELS))
    h = keras.layers.Flatten()(x)
    for units in (16, 12, 10, 8):
        h = keras.layers.Dense(units, activation="relu")(h)
    return keras.Model(x, keras.layers.Dense(CHANNELS)(h))


def tcn(keras: Any) -> Any:
    x = keras.Input((WINDOW, CHANNELS))
    h = keras.layers.Conv1D(8, 1)(x)
    for dilation in (1, 2, 4):
        g = keras.layers.Conv1D(8, 3, padding="causal", dilation_rate=dilation, activation="relu")(h)
        h = keras.layers.Add()([h, keras.layers.Conv1D(8, 3, padding="causal", dilation_rate=dilation)(g)])
    last = keras.layers.Cropping1D((WINDOW - 1, 0))(h)
    return keras.Model(x, keras.layers.Dense(CHANNELS)(keras.layers.Flatten()(last)))


def depthwise(keras: Any) -> Any:
    x = keras.Input((WINDOW, CHANNELS))
    h = keras.layers.Conv1D(6, 1, activation="tanh")(x)
    for _ in range(2):
        h = keras.layers.DepthwiseConv1D(3, padding="same")(h)
        h = keras.layers.Conv1D(6, 1, activation="relu")(h)
    return keras.Model(x, keras.layers.Dense(CHANNELS)(keras.layers.GlobalAveragePooling1D()(h)))


def residual(keras: Any) -> Any:
    x = keras.Input((WINDOW, CHANNELS))
    h = keras.layers.Dense(12)(keras.layers.Flatten()(x))
    for _ in range(3):
        h = keras.layers.Add()([h, keras.layers.Dense(12, activation="elu")(h)])
    last = keras.layers.Flatten()(keras.layers.Cropping1D((WINDOW - 1, 0))(x))
    return keras.Model(x, keras.layers.Add()([keras.layers.Rescaling(0.5)(last), keras.layers.Dense(CHANNELS)(h)]))


def gru(keras: Any) -> Any:
    x = keras.Input((WINDOW, CHANNELS))
    h = keras.layers.GRU(8, unroll=True, return_sequences=True)(x)
    h = keras.layers.GRU(6, unroll=True)(h)
    return keras.Model(x, keras.layers.Dense(CHANNELS)(h))


def lstm(keras: Any) -> Any:
    x = keras.Input((WINDOW, CHANNELS))
    h = keras.layers.LSTM(8, unroll=True, return_sequences=True)(x)
    h = keras.layers.LSTM(6, unroll=True)(h)
    return keras.Model(x, keras.layers.Dense(CHANNELS)(h))


def patches(keras: Any) -> Any:
    """PatchTST's way: patches of the window become tokens, embedded, mixed and read by a flat head."""
    x = keras.Input((WINDOW, CHANNELS))
    h = keras.layers.Reshape((4, 3 * CHANNELS))(x)
    h = keras.layers.Dense(10)(h)
    h = keras.layers.Add()([h, keras.layers.Dense(10)(keras.layers.Dense(20, activation="gelu")(h))])
    h = keras.layers.LayerNormalization()(h)
    return keras.Model(x, keras.layers.Dense(CHANNELS)(keras.layers.Flatten()(h)))


def dlinear(keras: Any) -> Any:
    """The moving average of the window and what is left of it, each through a linear layer of its own."""
    x = keras.Input((WINDOW, CHANNELS))
    trend = keras.layers.AveragePooling1D(5, strides=1, padding="same")(x)
    rest = keras.layers.Subtract()([x, trend])
    heads = [keras.layers.Dense(CHANNELS)(keras.layers.Flatten()(part)) for part in (trend, rest)]
    return keras.Model(x, keras.layers.Dense(CHANNELS)(keras.layers.Add()(heads)))


def attention(keras: Any) -> Any:
    x = keras.Input((WINDOW, CHANNELS))
    h = keras.layers.Dense(8)(x)
    h = keras.layers.Add()([h, keras.layers.MultiHeadAttention(2, 4)(h, h)])
    h = keras.layers.LayerNormalization()(h)
    h = keras.layers.Add()([h, keras.layers.Dense(8)(keras.layers.Dense(16, activation="relu")(h))])
    return keras.Model(x, keras.layers.Dense(CHANNELS)(keras.layers.Flatten()(h)))


def nbeats(keras: Any) -> Any:
    """Blocks that explain a part of the window, subtract it, and add up their forecasts."""
    x = keras.Input((WINDOW, CHANNELS))
    rest, forecasts = keras.layers.Flatten()(x), []
    for _ in range(2):
        h = keras.layers.Dense(16, activation="relu")(rest)
        h = keras.layers.Dense(12, activation="relu")(h)
        rest = keras.layers.Subtract()([rest, keras.layers.Dense(WINDOW * CHANNELS)(h)])
        forecasts.append(keras.layers.Dense(CHANNELS)(h))
    return keras.Model(x, keras.layers.Add()(forecasts))


MODELS: dict[str, Callable[[Any], Any]] = {
    builder.__name__: builder
    for builder in (mlp, tcn, depthwise, residual, gru, lstm, patches, dlinear, attention, nbeats)
}


def build(name: str) -> Any:
    """A model of MODELS, the same weights each time."""
    keras = import_tensorflow().keras
    keras.utils.set_random_seed(sum(name.encode()))
    model = MODELS[name](keras)
    rng = np.random.default_rng(sum(name.encode()))
    kernels = [v for v in model.trainable_variables if len(v.shape) > 1 and not v.path.endswith("bias")]
    spread = rng.permutation(np.geomspace(0.5, 2.0, len(kernels)))
    for variable, factor in zip(kernels, spread, strict=True):
        variable.assign(variable.numpy() * factor)
    for variable in model.trainable_variables:
        if variable.path.endswith("bias"):
            variable.assign(rng.normal(0, 0.1, variable.shape))
    windows = rng.standard_normal((64, WINDOW, CHANNELS)).astype(np.float32)
    heads = [layer for layer in model.layers if type(layer).__name__ == "Dense" and layer.units == CHANNELS]
    for head in heads[-1:]:
        head.kernel.assign(head.kernel.numpy() * 0.7 / float(model(windows).numpy().std()))
    return model


def convert(model: Any, *, batch: int | None = 1, frozen: bool = True, quantised: bool = False) -> bytes:
    """The file that TensorFlow's converter makes of a concrete function; float unless ``quantised``."""
    tf = import_tensorflow()
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    with quiet():
        function = tf.function(lambda x: model(x, training=False), autograph=False)
        concrete = function.get_concrete_function(tf.TensorSpec((batch, *model.input_shape[1:]), tf.float32))
        if frozen:
            concrete = convert_variables_to_constants_v2(concrete)
        converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete], model)
        if quantised:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        return bytes(converter.convert())
