"""Run by peers.py with the Python that has ai-edge-quantizer: quantise a float .tflite and roll all of them out.

    python peer_program.py FOLDER

FOLDER holds model.tflite, seeds.npy and loop.json; peer.json is written there. It imports nothing of this repository.
"""

import contextlib
import io
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from ai_edge_litert.interpreter import Interpreter
from ai_edge_quantizer import quantizer, recipe

RECIPES = {"int8": recipe.weight_only_wi8_afp32, "int4": recipe.weight_only_wi4_afp32}


def rollouts(
    model: bytes, seeds: npt.NDArray[Any], window: int, feedback: Sequence[int | None], horizon: int
) -> npt.NDArray[np.float64]:
    """(N, T, outputs) of a model of static batch 1; feedback holds None for a channel that the seeds know ahead."""
    interpreter = Interpreter(model_content=model)
    interpreter.allocate_tensors()
    given, made = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
    fed_back = [channel for channel, source in enumerate(feedback) if source is not None]
    sources = [source for source in feedback if source is not None]
    outputs = []
    for seed in seeds:
        rows, steps = seed[:window].copy(), []
        for t in range(horizon):
            interpreter.set_tensor(given, rows[None])
            interpreter.invoke()
            forecast = interpreter.get_tensor(made)[0]
            steps.append(forecast)
            following = seed[window + t].copy() if len(fed_back) < len(feedback) else np.empty_like(rows[0])
            following[fed_back] = forecast[sources]
            rows = np.concatenate([rows[1:], following[None]])
        outputs.append(np.array(steps))
    return np.array(outputs, np.float64)


def main() -> None:
    folder = Path(sys.argv[1])
    loop = json.loads((folder / "loop.json").read_text())
    seeds = np.load(folder / "seeds.npy")
    original = (folder / "model.tflite").read_bytes()
    nominal = rollouts(original, seeds, **loop)
    np.save(folder / "nominal.npy", nominal)
    found: dict[str, dict[str, float]] = {"float": {"bytes": len(original)}}
    for name, make in RECIPES.items():
        started = time.process_time()
        with contextlib.redirect_stdout(io.StringIO()):
            model = bytes(quantizer.Quantizer(str(folder / "model.tflite"), make()).quantize().quantized_model)
        seconds = time.process_time() - started
        difference = np.nan_to_num(rollouts(model, seeds, **loop) - nominal, nan=30.0)
        rmse = float(np.sqrt(np.mean(np.square(np.clip(difference, -30.0, 30.0)))))
        found[name] = {"bytes": len(model), "divergence": rmse, "seconds": seconds}
    (folder / "peer.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main()
