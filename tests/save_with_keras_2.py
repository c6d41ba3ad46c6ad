"""Small forecasters saved by Keras 2, each as .h5, SavedModel and .keras, with its own predictions.

A program of its own: it runs in a process that sees tf_keras. Argument: the directory to write.
"""

import sys
from pathlib import Path

import numpy as np
import tf_keras as keras

W, F = 6, 3
L = keras.layers
MODELS = {
    "LSTM": lambda: [L.LSTM(4), L.Dense(F)],
    "GRU": lambda: [L.GRU(4), L.Dense(F)],
    "SimpleRNN": lambda: [L.SimpleRNN(4), L.Dense(F)],
    "Bidirectional": lambda: [L.Bidirectional(L.LSTM(4)), L.Dense(F)],
    "Frozen": lambda: [
        L.Bidirectional(L.LSTM(4, return_sequences=True), trainable=False),
        L.BatchNormalization(),
        L.GRU(4),
        L.Dropout(0.2),
        L.Dense(F),
    ],
    "Conv1D": lambda: [L.Conv1D(4, 3, padding="causal", activation="relu"), L.Flatten(), L.Dense(F)],
    "DepthwiseConv1D": lambda: [L.DepthwiseConv1D(3, depth_multiplier=2), L.Flatten(), L.Dense(F)],
}
out = Path(sys.argv[1])
rng = np.random.default_rng(3)
x = rng.standard_normal((5, W, F)).astype(np.float32)
np.save(out / "x.npy", x)
for name, layers in MODELS.items():
    keras.backend.clear_session()
    model = keras.Sequential([keras.Input((W, F)), *layers()])
    model.set_weights(
        [rng.uniform(0.1, 0.9, w.shape).astype(np.float32) - 0.3 * (w.ndim > 1) for w in model.get_weights()]
    )
    model.compile("adam", keras.losses.MeanSquaredError(), metrics=["mae"])
    model.save(out / f"{name}.h5")
    model.save(out / name, save_format="tf")
    model.save(out / f"{name}.keras")
    np.save(out / f"{name}.npy", model.predict(x, verbose=0))

x = keras.Input((W, F))
y = L.Add()([L.Dense(F, name="a")(x), L.Dense(F, name="b")(x)])
model = keras.Model(x, L.Dense(F)(L.Flatten()(y)))
model.save(out / "Functional.h5")
model.save(out / "Functional", save_format="tf")
model.save(out / "Functional.keras")
np.save(out / "Functional.npy", model.predict(np.load(out / "x.npy"), verbose=0))
model.save_weights(out / "weights.h5")


@keras.utils.register_keras_serializable("mine")
class Twice(L.Layer):
    """A layer of the user's own."""

    def call(self, x):
        return 2 * x


model = keras.Sequential([keras.Input((W, F)), L.Flatten(), Twice(name="twice"), L.Dense(F)])
model.save(out / "Twice.h5")
model = keras.Sequential([keras.Input((W, F)), L.LSTM(4, recurrent_activation="hard_sigmoid", name="hard"), L.Dense(F)])
model.save(out / "hard.h5")
