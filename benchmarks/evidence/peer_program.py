"""Run by peers.py with the Python that has ai-edge-quantizer: quantise a float .tflite and roll all of them out.

    python peer_program.py FOLDER

FOLDER holds model.tflite, its twin unrolled.tflite where it has recurrent layers, converted.tflite where TFLite's
converter made one, seeds.npy, examples.npy (windows to calibrate on) and loop.json; peer.json is written there. It
imports nothing of this repository.
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
from ai_edge_quantizer.algorithm_manager import AlgorithmName

PLAIN, GPTQ = AlgorithmName.MIN_MAX_UNIFORM_QUANT, AlgorithmName.GPTQ
#: GPTQ needs the inputs of layers, which only the first sees; it fails where a graph has tensors that are never filled,
#: as an unrolled recurrent layer's. Ranges can be had from the second.
TENSORS, PROFILER = (
    quantizer._CalibrationMode.CALIBRATION_PRESERVE_ALL_TENSORS,
    quantizer._CalibrationMode.CALIBRATION_PROFILER_BASED,
)
#: By name: what makes the recipe, its algorithm, and how that looks at examples; None where it does not.
RECIPES = {
    "int8": (recipe.weight_only_wi8_afp32, PLAIN, None),
    "int8 GPTQ": (recipe.weight_only_wi8_afp32, GPTQ, TENSORS),
    "int4": (recipe.weight_only_wi4_afp32, PLAIN, None),
    "int4 GPTQ": (recipe.weight_only_wi4_afp32, GPTQ, TENSORS),
    "int4 OCTAV": (recipe.weight_only_wi4_afp32, AlgorithmName.OCTAV, None),
    "int4 OSCAR": (recipe.weight_only_wi4_afp32, AlgorithmName.OSCAR, None),
    "static int8": (recipe.static_wi8_ai8, PLAIN, PROFILER),
    "static int16": (recipe.static_wi8_ai16, PLAIN, PROFILER),
}


class Program:
    """A .tflite of static batch 1, float or integer at its ends: (1, W, F) to (outputs,), real numbers both."""

    def __init__(self, model: bytes) -> None:
        self._interpreter = Interpreter(model_content=model)
        self._interpreter.allocate_tensors()
        (self._x,), (self._y,) = self._interpreter.get_input_details(), self._interpreter.get_output_details()

    def __call__(self, rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
        given, kind = rows, self._x["dtype"]
        if kind != np.float32:
            scale, zero = self._x["quantization"]
            bounds = np.iinfo(kind)
            given = np.clip(np.rint(rows / scale) + zero, bounds.min, bounds.max).astype(kind)
        self._interpreter.set_tensor(self._x["index"], given)
        self._interpreter.invoke()
        made = self._interpreter.get_tensor(self._y["index"])[0]
        if self._y["dtype"] == np.float32:
            return np.asarray(made)
        scale, zero = self._y["quantization"]
        return np.asarray((made.astype(np.float64) - zero) * scale)


def rollouts(
    model: bytes, seeds: npt.NDArray[Any], window: int, feedback: Sequence[int | None], horizon: int
) -> npt.NDArray[np.float64]:
    """(N, T, outputs); feedback holds None for a channel that the seeds know ahead."""
    program = Program(model)
    fed_back = [channel for channel, source in enumerate(feedback) if source is not None]
    sources = [source for source in feedback if source is not None]
    outputs = []
    for seed in seeds:
        rows, steps = seed[:window].copy(), []
        for t in range(horizon):
            forecast = program(rows[None])
            steps.append(forecast)
            following = seed[window + t].copy() if len(fed_back) < len(feedback) else np.empty_like(rows[0])
            following[fed_back] = forecast[sources]
            rows = np.concatenate([rows[1:], following[None]])
        outputs.append(np.array(steps))
    return np.array(outputs, np.float64)


def quantised(file: Path, name: str, examples: npt.NDArray[Any]) -> bytes:
    """``file`` as the recipe of that name makes it."""
    make, algorithm, mode = RECIPES[name]
    made, seen = quantizer.Quantizer(str(file), make(algorithm_key=algorithm)), None
    if mode is not None:
        ((signature, ends),) = Interpreter(str(file)).get_signature_list().items()
        (given,) = ends["inputs"]
        seen = made.calibrate({signature: [{given: example[None]} for example in examples]}, mode=mode)
    return bytes(made.quantize(seen).quantized_model)


def main() -> None:
    folder = Path(sys.argv[1])
    loop = json.loads((folder / "loop.json").read_text())
    seeds, examples = np.load(folder / "seeds.npy"), np.load(folder / "examples.npy")
    original, unrolled = folder / "model.tflite", folder / "unrolled.tflite"
    nominal = rollouts(original.read_bytes(), seeds, **loop)
    np.save(folder / "nominal.npy", nominal)

    def judged(model: bytes, seconds: float) -> dict[str, Any]:
        difference = np.nan_to_num(rollouts(model, seeds, **loop) - nominal, nan=30.0)
        rmse = float(np.sqrt(np.mean(np.square(np.clip(difference, -30.0, 30.0)))))
        return {"bytes": len(model), "divergence": rmse, "seconds": seconds}

    found: dict[str, dict[str, Any]] = {"float": {"bytes": original.stat().st_size}}
    for name, (_, _, mode) in RECIPES.items():
        started = time.process_time()
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                model = quantised(unrolled if mode is not None and unrolled.exists() else original, name, examples)
            found[name] = judged(model, time.process_time() - started)
        except Exception as error:
            found[name] = {"error": (str(error).strip().splitlines() or [type(error).__name__])[-1][:160]}
    if (converted := folder / "converted.tflite").exists():
        found["converter int8"] = judged(converted.read_bytes(), 0.0)
    (folder / "peer.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main()
