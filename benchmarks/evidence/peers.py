"""The same models through ai-edge-quantizer and through TFLite's converter, rolled out in LiteRT.

The quantizer wants its own versions of packages, so it gets an environment of its own in the build folder.
"""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.evidence.data import BUILD
from benchmarks.evidence.rivals import HESSIAN_WINDOWS
from benchmarks.evidence.zoo import HORIZON, Trained
from benchmarks.recipes.tflite import unrolled
from edge_tqs.graph.graph import Array

REQUIREMENT = "ai-edge-quantizer==0.10.*"
ENVIRONMENT = BUILD / "peer-venv"
PROGRAM = Path(__file__).with_name("peer_program.py")


def install_peer() -> None:
    """Install the peer, once. Raises CalledProcessError where that fails."""
    python = ENVIRONMENT / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(ENVIRONMENT)], check=True)
    probe = subprocess.run([str(python), "-c", "import ai_edge_quantizer"], check=False, stderr=subprocess.DEVNULL)
    if probe.returncode:
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", REQUIREMENT], check=True)


def measure(trained: Trained, windows: Array, nominal: Array) -> dict[str, Any]:
    """By recipe: {bytes of the file, divergence RMSE from LiteRT's float rollout, seconds}, or {error}.

    windows, nominal: what the judge starts from, and the float rollouts of Keras, with which LiteRT's are compared:
    ``apart`` is their RMSE. Recipes that look at examples, and the converter, see training windows; a recurrent model
    is unrolled for them, since they refuse its loop. A peer that fails whole gives {error: its last line}.
    """
    system, series = trained.system, trained.series
    starts = series.starts(system.window, held_out=False)
    chosen = starts[np.linspace(0, len(starts) - 1, HESSIAN_WINDOWS).astype(int)]
    examples = series.values[chosen[:, None] + np.arange(system.window)]
    flat = unrolled(trained.model)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "model.tflite").write_bytes(_convert(trained.model))
        if flat is not None:
            (folder / "unrolled.tflite").write_bytes(_convert(flat))
        refused = ""
        try:
            converted = _convert(trained.model if flat is None else flat, examples)
            (folder / "converted.tflite").write_bytes(converted)
        except Exception as error:
            refused = (str(error).strip().splitlines() or [type(error).__name__])[-1][:160]
        np.save(folder / "seeds.npy", windows)
        np.save(folder / "examples.npy", examples)
        loop = {"window": system.window, "feedback": system.feedback, "horizon": HORIZON}
        (folder / "loop.json").write_text(json.dumps(loop), encoding="utf-8")
        command = [str(ENVIRONMENT / "bin" / "python"), str(PROGRAM), str(folder)]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode:
            return {"error": (done.stderr.strip().splitlines() or ["no message"])[-1]}
        found: dict[str, Any] = json.loads((folder / "peer.json").read_text(encoding="utf-8"))
        if refused:
            found["converter int8"] = {"error": refused}
        found["apart"] = float(np.sqrt(np.mean(np.square(np.load(folder / "nominal.npy") - nominal))))
        return found


def _convert(model: Any, examples: Array | None = None) -> bytes:
    """A .tflite of static batch 1: float, or with ``examples`` int8 inside and float at its ends.

    The weights are constants: as variables they would not be quantised.
    """
    import tensorflow as tf

    trainable = [tf.constant(variable.numpy()) for variable in model.trainable_variables]
    others = [tf.constant(variable.numpy()) for variable in model.non_trainable_variables]

    def forecast(x: Any) -> Any:
        return model.stateless_call(trainable, others, x, training=False)[0]

    function = tf.function(forecast, autograph=False)
    traced = function.get_concrete_function(tf.TensorSpec((1, *model.input_shape[1:]), tf.float32))
    converter = tf.lite.TFLiteConverter.from_concrete_functions([traced], tf.Module())  # so that it has a signature
    if examples is not None:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([example[None]] for example in examples)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    with contextlib.redirect_stderr(io.StringIO()):
        converted: bytes = converter.convert()
    return converted
