"""The same models through ai-edge-quantizer, weights alone, in LiteRT: uniform int8 and uniform int4.

It wants its own versions of packages, so it gets an environment of its own in the build folder.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.evidence.data import BUILD
from benchmarks.evidence.zoo import HORIZON, Trained
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
    """{float, int8, int4: {bytes of the file, divergence RMSE from LiteRT's float rollout, seconds}}.

    windows, nominal: what the judge starts from, and the float rollouts of Keras, with which LiteRT's are compared:
    ``apart`` is their RMSE. A peer that fails gives {error: its last line}.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "model.tflite").write_bytes(_convert(trained.model))
        np.save(folder / "seeds.npy", windows)
        loop = {"window": trained.system.window, "feedback": trained.system.feedback, "horizon": HORIZON}
        (folder / "loop.json").write_text(json.dumps(loop), encoding="utf-8")
        command = [str(ENVIRONMENT / "bin" / "python"), str(PROGRAM), str(folder)]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode:
            return {"error": (done.stderr.strip().splitlines() or ["no message"])[-1]}
        found: dict[str, Any] = json.loads((folder / "peer.json").read_text(encoding="utf-8"))
        found["apart"] = float(np.sqrt(np.mean(np.square(np.load(folder / "nominal.npy") - nominal))))
        return found


def _convert(model: Any) -> bytes:
    """A float .tflite of static batch 1. The weights are constants: as variables they would not be quantised."""
    import tensorflow as tf

    trainable = [tf.constant(variable.numpy()) for variable in model.trainable_variables]
    others = [tf.constant(variable.numpy()) for variable in model.non_trainable_variables]

    def forecast(x: Any) -> Any:
        return model.stateless_call(trainable, others, x, training=False)[0]

    function = tf.function(forecast, autograph=False)
    traced = function.get_concrete_function(tf.TensorSpec((1, *model.input_shape[1:]), tf.float32))
    converted: bytes = tf.lite.TFLiteConverter.from_concrete_functions([traced]).convert()
    return converted
