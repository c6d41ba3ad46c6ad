# SPDX-License-Identifier: Apache-2.0
"""The model of this bundle as a library, in physical units:

    from forecaster import Forecaster

    forecaster = Forecaster("model.tflite")
    for sample in samples:                 # each of len(forecaster.columns) values; at least forecaster.window of them
        forecaster.push(sample)
    if forecaster.ready:
        forecast = forecaster.forecast(96)     # array (96, outputs)
    forecaster.reset()

A model with inputs that are known ahead takes them too: forecaster.forecast(96, ahead), ahead (96, exogenous). A model
that nothing is fed back to (soft sensor, direct forecast, detector) is asked after each sample: forecaster.predict().

Needs Python 3.9 or newer, numpy, and ai-edge-litert or tflite-runtime. model.json lies beside model.tflite: it is the
model's own metadata entry, which says how to roll it forward.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


class ForecasterError(Exception):
    """The model, its description, a package or the port is missing or unusable."""


def load_interpreter(model: bytes) -> tuple[str, Any]:
    """(name of the runtime, its interpreter of the model), from whichever of the two packages is installed."""
    try:
        from ai_edge_litert.interpreter import Interpreter

        runtime = "litert"
    except ImportError:
        try:
            from tflite_runtime.interpreter import Interpreter
        except ImportError as error:
            raise ForecasterError(f"no runtime: {error}. Try: python3 -m pip install ai-edge-litert") from error
        runtime = "tflite"
    try:
        interpreter = Interpreter(model_content=model, num_threads=1)
        interpreter.allocate_tensors()
    except (RuntimeError, ValueError) as error:
        raise ForecasterError(f"{runtime} refuses the model: {error}") from error
    return runtime, interpreter


def hash_model(model: bytes, claimed: str) -> str:
    """SHA-256 of the model with the 64 digits of its own hash field, ``claimed``, set to zeros."""
    return hashlib.sha256(model.replace(claimed.encode("ascii"), b"0" * 64)).hexdigest()


class Forecaster:
    """Push samples, then roll a forecast forward; a forecast feeds on its own outputs and changes nothing.

    Args:
        model: model.tflite.
        description: model.json; beside the model unless given.

    window: samples that a forecast needs. channels: values in a sample. columns: their names. outputs: values in a
    predicted sample. steps: samples that one call of the model predicts. exogenous: the channels that are known ahead.
    held: those that are measured and hold their last value. names: what each output speaks of. task: what they are.
    """

    def __init__(self, model: str | Path = "model.tflite", description: str | Path | None = None) -> None:
        path = Path(model)
        beside = Path(description) if description is not None else path.with_suffix(".json")
        try:
            content, about = path.read_bytes(), json.loads(beside.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ForecasterError(f"cannot read {path} and {beside}: {error}") from error
        self.model_hash = about["model_hash"]
        if len(self.model_hash) != 64 or hash_model(content, self.model_hash) != self.model_hash:
            raise ForecasterError(f"{path} is damaged, or {beside} describes another model: copy both again")
        self.window, self.channels = int(about["window"]), int(about["channels"])
        self.recurrence, self.feedback = about["recurrence"], list(about["feedback"])
        self.outputs, self.steps = about.get("outputs", self.channels), about.get("steps", 1)
        self.held, self.task = list(about.get("held", ())), about.get("task", "forecast")
        inputs = enumerate(self.feedback)
        self.exogenous = [channel for channel, output in inputs if output is None and channel not in self.held]
        self.columns = list(about.get("columns") or [])
        self.runtime, interpreter = load_interpreter(content)
        self._run = interpreter.get_signature_runner("serving_default")
        details = self._run.get_input_details()
        # The signature sorts its names; the graph's order of states, which the state hash needs, is that of its inputs.
        place = {tensor["index"]: number for number, tensor in enumerate(interpreter.get_input_details())}
        self._states = sorted(set(details) - {"x"}, key=lambda name: place[details[name]["index"]])
        self._scale, self._zero_point = details["x"]["quantization"]
        self._output_scale, self._output_zero_point = self._run.get_output_details()["y"]["quantization"]
        self.code_type = np.dtype(details["x"]["dtype"])
        if self.runtime == "tflite" and self.code_type == np.int16 and 4 in about.get("plan", {}).values():
            # It would compute convolutions of int16 samples with int4 weights wrongly, and report no error.
            raise ForecasterError(f"tflite-runtime computes {path} wrongly. Try: python3 -m pip install ai-edge-litert")
        self._zero_states = {
            name: np.full(details[name]["shape"], details[name]["quantization"][1], self.code_type)
            for name in self._states
        }
        scaling = about.get("scaling") or {"mean": [0.0] * self.channels, "std": [1.0] * self.channels}
        self._mean, self._std = (np.asarray(scaling[key], np.float64) for key in ("mean", "std"))
        self._output_mean, self._output_std = self._units_of_outputs(about)
        self.reset()

    def _units_of_outputs(self, about: Mapping[str, Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        """(mean, std) of each output: as the model says, or those of the channel that it speaks of; (0, 1) of none."""
        predicted = about.get("predicted", ())
        self.names = [output["name"] for output in predicted]
        if about.get("output_scaling"):
            said = about["output_scaling"]
            return np.asarray(said["mean"], np.float64), np.asarray(said["std"], np.float64)
        if predicted:
            source = [output.get("channel") for output in predicted]
        elif self.task == "reconstruction":
            source = [j % self.channels for j in range(self.outputs)]
        elif all(output is None for output in self.feedback):
            source = [None] * self.outputs
        else:
            source = [self.feedback.index(j) if j in self.feedback else j for j in range(self.outputs)]
        mean = [0.0 if channel is None else self._mean[channel] for channel in source]
        std = [1.0 if channel is None else self._std[channel] for channel in source]
        return np.array(mean), np.array(std)

    def reset(self) -> None:
        """Forget all samples and states."""
        self.pushed: int = 0
        self._history = np.full((self.window, self.channels), self._zero_point, self.code_type)
        self._carried = dict(self._zero_states)
        self._said = np.full(self.steps * self.outputs, self._output_zero_point, self.code_type)
        self._last = np.full(self.channels, self._zero_point, self.code_type)
        self.begin()

    @property
    def ready(self) -> bool:
        """Whether a whole window was pushed."""
        return self.pushed >= self.window

    def push(self, sample: ArrayLike) -> None:
        """Append one sample, in physical units: ``channels`` numbers. NaN counts as the mean."""
        values = np.asarray(sample, np.float64).reshape(self.channels)
        self.push_codes(self._encode(values, list(range(self.channels))))

    def _encode(self, values: NDArray[Any], channels: Sequence[int]) -> NDArray[Any]:
        """Physical units (..., n) of n channels to codes, in float32 as tqs_encode of the C does it."""
        step = (float(self._scale) * self._std[channels]).astype(np.float32)
        with np.errstate(all="ignore"):  # what is infinite or no number has a code too
            scaled = (values.astype(np.float32) - self._mean[channels].astype(np.float32)) / step
            whole = np.trunc(scaled)
            rest = scaled - whole  # exact
        codes = whole.astype(np.float64) + (rest >= 0.5) - (rest <= -0.5) + self._zero_point
        limits = np.iinfo(self.code_type)
        clipped: NDArray[Any] = np.clip(np.nan_to_num(codes, nan=self._zero_point), limits.min, limits.max)
        return clipped.astype(self.code_type)

    def forecast(self, steps: int, ahead: ArrayLike | None = None) -> NDArray[Any]:
        """The next ``steps`` samples, in physical units: array (steps, outputs) in the order of the outputs.

        ahead: (steps, exogenous) values of the inputs that are known ahead, at the times that are predicted.
        """
        if not self.ready:
            raise ForecasterError(f"{self.pushed} samples were pushed, the model looks at {self.window}")
        known = np.zeros((steps, 0)) if ahead is None else np.asarray(ahead, np.float64)
        if known.shape != (steps, len(self.exogenous)):
            wanted = (steps, len(self.exogenous))
            what = "are measured" if len(self.exogenous) == self.channels else "are known ahead"
            raise ForecasterError(f"{known.shape} values {what}, the model takes {wanted}")
        known = self._encode(known, self.exogenous)
        self.begin()
        codes = np.array([self.next_codes(row)[0] for row in known], np.float64).reshape(steps, self.outputs)
        return self._decode(codes)

    def predict(self) -> NDArray[Any]:
        """What the model says of the samples pushed so far, in physical units: array (steps, outputs)."""
        if not self.ready:
            raise ForecasterError(f"{self.pushed} samples were pushed, the model looks at {self.window}")
        self.begin()
        self.next_codes(np.zeros(len(self.exogenous), self.code_type))
        block = self._block.astype(np.float64)
        self.begin()
        return self._decode(block)

    def anomaly(self) -> float:
        """Of a reconstruction: the mean squared difference between the window and it, in the model's units."""
        self.begin()
        self.next_codes(np.zeros(len(self.exogenous), self.code_type))
        difference = self._history.reshape(-1).astype(np.int64) - self._block.reshape(-1).astype(np.int64)
        self.begin()
        return float(np.sum(difference**2) * self._scale**2 / difference.size)

    def _decode(self, codes: NDArray[Any]) -> NDArray[Any]:
        scaled = (codes - self._output_zero_point) * self._output_scale * self._output_std
        return np.asarray(scaled + self._output_mean)

    def push_codes(self, codes: NDArray[Any]) -> None:
        """Append one sample of codes, (channels,) of code_type."""
        if self.recurrence == "stateful":
            self._said, self._carried = self._step(codes, self._carried)
            self._last = codes
        else:
            self._history = np.concatenate([self._history[1:], codes[None]])
        self.pushed = min(self.pushed + 1, 0xFFFFFFFF)

    def begin(self) -> None:
        """Start a forecast on what was pushed, which a forecast never changes."""
        stateful = self.recurrence == "stateful"
        self._window, self._before = self._history, self._last
        self._block = self._said.reshape(self.steps, self.outputs)
        self._work = self._carried if stateful else self._zero_states
        self._given = 0  # steps of this forecast so far

    def next_codes(self, known: ArrayLike = ()) -> tuple[NDArray[Any], bytes]:
        """The next step: (codes (outputs,), the states' bytes). known: codes of what is known ahead of its time."""
        place = self._given % self.steps
        stateful = self.recurrence == "stateful"
        if self._given:
            sample = self._next_sample(self._before if stateful else self._window[-1])
            if stateful:
                self._before = sample
                y, self._work = self._step(sample, self._work)
            else:
                self._window = np.concatenate([self._window[1:], sample[None]])
        if not stateful and place == 0:
            self._work = self._zero_states
            for x in [self._window] if self.recurrence == "none" else self._window:
                y, self._work = self._step(x, self._work)
        if place == 0 and not (stateful and self._given == 0):
            self._block = y.reshape(self.steps, self.outputs)
        self._latest, self._known = self._block[place], known
        self._given += 1
        return self._latest, self._state_bytes(self._work)

    def _next_sample(self, before: NDArray[Any]) -> NDArray[Any]:
        """What is fed after the sample ``before``: what was predicted, what is known ahead, what is held."""
        sample = before.copy()
        latest = self._fed(self._latest)
        for channel, output in enumerate(self.feedback):
            if output is not None:
                sample[channel] = latest[output]
        sample[self.exogenous] = self._known
        return sample

    def _fed(self, codes: NDArray[Any]) -> NDArray[Any]:
        """Codes of the output to those of the input, whose scale may be another."""
        if (self._output_scale, self._output_zero_point) == (self._scale, self._zero_point):
            return codes
        values = (codes.astype(np.float64) - self._output_zero_point) * float(self._output_scale) / float(self._scale)
        rounded = np.copysign(np.floor(np.abs(values) + 0.5), values) + self._zero_point
        limits = np.iinfo(self.code_type)
        fed: NDArray[Any] = np.clip(rounded, limits.min, limits.max).astype(self.code_type)
        return fed

    def _step(
        self, x: NDArray[Any], states: Mapping[str, NDArray[Any]]
    ) -> tuple[NDArray[Any], dict[str, NDArray[Any]]]:
        outputs = self._run(x=x[None], **states)
        return outputs["y"][0], {name: outputs[name] for name in self._states}

    def _state_bytes(self, states: Mapping[str, NDArray[Any]]) -> bytes:
        return b"".join(states[name].tobytes() for name in self._states)
