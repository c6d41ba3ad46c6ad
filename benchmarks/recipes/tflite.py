"""TFLite's own converter, to full int8, and what its file says: what the build is compared with."""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.recipes.recipe import Trained
from benchmarks.recipes.series import Array


@dataclass(frozen=True)
class Converted:
    """content: the flatbuffer, int8 in and out; empty where the converter refuses. how: what was done, or why not."""

    content: bytes
    how: str


def convert(trained: Trained) -> Converted:
    """The model in full int8, with the windows that it was fitted to as the representative dataset.

    Recurrent layers are unrolled: with their loops the converter refuses ("Lowering tensor list ops is failed"), or,
    given a fixed batch, makes a file that ends the process of who runs it.
    """
    copy = unrolled(trained.model)
    how = "as it is" if copy is None else "unrolled"
    try:
        return Converted(_converted(trained.model if copy is None else copy, trained), how)
    except Exception as error:  # the converter raises what its C++ says
        return Converted(b"", f"{how}, refused: {_reason(error)}")


def _converted(model: Any, trained: Trained) -> bytes:
    import tensorflow as tf

    windows = trained.inputs.of(trained.fitted).astype(np.float32)
    signature = tf.TensorSpec((1, *windows.shape[1:]), tf.float32)
    concrete = tf.function(lambda x: model(x, training=False)).get_concrete_function(signature)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete])
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([window[None]] for window in windows)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    with contextlib.redirect_stderr(io.StringIO()):
        content = bytes(converter.convert())
    Interpreted(content)  # it must also run
    return content


def unrolled(model: Any) -> Any:
    """A copy whose recurrent layers are unrolled; None where it has none."""

    config, found = model.get_config(), []

    def visit(part: Any) -> None:
        if isinstance(part, dict):
            if "unroll" in part:
                part["unroll"] = True
                found.append(part)
            for value in part.values():
                visit(value)
        elif isinstance(part, list | tuple):
            for value in part:
                visit(value)

    visit(config)
    if not found:
        return None
    copy = type(model).from_config(config)
    copy.set_weights(model.get_weights())
    return copy


def _reason(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = [line for line in lines if "error:" in line] or lines
    return said[0].rpartition("error: ")[2][:120] if said else type(error).__name__


class Interpreted:
    """A quantised file run by LiteRT: (N, W, F) in the model's units to (N, values)."""

    def __init__(self, content: bytes) -> None:
        from ai_edge_litert.interpreter import Interpreter

        self._interpreter = Interpreter(model_content=content, num_threads=1)
        self._interpreter.allocate_tensors()
        (self._x,) = self._interpreter.get_input_details()
        (self._y,) = self._interpreter.get_output_details()
        if self._x["dtype"] != np.int8 or self._y["dtype"] != np.int8:
            raise ValueError(f"its input is {self._x['dtype'].__name__}, its output {self._y['dtype'].__name__}")
        self._interpreter.set_tensor(self._x["index"], np.zeros(self._x["shape"], np.int8))
        self._interpreter.invoke()

    def predict(self, windows: Array) -> Array:
        """windows, outputs: the model's units."""
        (scale, zero), (y_scale, y_zero) = self._x["quantization"], self._y["quantization"]
        codes = np.clip(np.rint(windows / scale) + zero, -128, 127).astype(np.int8)
        said = []
        for window in codes:
            self._interpreter.set_tensor(self._x["index"], window.reshape(self._x["shape"]))
            self._interpreter.invoke()
            said.append(self._interpreter.get_tensor(self._y["index"]).ravel())
        values: Array = (np.stack(said).astype(np.float64) - y_zero) * y_scale
        return values
