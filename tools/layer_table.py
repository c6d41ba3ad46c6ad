"""Write docs/layers.md: which layer runs in which runtime at which width. Tests hold it, and run every cell.

python tools/layer_table.py
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edge_tqs.flatbuffer.form import RUNTIMES
from edge_tqs.graph.graph import Array, Graph
from edge_tqs.quantization.calibration import calibrate
from edge_tqs.quantization.quantize import Activations, quantize
from edge_tqs.quantization.support import emitted, reason_against
from edge_tqs.read.keras.layers.activation import ACTIVATIONS
from edge_tqs.read.keras.model import load
from edge_tqs.system.reading import Said
from edge_tqs.system.tensorflow import import_tensorflow, quiet

DOCUMENT = Path(__file__).parents[1] / "docs" / "layers.md"
#: Window and channels of the models.
W, F = 8, 3
#: What a cell's column is called -> (width of all weights, activations).
WIDTHS: dict[str, tuple[int, Activations]] = {"int8": (8, "int8"), "int4": (4, "int8"), "16x8": (8, "int16")}
TITLES = {"litert": "LiteRT", "tflite-runtime": "tflite-runtime 2.14", "tflm": "tflite-micro", "c": "generated C"}

#: Makes the layer, given keras.layers.
Layer = Callable[[Any], Any]
#: Adds the layer to a functional model: (keras, x (W, F)) -> what comes of it, of any rank.
Apply = Callable[[Any, Any], Any]


def plain(kind: str, *args: Any, **config: Any) -> Apply:
    """A layer by its class."""
    return lambda keras, x: getattr(keras.layers, kind)(*args, **config)(x)


def merged(kind: str) -> Apply:
    """A layer of two sequences."""
    return lambda keras, x: getattr(keras.layers, kind)()([x, keras.layers.Conv1D(F, 1)(x)])


def of_image(kind: str, *args: Any, **config: Any) -> Apply:
    """A layer of the window as an image (W, F, 1)."""
    return lambda keras, x: getattr(keras.layers, kind)(*args, **config)(keras.layers.Reshape((W, F, 1))(x))


def activation(name: str) -> Apply:
    """An activation by its name."""
    return lambda keras, x: keras.layers.Activation(name)(x)


#: What the table calls it -> the layer in a model. Everything that edge_tqs.layers reads is here; a test holds that.
LAYERS: dict[str, Apply] = {
    "Dense": lambda keras, x: keras.layers.Dense(4)(keras.layers.Flatten()(x)),
    "LSTM": plain("LSTM", 4),
    "GRU": plain("GRU", 4),
    "Conv1D": plain("Conv1D", 4, 3, padding="causal", dilation_rate=2),
    "Add": merged("Add"),
    "Subtract": merged("Subtract"),
    "Multiply": merged("Multiply"),
    "Concatenate": merged("Concatenate"),
    "Cropping1D": plain("Cropping1D", (1, 2)),
    "ZeroPadding1D": plain("ZeroPadding1D", (2, 1)),
    "GlobalAveragePooling1D": plain("GlobalAveragePooling1D"),
    "Flatten": plain("Flatten"),
    "Reshape": plain("Reshape", (W // 2, 2 * F)),
    "Permute": plain("Permute", (2, 1)),
    "ReLU": plain("ReLU"),
    "LeakyReLU": plain("LeakyReLU"),
    "ELU": plain("ELU"),
    "PReLU": plain("PReLU", shared_axes=[1]),
    "Softmax": plain("Softmax"),
    "Activation": activation("tanh"),
    "SimpleRNN": plain("SimpleRNN", 4),
    "Bidirectional": lambda keras, x: keras.layers.Bidirectional(keras.layers.GRU(2))(x),
    "RNN": lambda keras, x: keras.layers.RNN(keras.layers.LSTMCell(3))(x),
    "TimeDistributed": lambda keras, x: keras.layers.TimeDistributed(keras.layers.Dense(2))(x),
    "RepeatVector": lambda keras, x: keras.layers.RepeatVector(3)(keras.layers.Dense(2)(keras.layers.Flatten()(x))),
    "DepthwiseConv1D": plain("DepthwiseConv1D", 3),
    "SeparableConv1D": plain("SeparableConv1D", 4, 3),
    "Conv1DTranspose": plain("Conv1DTranspose", 4, 3, strides=2),
    "AveragePooling1D": plain("AveragePooling1D", 2),
    "MaxPooling1D": plain("MaxPooling1D", 2),
    "GlobalMaxPooling1D": plain("GlobalMaxPooling1D"),
    "UpSampling1D": plain("UpSampling1D", 2),
    "Conv2D": of_image("Conv2D", 2, 3, padding="same"),
    "DepthwiseConv2D": of_image("DepthwiseConv2D", (3, 1)),
    "AveragePooling2D": of_image("AveragePooling2D", 2),
    "MaxPooling2D": of_image("MaxPooling2D", (2, 1)),
    "GlobalAveragePooling2D": of_image("GlobalAveragePooling2D"),
    "GlobalMaxPooling2D": of_image("GlobalMaxPooling2D"),
    "Embedding": lambda keras, x: keras.layers.Embedding(7, 4)(keras.ops.cast(x[:, :, 0], "int32")),
    "BatchNormalization": lambda keras, x: keras.layers.BatchNormalization()(keras.layers.ReLU()(x)),
    "LayerNormalization": plain("LayerNormalization"),
    "Normalization": plain("Normalization", mean=0.5, variance=4.0),
    "Rescaling": plain("Rescaling", 0.5, 0.25),
    "Average": merged("Average"),
    "Maximum": merged("Maximum"),
    "Minimum": merged("Minimum"),
    "MultiHeadAttention": lambda keras, x: keras.layers.MultiHeadAttention(2, 2)(x, x),
    "GroupQueryAttention": lambda keras, x: keras.layers.GroupQueryAttention(2, 2, 1)(x, x),
    "Attention": lambda keras, x: keras.layers.Attention()([x, x]),
    **{name: activation(name) for name in ACTIVATIONS if name not in ("linear", "swish", "hard_swish", "tanh")},
}
#: Not a name of its own: the class of the layer above it in files of Keras.
ALIASES = {"GroupedQueryAttention": "GroupQueryAttention"}


@dataclass(frozen=True, eq=False)
class Row:
    """A layer's integer graphs by column."""

    name: str
    graphs: Mapping[str, Graph]

    def reason(self, runtime: str, width: str) -> str | None:
        """None where the runtime computes every operator of the layer's model right, else the first reason why not."""
        graph = self.graphs[width]
        reasons = (reason_against(runtime, k) for op in graph.ops for k in emitted(graph, op, runtime))
        return next(filter(None, reasons), None)


def model(name: str) -> Any:
    """A Keras model (W, F) -> (F,) that has the layer ``name``, and a Dense layer behind it, all weights random."""
    keras = import_tensorflow().keras
    x = keras.Input((W, F))
    y = LAYERS[name](keras, x)
    y = y if len(y.shape) == 2 else keras.layers.Flatten()(y)
    made = keras.Model(x, keras.layers.Dense(F)(y))
    rng = np.random.default_rng(3)
    made.set_weights(
        [
            rng.normal(0, 0.4, w.shape).astype(np.float32) ** 2 + 0.05
            if _positive(v)
            else rng.normal(0, 0.4, w.shape).astype(np.float32)
            for v, w in zip(made.weights, made.get_weights(), strict=True)
        ]
    )
    return made


def _positive(variable: Any) -> bool:
    return str(variable.path).endswith("variance")


def float_graph(name: str) -> Graph:
    """The layer's model as it is read; what rows are looked up by is held."""
    said = Said(feedback=(None, *range(1, F)), held=(0,)) if name == "Embedding" else None
    with quiet(), tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        model(name).save(path)
        return load(path, said=said).graph


def windows(graph: Graph, seed: int, count: int) -> Array:
    """Noise, and whole numbers where rows are looked up by them, (count, W, F)."""
    made = np.random.default_rng(seed).normal(size=(count, W, F)).astype(np.float32)
    for channel, numbers in graph.forecast.whole_values().items():
        made[..., channel] = numbers[np.arange(count * W).reshape(count, W) % len(numbers)]
    return made


def quantised(graph: Graph, width: int, activations: Activations) -> Graph:
    """All its weights at one width."""
    seeds = windows(graph, 4, 8)
    widths = dict.fromkeys(graph.weights(), width)
    return quantize(graph, widths, calibrate(graph, seeds, 4), activations=activations)


def row(name: str) -> Row:
    """The layer's model in each of WIDTHS."""
    graph = float_graph(name)
    return Row(name, {title: quantised(graph, *kind) for title, kind in WIDTHS.items()})


def document(rows: list[Row]) -> str:
    """docs/layers.md. Reasons are notes below the table."""
    notes: dict[str, int] = {}
    header = ["layer", *(f"{TITLES[runtime]}: {'; '.join(WIDTHS)}" for runtime in RUNTIMES)]
    lines = ["| " + " | ".join(header) + " |", "|---" * len(header) + "|"]
    for found in rows:
        cells = []
        for runtime in RUNTIMES:
            said = []
            for width in WIDTHS:
                reason = found.reason(runtime, width)
                said.append("yes" if reason is None else f"no [{notes.setdefault(reason, len(notes) + 1)}]")
            cells.append("; ".join(said))
        lines.append("| " + " | ".join([found.name, *cells]) + " |")
    listed = [f"{number}. {reason}." for reason, number in notes.items()]
    return HEAD + "\n".join([*lines, *([""] if listed else []), *listed]) + "\n"


HEAD = """# Layers, runtimes and widths

Written by `python tools/layer_table.py` from the code's own tables; tests build a model with each layer, run it in
every runtime that the table says runs it, and compare: bit for bit in tflite-micro and the generated C, within rounding
in the others. int8 and int4 are the weights beside int8 activations, 16x8 is int8 weights beside int16 activations.
Where a model has int4 weights beside int16 activations, LiteRT and the generated C alone run it.

Layers that do nothing once a model is trained (Dropout and its like, noise, ActivityRegularization) are left out, and
so is Masking of the model's input, which does nothing to a full window. Of keras.ops, what Functional models are made
of is read as the layer of the same name, or as slices, sums, products, means, reshapes and functions of one value:
those are the rows of the activations. Other layers are built where [TensorFlow's converter takes them
apart](model-files.md#what-can-be-built); `score` and `plan` take any model.

"""


if __name__ == "__main__":
    DOCUMENT.write_text(document([row(name) for name in LAYERS]), encoding="utf-8")
