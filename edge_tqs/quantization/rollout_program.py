"""Stand-alone: roll out an edge-tqs model.tflite. Needs numpy and tflite-runtime or ai-edge-litert, nothing else.

usage: tflite_rollout.py MODEL.tflite SEEDS.npy OUTPUTS.npy HORIZON

SEEDS.npy: (N, W, F) codes, int8 or int16 as the model's, oldest sample first; with inputs known ahead, or where nothing
is fed back, (N, W + HORIZON, F). OUTPUTS.npy: (N, HORIZON, outputs) such codes.
Prints the runtime's name and version. It knows the file by docs/format.md alone and must keep running on Python 3.9.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np


def load(model: bytes) -> tuple[str, Any]:
    """(name and version of the runtime, its interpreter of ``model``)."""
    try:
        import tflite_runtime as package
        from tflite_runtime.interpreter import Interpreter
    except ImportError:
        import ai_edge_litert as package
        from ai_edge_litert.interpreter import Interpreter
    interpreter = Interpreter(model_content=model, num_threads=1)
    interpreter.allocate_tensors()
    return f"{package.__name__} {getattr(package, '__version__', '')}".strip(), interpreter


def read_metadata(model: bytes) -> Any:
    """The JSON object of the metadata entry edge_tqs, found by its first key."""
    text = model[model.index(b'{"channels":') :].decode("utf-8", "replace")
    return json.JSONDecoder().raw_decode(text)[0]


def fed_codes(codes: Any, y: Any, x: Any) -> Any:
    """What is fed back of ``codes`` of ``y``; y, x: (scale, zero point)."""
    if tuple(y) == tuple(x):
        return codes
    limits = np.iinfo(codes.dtype)
    values = (codes.astype(np.float64) - y[1]) * np.float64(y[0]) / np.float64(x[0])
    rounded = np.copysign(np.floor(np.abs(values) + 0.5), values) + x[1]
    return np.clip(rounded, limits.min, limits.max).astype(codes.dtype)


def roll(step: Any, metadata: Any, seed: Any, horizon: int) -> Any:
    """One rollout with a signature runner: seed (W or W + horizon, F) codes -> (horizon, outputs) codes."""
    zeros = {
        name: np.full(detail["shape"], detail["quantization"][1], seed.dtype)
        for name, detail in step.get_input_details().items()
        if name != "x"
    }
    window, ahead, states, outputs = seed[: metadata["window"]], seed[metadata["window"] :], zeros, []
    scales = [step.get_output_details()["y"]["quantization"], step.get_input_details()["x"]["quantization"]]
    steps, held = metadata.get("steps", 1), metadata.get("held", ())
    for t in range(horizon):
        if metadata["recurrence"] == "stateful" and t > 0:
            samples = [window[-1:]]
        elif t % steps:
            samples = []
        elif metadata["recurrence"] == "none":
            samples = [window[None]]
        else:
            samples, states = [window[k : k + 1] for k in range(len(window))], zeros
        for x in samples:
            result = step(x=x, **states)
            states = {name: result[name] for name in zeros}
        if t % steps == 0:
            block = result["y"].reshape(steps, -1)
        y = block[t % steps]
        outputs.append(y)
        fed = fed_codes(y, *scales)
        sample = [
            fed[source] if source is not None else window[-1, channel] if channel in held else ahead[t, channel]
            for channel, source in enumerate(metadata["feedback"])
        ]
        window = np.concatenate([window[1:], np.array([sample], seed.dtype)])
    return np.stack(outputs)


def main(model_path: str, seeds_path: str, outputs_path: str, horizon: str) -> None:
    """Read, roll each seed, write."""
    model = Path(model_path).read_bytes()
    runtime, interpreter = load(model)
    step, metadata = interpreter.get_signature_runner("serving_default"), read_metadata(model)
    seeds = np.load(seeds_path, allow_pickle=False)
    if runtime.startswith("tflite_runtime") and seeds.dtype == np.int16 and 4 in metadata["plan"].values():
        sys.exit("tflite-runtime computes int16 samples with int4 weights wrongly and reports no error")
    np.save(outputs_path, np.stack([roll(step, metadata, seed, int(horizon)) for seed in seeds]))
    print(runtime)


if __name__ == "__main__":
    main(*sys.argv[1:])
