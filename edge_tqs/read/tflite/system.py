"""A float TensorFlow Lite model as a System: forward passes through LiteRT alone, whoever wrote the file.

Constants are changed in place, in a copy of the file that is kept for it, and each set of weights is given to an
interpreter of its own. Kernels pack and transpose constants when they first see them (XNNPACK when the interpreter is
made, CONV_2D when it first runs), so an interpreter that has run does not notice a change; making one takes 1 ms for a
12-layer convolutional network of 140 kB, where a rollout of 8 seeds and 96 steps takes 90 ms. Without XNNPACK that
would be 250 ms.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from edge_tqs.errors import ModelError, UsageError
from edge_tqs.flatbuffer.in_child import check_runs
from edge_tqs.flatbuffer.litert import interpreter
from edge_tqs.flatbuffer.tables import CONVERT_HINT, FileModel, parse, with_output
from edge_tqs.graph.graph import Array
from edge_tqs.read.tflite.weights import OPERANDS, check_float, find_output_bias, find_weights, maker_of_output
from edge_tqs.read.windows import window_of
from edge_tqs.system.reading import Reading, Said, as_classes, read_output
from edge_tqs.system.system import Part, Rollouts, System

#: A window and a batch of windows (N, W, F) to forecasts (N, outputs).
Forecaster = Callable[[Array], Array]

#: Largest difference, relative to 1 + max|y|, between a window alone and in a batch.
BATCH_TOLERANCE = 1e-4
SHAPE_HINT = "A forecaster has one input (1, W, F), float32, and one output (1, outputs): the next sample."


def tflite_system(
    model: bytes,
    name: str,
    said: Said | None = None,
    output: str | None = None,
    window: int | None = None,
) -> System:
    """The system of a float ``model``: one input (1, W, F), an output (1, outputs) or (1, steps, outputs), batch 1
    or open. output: which of several is the forecast, by the name of its tensor or its number.

    The input may also be what ``window_of`` takes: flat, ``window`` being its W, or an image with an axis of size 1.
    said: what was said of its inputs and outputs; those of a model that ends in a softmax are evidence for classes.

    Raises ModelError for a file that is no such model or that LiteRT refuses, or whose output can be read in
    several ways; UsageError for what was said of another model, or a wrong ``output``; ToolError without ai-edge-
    litert. Messages begin with ``name``.
    """
    try:
        return _system(model, name, said, output, window)
    except (ModelError, UsageError) as error:
        raise type(error)(f"{name} {error.message}", hint=error.hint) from error.__cause__


def _system(model: bytes, name: str, said: Said | None, output: str | None, given: int | None) -> System:
    parsed = with_output(parse(model), output)
    check_float(parsed)
    window, channels = _input(parsed, given)
    weights = find_weights(parsed)
    if not weights:
        raise ModelError(
            "has no weights to quantise", hint=f"Constants of {', '.join(sorted(OPERANDS))} are looked for."
        )
    bias = find_output_bias(parsed)
    black_box = _BlackBox(model, parsed, [*weights.values(), *([bias] if bias else [])], window, channels)
    said = as_classes(said or Said()) if ends_in_softmax(parsed) else said
    reading = read_output(black_box.output_shape, window, channels, said)
    rollouts = _Rollouts(black_box, window, reading)
    return System(
        name=name,
        window=window,
        channels=channels,
        reading=reading,
        weights={source: (part,) for source, (part, _) in weights.items()},
        output_bias=bias[0] if bias else None,
        trace=lambda horizon, count: rollouts.trace(horizon),
        roll=lambda seeds, horizon: rollouts.run({}, seeds, horizon),
    )


def ends_in_softmax(model: FileModel) -> bool:
    """Whether the forecast is what a softmax gives, in whatever shape."""
    last = maker_of_output(model)
    return last is not None and last.kind == "SOFTMAX"


def _input(model: FileModel, given: int | None = None) -> tuple[int, int]:
    """(W, F). Raises ModelError for other inputs than one window, or ends that are no floats; UsageError for ``given``
    that is no length of its flat one.
    """
    graph = model.graphs[0]
    for what, ends in (("inputs", graph.inputs), ("outputs", graph.outputs)):
        if len(ends) != 1:
            raise ModelError(f"has {len(ends)} {what}", hint=SHAPE_HINT)
        tensor = graph.tensors[ends[0]]
        if tensor.dtype != "FLOAT32":
            raise ModelError(f"its {what[:-1]} {tensor.name} is {tensor.dtype}", hint=CONVERT_HINT)
    tensor = graph.tensors[graph.inputs[0]]
    batch, *shape = tensor.shape or (0,)
    if batch != 1 or 0 in shape or len(shape) not in (1, 2, 3) or (len(shape) == 3 and 1 not in shape):
        raise ModelError(f"its input is {tensor.shape}, not (1, W, F)", hint=SHAPE_HINT)
    if set(tensor.open_axes) - {0}:
        raise ModelError("leaves the length of its window open", hint="Convert it with a fixed shape (1, W, F).")
    window, channels = window_of(shape, given)
    assert window is not None  # which no axis of a file leaves open
    return window, channels


class _BlackBox:
    """A model in LiteRT whose constants can be replaced. output_shape: of a forecast, without the batch."""

    def __init__(
        self, model: bytes, parsed: FileModel, parts: Sequence[tuple[Part, int]], window: int, channels: int
    ) -> None:
        self._content = bytearray(model)
        self._original = model
        self._output = parsed.graphs[0].outputs[0]
        self._shape = parsed.graphs[0].tensors[parsed.graphs[0].inputs[0]].shape[1:]
        self._places = {part.name: parsed.places[buffer] for part, buffer in parts}
        self._variables = any(tensor.variable for graph in parsed.graphs for tensor in graph.tensors)
        windows = np.random.default_rng(0).standard_normal((2, window, channels)).astype(np.float32)
        check_runs(model)
        try:
            single = self.forecaster({}, 1)
            forecasts = [single(windows[n : n + 1]) for n in range(2)]
        except (RuntimeError, ValueError) as error:
            raise ModelError(
                f"cannot be run by LiteRT: {' '.join(str(error).split())[:300]}",
                hint="Convert it with built-in operators alone: no custom ones, no select TensorFlow operators.",
            ) from error
        shape = tuple(size for size in forecasts[0].shape if size != 1) or (1,)
        if any(not forecast.size for forecast in forecasts) or len(shape) > 2:
            raise ModelError(
                f"predicts {forecasts[0].shape} from a window {window} x {channels}: that is no sample and "
                "no block of samples, and cannot be fed back",
                hint=SHAPE_HINT,
            )
        given = forecasts[0].shape[1:]
        self.output_shape = given if len(given) == 2 and given[0] > 1 else (int(forecasts[0].size),)
        self.batches = self._is_batched(windows, np.concatenate(forecasts).reshape(2, -1))

    def forecaster(self, changed: Mapping[str, Array], batch: int) -> Forecaster:
        """The model with other constants, ready for windows (batch, W, F). Raises what LiteRT raises."""
        for name, data in changed.items():
            start, length = self._places[name]
            self._content[start : start + length] = np.ascontiguousarray(data, "<f4").tobytes()
        ready = interpreter(bytes(self._content) if changed else self._original, batch if batch > 1 else None)
        for name in changed:
            start, length = self._places[name]
            self._content[start : start + length] = self._original[start : start + length]
        given, made = ready.get_input_details()[0]["index"], self._output

        def forecast(windows: Array) -> Array:
            if self._variables:  # a fused LSTM would go on from the window before
                ready.reset_all_variables()
            ready.set_tensor(given, windows.reshape(len(windows), *self._shape))
            ready.invoke()
            found: Array = ready.get_tensor(made)
            return found

        return forecast

    def _is_batched(self, windows: Array, expected: Array) -> bool:
        """Whether the input can be resized, and each window's forecast is then what it is alone."""
        try:
            found = self.forecaster({}, 2)(windows)
        except (RuntimeError, ValueError):
            return False
        limit = BATCH_TOLERANCE * (1 + float(np.max(np.abs(expected))))
        return found.size == expected.size and float(np.max(np.abs(found.reshape(2, -1) - expected))) <= limit


class _Rollouts:
    def __init__(self, black_box: _BlackBox, window: int, reading: Reading) -> None:
        self._box, self._window, self._reading = black_box, window, reading
        self._steps, self._outputs = reading.steps, reading.outputs
        feedback = reading.feedback
        self._fed = [channel for channel, source in enumerate(feedback) if source is not None]
        self._held = list(reading.held)
        self._sources = [source for source in feedback if source is not None]

    def trace(self, horizon: int) -> Rollouts:
        return lambda changed, seeds: self.run(changed, seeds, horizon)

    def run(self, changed: Mapping[str, Array], seeds: Array, horizon: int) -> Array:
        """Outputs (N, T, outputs): all seeds side by side where the model takes a batch, else one after another."""
        together = len(seeds) if self._box.batches and len(seeds) else 1
        forecast = self._box.forecaster(changed, together)
        parts = [self._roll(forecast, seeds[n : n + together], horizon) for n in range(0, len(seeds), together)]
        return np.concatenate([np.empty((0, horizon, self._outputs), np.float32), *parts])

    def _roll(self, forecast: Forecaster, seeds: Array, horizon: int) -> Array:
        """The window slides over one array, which forecasts are written into; with batch 1 nothing is copied."""
        count, length, channels = seeds.shape
        path: Any = np.zeros((count, self._window + horizon, channels), np.float32)
        path[:, :length] = seeds[:, : path.shape[1]]
        outputs = np.empty((count, horizon, self._outputs), np.float32)
        for t in range(horizon):
            if t % self._steps == 0:
                block = self._made(forecast(path[:, t : t + self._window])).reshape(count, self._steps, self._outputs)
            latest = block[:, t % self._steps]
            outputs[:, t] = latest
            path[:, t + self._window, self._fed] = latest[:, self._sources]
            path[:, t + self._window, self._held] = path[:, t + self._window - 1, self._held]
        return outputs

    def _made(self, output: Array) -> Array:
        return output[:, -1] if self._reading.last_only else output
