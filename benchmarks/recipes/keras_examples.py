"""The Keras examples on time series: weather, traffic, anomalies, and two classifiers."""

from __future__ import annotations

from typing import Any

from benchmarks.recipes.recipe import Recipe
from benchmarks.recipes.tutorial import sequential

WEATHER = ("pressure", "temperature", "humidity", "wind_x", "wind_y")
ROAD = tuple(f"speed_{node}" for node in range(10))
AHEAD, CLASSES = 3, 4


def weather() -> Any:
    """An LSTM and one value, hours later: (24, 5) -> (1,)."""
    from keras import layers as k

    return sequential("weather", (24, len(WEATHER)), k.LSTM(32), k.Dense(1))


def _road(cell: str) -> Any:
    """The graph of the road is a matrix over its places, here a Dense over them in each sample; then one cell."""
    from keras import layers as k

    places = len(ROAD)
    cells = {"GRU": k.GRU, "LSTM": k.LSTM}[cell](32)
    return sequential(
        f"road_{cell.lower()}",
        (12, places),
        k.TimeDistributed(k.Dense(16, "relu")),
        cells,
        k.Dense(AHEAD * places),
        k.Reshape((AHEAD, places)),
    )


def anomalies() -> Any:
    """A convolutional autoencoder: two convolutions of stride 2, and their transposes; (48, 1) -> (48, 1)."""
    from keras import layers as k

    def conv(filters: int) -> Any:
        return k.Conv1D(filters, 7, strides=2, padding="same", activation="relu")

    def back(filters: int) -> Any:
        return k.Conv1DTranspose(filters, 7, strides=2, padding="same", activation="relu")

    return sequential(
        "anomalies",
        (48, 1),
        conv(16),
        k.Dropout(0.2),
        conv(8),
        back(8),
        k.Dropout(0.2),
        back(16),
        k.Conv1DTranspose(1, 7, padding="same"),
    )


def fully_convolutional() -> Any:
    """Three times convolution, normalisation and relu; the mean over time; evidence for four states."""
    from keras import layers as k

    blocks = [part for _ in range(3) for part in (k.Conv1D(24, 3, padding="same"), k.BatchNormalization(), k.ReLU())]
    return sequential("fully_convolutional", (128, 1), *blocks, k.GlobalAveragePooling1D(), k.Dense(CLASSES, "softmax"))


def transformer() -> Any:
    """Encoder blocks of attention and two pointwise convolutions, the mean over channels, and a perceptron."""
    import keras
    from keras import layers as k

    window = keras.Input((40, 1), name="samples")
    x = window
    for _ in range(2):
        attended = k.MultiHeadAttention(num_heads=2, key_dim=8, dropout=0.1)(x, x)
        x = k.Add()([k.LayerNormalization(epsilon=1e-6)(k.Dropout(0.1)(attended)), x])
        wide = k.Dropout(0.1)(k.Conv1D(4, 1, activation="relu")(x))
        x = k.Add()([k.LayerNormalization(epsilon=1e-6)(k.Conv1D(1, 1)(wide)), x])
    pooled = k.GlobalAveragePooling1D(data_format="channels_last")(k.Permute((2, 1))(x))
    hidden = k.Dropout(0.2)(k.Dense(64, "relu")(pooled))
    return keras.Model(window, k.Dense(CLASSES, "softmax")(hidden), name="transformer")


RECIPES = (
    Recipe("Keras: weather, LSTM", weather, "weather", WEATHER, ("temperature",), 24, lead=6),
    *(
        Recipe(
            f"Keras: traffic, {cell}",
            lambda cell=cell: _road(cell),  # type: ignore[misc]
            "traffic",
            ROAD,
            ROAD,
            12,
            "block",
            AHEAD,
            loop=True,
            epochs=40,
            rate=5e-3,
        )
        for cell in ("GRU", "LSTM")
    ),
    Recipe(
        "Keras: anomalies, Conv1DTranspose",
        anomalies,
        "engine",
        ("engine_temp",),
        ("engine_temp",),
        48,
        "again",
        line=("forecast", 'kind = "reconstruction"'),
    ),
    Recipe(
        "Keras: classes, convolutions",
        fully_convolutional,
        "vibration",
        ("acceleration",),
        ("state",),
        128,
        "class",
        line=("data", 'label = "state"'),
    ),
    Recipe(
        "Keras: classes, Transformer",
        transformer,
        "vibration",
        ("acceleration",),
        ("state",),
        40,
        "class",
        line=("data", 'label = "state"'),
    ),
)
