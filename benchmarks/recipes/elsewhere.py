"""Recipes of books, blogs and papers: multivariate and min-max LSTMs, encoder-decoder, N-HiTS, quantiles, vibration."""

from __future__ import annotations

from typing import Any

from benchmarks.recipes.recipe import Recipe
from benchmarks.recipes.tutorial import sequential

AIR = ("particles", "dew_point", "temperature", "pressure", "wind_speed", "rain")
ENGINE = ("engine_temp",)
WINDOW, DAY, CLASSES = 16, 24, 4
LEVELS = (0.1, 0.5, 0.9)


def multivariate(window: int, channels: int) -> Any:
    """An LSTM over all columns, and one of them."""
    from keras import layers as k

    return sequential("multivariate", (window, channels), k.LSTM(50), k.Dense(1))


def univariate() -> Any:
    """Two LSTMs, dropout and one value: the stock-price recipe, its column scaled to 0 to 1."""
    from keras import layers as k

    return sequential(
        "univariate", (WINDOW, 1), k.LSTM(24, return_sequences=True), k.Dropout(0.1), k.LSTM(24), k.Dense(1)
    )


def encoder_decoder() -> Any:
    """The last state of an LSTM once for each of the hours to come, another LSTM, and a Dense for each of them."""
    from keras import layers as k

    return sequential(
        "encoder_decoder",
        (WINDOW, 1),
        k.LSTM(32),
        k.RepeatVector(12),
        k.LSTM(32, return_sequences=True),
        k.TimeDistributed(k.Dense(16, "relu")),
        k.TimeDistributed(k.Dense(1)),
    )


def n_hits() -> Any:
    """Three blocks that pool the window at rates of their own; each takes its backcast off, and forecasts few points.

    The points become the horizon by repeating them and smoothing with a convolution.
    """
    import keras
    from keras import layers as k

    window = keras.Input((48, 1), name="samples")
    rest, forecasts = window, []
    for rate in (8, 4, 1):
        pooled = k.Flatten()(k.MaxPooling1D(rate)(rest) if rate > 1 else rest)
        hidden = k.Dense(32, "relu")(k.Dense(32, "relu")(pooled))
        backcast = k.UpSampling1D(rate)(k.Reshape((48 // rate, 1))(k.Dense(48 // rate)(hidden)))
        forecast = k.UpSampling1D(rate)(k.Reshape((DAY // rate, 1))(k.Dense(DAY // rate)(hidden)))
        rest = k.Subtract()([rest, backcast])
        forecasts.append(forecast)
    return keras.Model(window, k.Flatten()(k.Add()(forecasts)), name="n_hits")


def quantiles() -> Any:
    """A head for each quantile behind one GRU."""
    import keras
    from keras import layers as k

    window = keras.Input((WINDOW, len(AIR)), name="samples")
    hidden = k.Dense(32, "relu")(k.GRU(32)(window))
    heads = [k.Dense(1, name=f"quantile_{round(100 * level)}")(hidden) for level in LEVELS]
    return keras.Model(window, k.Concatenate()(heads), name="quantiles")


def quantile_line(lead: int) -> str:
    ahead = "" if lead == 1 else f", lead = {lead}"
    return "outputs = [" + ", ".join(f'{{name = "{AIR[0]}", quantile = {level}{ahead}}}' for level in LEVELS) + "]"


def lstm_autoencoder() -> Any:
    from keras import layers as k

    return sequential(
        "lstm_autoencoder",
        (WINDOW, 1),
        k.LSTM(32),
        k.RepeatVector(WINDOW),
        k.LSTM(32, return_sequences=True),
        k.TimeDistributed(k.Dense(1)),
    )


def vibration() -> Any:
    """A wide first kernel with a stride, pooling, two narrow convolutions, and evidence for four states."""
    from keras import layers as k

    def narrow(filters: int) -> list[Any]:
        return [k.Conv1D(filters, 3, padding="same"), k.BatchNormalization(), k.ReLU(), k.MaxPooling1D(2)]

    first = k.Conv1D(16, 32, strides=4, padding="same"), k.BatchNormalization(), k.ReLU(), k.MaxPooling1D(2)
    head = k.Flatten(), k.Dense(32, "relu"), k.Dense(CLASSES, "softmax")
    return sequential("vibration", (256, 1), *first, *narrow(24), *narrow(24), *head)


RECIPES = (
    Recipe("multivariate LSTM, among the inputs", lambda: multivariate(3, 6), "pollution", AIR, AIR[:1], 3, epochs=30),
    Recipe(
        "multivariate LSTM, no input",
        lambda: multivariate(WINDOW, 5),
        "pollution",
        AIR[1:],
        AIR[:1],
        WINDOW,
        lead=0,
        epochs=30,
    ),
    Recipe("min-max LSTM", univariate, "engine", ENGINE, ENGINE, WINDOW, scaling="minmax", loop=True),
    Recipe("encoder-decoder", encoder_decoder, "engine", ENGINE, ENGINE, WINDOW, "block", 12, loop=True),
    Recipe(
        "N-HiTS",
        n_hits,
        "engine",
        ENGINE,
        ENGINE,
        48,
        "block",
        DAY,
        loop=True,
    ),
    Recipe(
        "quantiles",
        quantiles,
        "pollution",
        AIR,
        AIR[:1],
        WINDOW,
        line=("forecast", quantile_line(1)),
        quantiles=LEVELS,
    ),
    Recipe(
        "quantiles, 6 hours ahead",
        quantiles,
        "pollution",
        AIR,
        AIR[:1],
        WINDOW,
        lead=6,
        line=("forecast", quantile_line(6)),
        quantiles=LEVELS,
    ),
    Recipe(
        "LSTM autoencoder",
        lstm_autoencoder,
        "engine",
        ENGINE,
        ENGINE,
        WINDOW,
        "again",
        line=("forecast", 'kind = "reconstruction"'),
        epochs=30,
    ),
    Recipe(
        "vibration CNN",
        vibration,
        "vibration",
        ("acceleration",),
        ("state",),
        256,
        "class",
        line=("data", 'label = "state"'),
    ),
)
