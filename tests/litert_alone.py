"""model.tflite evaluated as docs/format.md says, with LiteRT and numpy alone: nothing of the tool takes part."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter


def evaluate(path: Path, windows: np.ndarray) -> tuple[np.ndarray, float]:
    """What a file says after each window (N, W, F), in the model's units, and the size of one code of it.

    Returns ((N, values), the scale of the output).
    """
    content = path.read_bytes()
    about = json.JSONDecoder().raw_decode(content[content.index(b'{"channels":') :].decode("utf-8", "replace"))[0]
    call = Interpreter(model_content=content).get_signature_runner("serving_default")
    given, made = call.get_input_details(), call.get_output_details()
    said = []
    for window in windows:
        x = _codes(window, given["x"])
        states = {name: np.full(d["shape"], d["quantization"][1], d["dtype"]) for name, d in given.items()}
        del states["x"]
        if about["recurrence"] == "none":
            result = call(x=x[None])
        else:
            for sample in x:
                result = call(x=sample[None], **states)
                states = {name: result[name] for name in states}
        said.append(_values(result["y"], made["y"]).ravel())
    return np.stack(said), float(made["y"]["quantization"][0])


def _codes(values: np.ndarray, details: dict[str, Any]) -> np.ndarray:
    scale, zero = details["quantization"]
    limits = np.iinfo(details["dtype"])
    return np.clip(np.rint(values / scale) + zero, limits.min, limits.max).astype(details["dtype"])


def _values(codes: np.ndarray, details: dict[str, Any]) -> np.ndarray:
    scale, zero = details["quantization"]
    return (codes.astype(np.float64) - zero) * scale
