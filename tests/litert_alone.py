"""model.tflite evaluated as docs/format.md says, with LiteRT and numpy alone: nothing of the tool takes part."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter


class Runner:
    """A file, ready to be called. step: the size of one code of its output, in the model's units."""

    def __init__(self, path: Path) -> None:
        content = path.read_bytes()
        about = json.JSONDecoder().raw_decode(content[content.index(b'{"channels":') :].decode("utf-8", "replace"))[0]
        self._call = Interpreter(model_content=content).get_signature_runner("serving_default")
        self._given, self._made = self._call.get_input_details(), self._call.get_output_details()
        self._whole = about["recurrence"] == "none"
        self._states = self._zero()
        self.step = float(self._made["y"]["quantization"][0])

    def says(self, window: np.ndarray, carried: bool = False) -> np.ndarray:
        """The values after a window (W, F), in the model's units. carried: the states of the call before go on."""
        x = _codes(window, self._given["x"])
        if self._whole:
            return _values(self._call(x=x[None])["y"], self._made["y"]).ravel()
        if not carried:
            self._states = self._zero()
        for sample in x:
            result = self._call(x=sample[None], **self._states)
            self._states = {name: result[name] for name in self._states}
        return _values(result["y"], self._made["y"]).ravel()

    def _zero(self) -> dict[str, np.ndarray]:
        states = {name: d for name, d in self._given.items() if name != "x"}
        return {name: np.full(d["shape"], d["quantization"][1], d["dtype"]) for name, d in states.items()}


def evaluate(path: Path, windows: np.ndarray) -> tuple[np.ndarray, float]:
    """What a file says after each window (N, W, F), in the model's units, and the size of one code of it.

    Returns ((N, values), the scale of the output).
    """
    runner = Runner(path)
    return np.stack([runner.says(window) for window in windows]), runner.step


def _codes(values: np.ndarray, details: dict[str, Any]) -> np.ndarray:
    scale, zero = details["quantization"]
    limits = np.iinfo(details["dtype"])
    return np.clip(np.rint(values / scale) + zero, limits.min, limits.max).astype(details["dtype"])


def _values(codes: np.ndarray, details: dict[str, Any]) -> np.ndarray:
    scale, zero = details["quantization"]
    return (codes.astype(np.float64) - zero) * scale
