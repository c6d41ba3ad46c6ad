"""Any Keras model (W, F) -> (outputs) as a System: forward passes of the model itself, its variables replaced.

This serves scoring and planning of models that hold layers which the Graph does not know. The whole rollout is one
``tf.function``; the model is called statelessly, with its variables as arguments, so that nothing is traced again when
weights change.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from edge_tqs.errors import ModelError, UsageError
from edge_tqs.graph.graph import Array
from edge_tqs.read.keras.ends import Ends, read_ends
from edge_tqs.read.keras.lookups import looked_up
from edge_tqs.system.reading import Reading, Said, as_classes, check_kept, exogenous, read_output, with_static
from edge_tqs.system.system import Part, Rollouts, System
from edge_tqs.system.tensorflow import import_tensorflow, quiet
from edge_tqs.system.tensorflow_rollout import compiled, window_loop

#: Variables that are quantised, by their short name, beside tables whose rows are looked up; biases, norms and
#: embeddings of positions are not.
KERNELS = frozenset({"kernel", "recurrent_kernel", "depthwise_kernel", "pointwise_kernel"})


def keras_system(model: Any, said: Said | None = None, output: str | None = None, window: int | None = None) -> System:
    """The system of a Keras 3 ``model``, (batch, W, F) -> (batch, outputs) or a block (batch, steps, outputs).

    Several inputs (batch, W, F1), (batch, W, F2), ... are one, their channels side by side. output: which of several
    outputs is the forecast, and window: W of a flat window, as ``read_ends`` takes them; weights that the forecast does
    not depend on are left out.

    said: what was said of its inputs and outputs.

    Raises ModelError for a model of another shape or without kernels, or whose output can be read in several ways;
    UsageError for what was said of another model; ToolError without TensorFlow.
    """
    try:
        ends = read_ends(model, output, window)
        window, channels, made = _shapes(ends)
        reading = read_output(made, window, channels, _said(model, ends, said or Said()))
        tables, whole = looked_up(model, ends, window)
        check_kept(reading.feedback, whole)
    except (ModelError, UsageError) as error:
        raise type(error)(f"{model.name}: {error.message}", hint=error.hint) from error
    bias = _output_bias(model, ends)
    values = {
        v.path: np.array(v.numpy()) for v in _read(model, ends) if _is_kernel(v.path) or v.path in {bias, *tables}
    }
    if len({variable.path for variable in model.variables}) != len(model.variables):
        raise ModelError(f"{model.name}: two variables have one path", hint="Give each layer a name of its own.")
    owners = _owners(model)
    weights = {path: (_part(path, data, owners[path]),) for path, data in values.items() if path != bias}
    if not weights:
        raise ModelError(f"{model.name} has no weights to quantise", hint="Layers with a kernel are needed.")
    for path, data in values.items():
        if data.dtype != np.float32 or not np.isfinite(data).all():
            raise ModelError(
                f"{model.name}: {path} is {data.dtype} or holds NaN or infinite values",
                hint="Save a model of dtype float32 whose training converged.",
            )
    rollouts = _Rollouts(model, ends, values, window, channels, reading)
    return System(
        name=model.name,
        window=window,
        channels=channels,
        reading=reading,
        weights=weights,
        output_bias=None if bias is None else Part(bias, values[bias], (0,)),
        trace=rollouts.trace,
        roll=rollouts.roll,
        whole=whole,
        whole_values={channel: np.arange(count, dtype=np.float32) for channel, count in whole},
        newest=ends.newest,
    )


def _shapes(ends: Ends) -> tuple[int, int, tuple[int, ...]]:
    """(W, F, the shape of the output without the batch)."""
    channels = sum(ends.channels)
    made = tuple(size for size in ends.shape[1:] if size is not None)
    if ends.window is None or len(ends.shape) not in (2, 3) or len(made) != len(ends.shape) - 1:
        raise ModelError(
            f"input {(ends.batch, ends.window, channels)} and output {ends.shape} are not (batch, W, F) and "
            "(batch, outputs)",
            hint="Start the model with Input((W, F)) and let it predict one sample.",
        )
    return ends.window, channels, made


def _said(model: Any, ends: Ends, said: Said) -> Said:
    """``said``, with what the model itself says."""
    last = model.layers[-1] if ends.tensor is None else ends.tensor._keras_history.operation
    function = getattr(last, "activation", None)
    softmax = type(last).__name__ == "Softmax" or getattr(function, "__name__", "") == "softmax"
    return with_static(as_classes(said) if softmax else said, ends.static)


def _read(model: Any, ends: Ends) -> list[Any]:
    """The variables that the forecast depends on."""
    needed = ends.operations()
    if needed is None:
        return list(model.variables)
    return [variable for layer in model.layers if id(layer) in needed for variable in layer.variables]


def _is_kernel(path: str) -> bool:
    return path.rsplit("/", 1)[-1] in KERNELS


def _owners(model: Any) -> dict[str, str]:
    """The class of the innermost layer that holds each variable, by the variable's path."""
    owners: dict[str, str] = {}
    for layer in model._flatten_layers():  # from the outside in
        owners |= {variable.path: type(layer).__name__ for variable in layer.variables}
    return owners


def _part(path: str, data: Array, owner: str) -> Part:
    """Output channels are the last axis, but for depthwise kernels and attention's projections."""
    if owner.startswith("DepthwiseConv") or path.endswith("/depthwise_kernel"):
        return Part(path, data, (data.ndim - 2, data.ndim - 1))  # (..., inputs, multiplier)
    if owner == "EinsumDense" and data.ndim == 3 and "attention_output" not in path.split("/"):
        return Part(path, data, (1, 2))  # (d, heads, dh); of the output (heads, dh, d)
    return Part(path, data, (data.ndim - 1,))


def _output_bias(model: Any, ends: Ends) -> str | None:
    """The bias of the last Dense layer where its output, untouched, is the forecast, and it is applied only there."""
    last = model.layers[-1] if ends.tensor is None else ends.tensor._keras_history.operation
    if ends.tensor is not None and len(last._inbound_nodes) > 1:
        return None
    if type(last).__name__ != "Dense" or last.bias is None or last.get_config()["activation"] != "linear":
        return None
    return str(last.bias.path)


class _Rollouts:
    """The model as a function of its variables; ``roll`` is traced once, ``trace`` for each horizon and count."""

    def __init__(
        self,
        model: Any,
        ends: Ends,
        values: Mapping[str, Array],
        window: int,
        channels: int,
        reading: Reading,
    ) -> None:
        self._tf = import_tensorflow()
        self._model, self._window, self._channels = model, window, channels
        self._ends, self._reading = ends, reading
        self._values = values
        self._own = {path: self._tf.constant(data) for path, data in values.items()}
        self._fixed = {v.path: self._tf.constant(v.numpy()) for v in model.variables if v.path not in values}
        self._rolled: Any = None

    def trace(self, horizon: int, count: int) -> Rollouts:
        tf = self._tf
        length = self._window + (horizon if exogenous(self._reading) else 0)
        signature = (
            {path: tf.TensorSpec(data.shape, tf.float32) for path, data in self._values.items()},
            tf.TensorSpec((count, length, self._channels), tf.float32),
        )

        def rollout(weights: dict[str, Any], seeds: Any) -> Any:
            return window_loop(tf, self._step(weights), self._window, self._reading, horizon, seeds)

        with quiet():
            function = compiled(tf, rollout, signature, (self._own, tf.zeros(signature[1].shape)))

        def run(changed: Mapping[str, Array], seeds: Array) -> Array:
            given = {path: tf.constant(np.asarray(data, np.float32)) for path, data in changed.items()}
            found: Array = function(self._own | given, tf.constant(np.asarray(seeds, np.float32))).numpy()
            return found

        return run

    def roll(self, seeds: Array, horizon: int) -> Array:
        tf = self._tf
        if self._rolled is None:

            def rollout(seeds: Any, horizon: Any) -> Any:
                step = self._step(self._own)
                return window_loop(tf, step, self._window, self._reading, horizon, seeds)

            signature = [tf.TensorSpec((None, None, self._channels), tf.float32), tf.TensorSpec((), tf.int32)]
            with quiet():
                self._rolled = tf.function(rollout, autograph=False).get_concrete_function(*signature)
        found: Array = self._rolled(tf.constant(np.asarray(seeds, np.float32)), tf.constant(horizon)).numpy()
        return found

    def _step(self, weights: Mapping[str, Any]) -> Any:
        """A window (N, W, F) to a block of samples."""
        model = self._model
        trainable = [weights.get(v.path, self._fixed.get(v.path)) for v in model.trainable_variables]
        others = [weights.get(v.path, self._fixed.get(v.path)) for v in model.non_trainable_variables]

        def step(window: Any) -> Any:
            made, _ = model.stateless_call(trainable, others, self._ends.given(window), training=False)
            found = self._ends.forecast_of(made)
            return found[:, -1] if self._reading.last_only else found

        return step
