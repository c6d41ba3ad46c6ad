"""model.tflite evaluated as docs/format.md says, with LiteRT and numpy alone: nothing of the tool takes part."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from benchmarks.recipes.series import Array


class Built:
    """A model.tflite. Windows and forecasts are in physical units, but for outputs that have none."""

    def __init__(self, content: bytes) -> None:
        from ai_edge_litert.interpreter import Interpreter

        text = content[content.index(b'{"channels":') :].decode("utf-8", "replace")
        self.about: dict[str, Any] = json.JSONDecoder().raw_decode(text)[0]
        self._call = Interpreter(model_content=content, num_threads=1).get_signature_runner("serving_default")
        given = self._call.get_input_details()
        self._x, self._y = given["x"], self._call.get_output_details()["y"]
        zeros = {name: np.full(d["shape"], d["quantization"][1], d["dtype"]) for name, d in given.items()}
        self._zeros = {name: value for name, value in zeros.items() if name != "x"}

    def rollout(self, window: Array, steps: int) -> Array:
        """The forecast (steps, outputs) of a closed loop of all inputs after a window (W, F)."""
        path = self._codes(window)
        said: list[Array] = []
        while len(said) < steps:
            for sample in self._evaluated(path[len(said) : len(said) + self.about["window"]]):
                said.append(sample)
                path = np.concatenate([path, self._fed(sample)[None, self.about["feedback"]]])
        return self._physical(np.stack(said[:steps]))

    def predict(self, windows: Array) -> Array:
        """What it says after each window (N, W, F): (N, outputs of all samples)."""
        return np.stack([self._physical(self._evaluated(self._codes(window))) for window in windows])

    def _evaluated(self, path: Array) -> Array:
        """One evaluation over a whole window of codes, from zero states: (samples, outputs), codes."""
        states = self._zeros
        for sample in [path] if self.about["recurrence"] == "none" else path:
            result = self._call(x=sample[None], **states)
            states = {name: result[name] for name in self._zeros}
        block: Array = result["y"].reshape(self.about["steps"], -1)
        return block

    def _codes(self, window: Array) -> Array:
        scaling, (scale, zero) = self.about["scaling"], self._x["quantization"]
        if scaling is not None:
            window = (window - np.array(scaling["mean"])) / np.array(scaling["std"])
        limits = np.iinfo(self._x["dtype"])
        codes: Array = np.clip(np.rint(window / scale) + zero, limits.min, limits.max).astype(self._x["dtype"])
        return codes

    def _fed(self, sample: Array) -> Array:
        (scale, zero), (of_x, zero_of_x) = self._y["quantization"], self._x["quantization"]
        if (scale, zero) == (of_x, zero_of_x):
            return sample
        values = (sample.astype(np.float64) - zero) * float(scale) / float(of_x)
        limits = np.iinfo(sample.dtype)
        codes: Array = np.trunc(values + np.copysign(0.5, values)) + zero_of_x
        return np.clip(codes, limits.min, limits.max).astype(sample.dtype)

    def _physical(self, codes: Array) -> Array:
        """Of codes (samples, outputs), by the units that the file states for each output."""
        scale, zero = self._y["quantization"]
        values: Array = (codes.astype(np.float64) - zero) * scale
        own, scaling = self.about.get("output_scaling"), self.about["scaling"]
        if own is None and (scaling is None or self.about.get("task") == "classes"):
            return values
        if own is not None:
            std, mean = own["std"], own["mean"]
        elif self.about.get("task") == "reconstruction":
            values = values.reshape(-1, self.about["channels"])
            std, mean = scaling["std"], scaling["mean"]
        else:
            channels = [one.get("channel") for one in self.about.get("predicted", ())] or range(values.shape[1])
            std = [1.0 if channel is None else scaling["std"][channel] for channel in channels]
            mean = [0.0 if channel is None else scaling["mean"][channel] for channel in channels]
        physical: Array = values * np.array(std) + np.array(mean)
        return physical
