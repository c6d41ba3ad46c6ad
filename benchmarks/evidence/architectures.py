"""Fourteen small forecasters, (W, F) -> (outputs) one step ahead, of layers that Keras and TFLite know.

Each has 600 (DLinear) to 10,000 parameters and 3 to 14 weights. A builder takes the window, the input channels and the
outputs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Architecture:
    """A builder (W, F, outputs) -> uncompiled Keras model, and the window that it looks at."""

    build: Callable[[int, int, int], Any]
    window: int


def _lstm(window: int, channels: int, outputs: int) -> Any:
    from keras import layers

    x = inputs = layers.Input((window, channels))
    x = layers.LSTM(36)(x)
    return _model(inputs, layers.Dense(outputs)(x))


def _stacked_lstm(window: int, channels: int, outputs: int) -> Any:
    from keras import layers

    x = inputs = layers.Input((window, channels))
    x = layers.LSTM(20, return_sequences=True)(x)
    x = layers.LSTM(20)(x)
    x = layers.Dense(24, activation="relu")(x)
    return _model(inputs, layers.Dense(outputs)(x))


def _gru(window: int, channels: int, outputs: int) -> Any:
    from keras import layers

    x = inputs = layers.Input((window, channels))
    x = layers.GRU(36)(x)
    x = layers.Dense(24, activation="relu")(x)
    return _model(inputs, layers.Dense(outputs)(x))


def _stacked_gru(window: int, channels: int, outputs: int) -> Any:
    from keras import layers

    x = inputs = layers.Input((window, channels))
    x = layers.GRU(24, return_sequences=True)(x)
    x = layers.GRU(24)(x)
    x = layers.Dense(24, activation="relu")(x)
    return _model(inputs, layers.Dense(outputs)(x))


def _projected_lstm(window: int, channels: int, outputs: int) -> Any:
    """Two LSTMs, the output of each projected to fewer values (Sak, Senior and Beaufays, 2014, between layers)."""
    from keras import layers

    x = inputs = layers.Input((window, channels))
    x = layers.Dense(8)(x)
    x = layers.LSTM(24, return_sequences=True)(x)
    x = layers.Dense(10)(x)
    x = layers.LSTM(24)(x)
    x = layers.Dense(10)(x)
    return _model(inputs, layers.Dense(outputs)(x))


def _conv_lstm(window: int, channels: int, outputs: int) -> Any:
    """Convolutions shorten the window before an LSTM reads it."""
    from keras import layers

    x = inputs = layers.Input((window, channels))
    x = layers.Conv1D(16, 5, activation="relu")(x)
    x = layers.Conv1D(20, 4, strides=2, activation="relu")(x)
    x = layers.LSTM(24)(x)
    x = layers.Dense(16, activation="relu")(x)
    return _model(inputs, layers.Dense(outputs)(x))


def residual_taps(x: Any) -> Any:
    """Three residual blocks of two causal convolutions, dilated 1, 2, 4 (Bai, Kolter and Koltun, 2018)."""
    from keras import layers

    x = layers.Conv1D(16, 1)(x)
    for dilation in (1, 2, 4):
        y = layers.Conv1D(16, 3, padding="causal", dilation_rate=dilation, activation="relu")(x)
        y = layers.Conv1D(16, 3, padding="causal", dilation_rate=dilation)(y)
        x = layers.ReLU()(layers.Add()([x, y]))
    return x


def _tcn(window: int, channels: int, outputs: int) -> Any:
    from keras import layers

    inputs = layers.Input((window, channels))
    return _model(inputs, layers.Dense(outputs)(residual_taps(inputs)[:, -1, :]))


def _mlp(window: int, channels: int, outputs: int) -> Any:
    from keras import layers

    inputs = layers.Input((window, channels))
    x = layers.Flatten()(inputs)
    for _ in range(4):
        x = layers.Dense(36, activation="relu")(x)
    return _model(inputs, layers.Dense(outputs)(x))


def _nbeats(window: int, channels: int, outputs: int) -> Any:
    """Three blocks, each explains a part of the window and adds to the forecast (Oreshkin et al., 2020)."""
    from keras import layers

    inputs = layers.Input((window, channels))
    rest = layers.Flatten()(inputs)
    forecasts = []
    for block in range(3):
        x = layers.Dense(28, activation="relu")(rest)
        x = layers.Dense(28, activation="relu")(x)
        forecasts.append(layers.Dense(outputs)(x))
        if block < 2:
            rest = layers.Subtract()([rest, layers.Dense(window * channels)(x)])
    return _model(inputs, layers.Add()(forecasts))


def _dlinear(window: int, channels: int, outputs: int) -> Any:
    """A linear map of each channel's moving average and another one of what is left (Zeng et al., 2023)."""
    from keras import layers

    inputs = layers.Input((window, channels))
    trend = layers.AveragePooling1D(5, strides=1, padding="same")(inputs)
    season = layers.Subtract()([inputs, trend])
    forecasts = []
    for channel in range(outputs):
        parts = [layers.Dense(1)(part[:, :, channel]) for part in (trend, season)]
        forecasts.append(layers.Add()(parts))
    return _model(inputs, layers.Concatenate()(forecasts) if outputs > 1 else forecasts[0])


def _patchtst(window: int, channels: int, outputs: int) -> Any:
    """One encoder layer over patches of 4 samples, a flat head (Nie et al., 2023; the channels are mixed here)."""
    from keras import layers

    inputs = layers.Input((window, channels))
    x = layers.Reshape((window // 4, 4 * channels))(inputs)
    x = _encoder(layers.Dense(24)(x), width=24, hidden=48)
    return _model(inputs, layers.Dense(outputs)(layers.Flatten()(x)))


def _transformer(window: int, channels: int, outputs: int) -> Any:
    """Two encoder layers over samples, embedded by a convolution that also stands in for positions."""
    from keras import layers

    inputs = layers.Input((window, channels))
    x = layers.Conv1D(16, 5, padding="causal")(inputs)
    for _ in range(2):
        x = _encoder(x, width=16, hidden=32)
    return _model(inputs, layers.Dense(outputs)(layers.Flatten()(x)))


def _encoder(x: Any, *, width: int, hidden: int) -> Any:
    from keras import layers

    y = layers.MultiHeadAttention(2, width // 2)(x, x)
    x = layers.LayerNormalization()(layers.Add()([x, y]))
    y = layers.Dense(hidden, activation="relu")(x)
    return layers.LayerNormalization()(layers.Add()([x, layers.Dense(width)(y)]))


def _tsmixer(window: int, channels: int, outputs: int) -> Any:
    """Two blocks that mix over time, then over channels (Chen et al., 2023)."""
    from keras import layers

    x = inputs = layers.Input((window, channels))
    for _ in range(2):
        y = layers.Dense(window, activation="relu")(layers.Permute((2, 1))(x))
        x = layers.Add()([x, layers.Permute((2, 1))(y)])
        y = layers.Dense(64, activation="relu")(x)
        x = layers.Add()([x, layers.Dense(channels)(y)])
    return _model(inputs, layers.Dense(outputs)(layers.Flatten()(x)))


def _residual_mlp(window: int, channels: int, outputs: int) -> Any:
    """Two residual blocks beside a linear path, as in TiDE (Das et al., 2023)."""
    from keras import layers

    inputs = layers.Input((window, channels))
    flat = layers.Flatten()(inputs)
    x = layers.Dense(32, activation="relu")(flat)
    for _ in range(2):
        y = layers.Dense(32, activation="relu")(x)
        x = layers.Add()([x, layers.Dense(32)(y)])
    return _model(inputs, layers.Dense(outputs)(layers.Concatenate()([x, flat])))


def _model(inputs: Any, outputs: Any) -> Any:
    import keras

    return keras.Model(inputs, outputs)


ARCHITECTURES = {
    "lstm": Architecture(_lstm, 24),
    "stacked-lstm": Architecture(_stacked_lstm, 24),
    "gru": Architecture(_gru, 24),
    "stacked-gru": Architecture(_stacked_gru, 24),
    "projected-lstm": Architecture(_projected_lstm, 24),
    "conv-lstm": Architecture(_conv_lstm, 32),
    "tcn": Architecture(_tcn, 24),
    "mlp": Architecture(_mlp, 32),
    "n-beats": Architecture(_nbeats, 32),
    "dlinear": Architecture(_dlinear, 48),
    "patchtst": Architecture(_patchtst, 32),
    "transformer": Architecture(_transformer, 16),
    "tsmixer": Architecture(_tsmixer, 32),
    "residual-mlp": Architecture(_residual_mlp, 32),
}
