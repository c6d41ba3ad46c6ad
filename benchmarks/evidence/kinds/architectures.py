"""What the zoo of kinds has beside the forecasters of architectures.py: autoencoders, and networks over sequences."""

from __future__ import annotations

from typing import Any

from benchmarks.evidence.architectures import Architecture, residual_taps


def _autoencoder(window: int, channels: int, _: int) -> Any:
    from keras import Model, layers

    inputs = layers.Input((window, channels))
    x = layers.Dense(32, activation="relu")(layers.Flatten()(inputs))
    x = layers.Dense(8)(x)
    x = layers.Dense(32, activation="relu")(x)
    return Model(inputs, layers.Reshape((window, channels))(layers.Dense(window * channels)(x)))


def _lstm_autoencoder(window: int, channels: int, _: int) -> Any:
    from keras import Model, layers

    inputs = layers.Input((window, channels))
    x = layers.Dense(8)(layers.LSTM(24)(inputs))
    x = layers.LSTM(24, return_sequences=True)(layers.RepeatVector(window)(x))
    return Model(inputs, layers.Dense(channels)(x))


def _gru_filter(_: int, channels: int, outputs: int) -> Any:
    from keras import Model, layers

    x = inputs = layers.Input((None, channels))
    x = layers.GRU(24, return_sequences=True)(x)
    x = layers.Dense(16, activation="relu")(x)
    return Model(inputs, layers.Dense(outputs)(x))


def _tcn_filter(_: int, channels: int, outputs: int) -> Any:
    """As the TCN; it looks back over 29 samples."""
    from keras import Model, layers

    inputs = layers.Input((None, channels))
    return Model(inputs, layers.Dense(outputs)(residual_taps(inputs)))


#: (W, F) -> (W, F) again.
AUTOENCODERS = {
    "autoencoder": Architecture(_autoencoder, 16),
    "lstm-autoencoder": Architecture(_lstm_autoencoder, 16),
}
#: (None, F) -> (None, outputs): an answer for each sample. The window is how many come before the first that counts.
FILTERS = {
    "gru-filter": Architecture(_gru_filter, 32),
    "tcn-filter": Architecture(_tcn_filter, 32),
}
