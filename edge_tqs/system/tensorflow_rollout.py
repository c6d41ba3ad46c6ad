"""A float graph as one traced whole-rollout function, with the weights as arguments.

A score needs hundreds of rollouts of the same graph with other weights, so the loop over time must run inside
TensorFlow. Two things make it fast:

- One ``tf.function`` with one ``tf.while_loop`` over samples; nothing is traced again when the weights change.
- A windowed model evaluates its step W times for each forecast, but all windows that overlap a sample read the same
  sample. So they advance together, as one batch, one sample at a time: W + T - 1 wide steps in place of W * T narrow
  ones. Only the last sample of a window depends on the forecast before it, and that one is known by then. What no
  state depends on, the layers after the last recurrent one, is computed for that window alone.

XLA compiles the loop where it can. With 64 units, W = 48, T = 96 and 8 seeds a rollout takes a third of what it takes
without: it pays from about 20 rollouts on, and a score has 48 or more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from edge_tqs.graph.graph import Array, Graph, Op
from edge_tqs.operators import OPERATORS
from edge_tqs.system.reading import Reading, exogenous, reading_of
from edge_tqs.system.system import Rollouts
from edge_tqs.system.tensorflow import import_tensorflow, quiet


def trace_rollout(graph: Graph, horizon: int, count: int, *, constants: Sequence[str] = ()) -> Rollouts:
    """Trace ``count`` closed-loop rollouts of ``horizon`` steps, as interpret.float_rollout defines them.

    The function takes float32 weights, in the layout of the graph's tensors, for any of ``graph.weights()``, and
    for each of ``constants``: names of other constant tensors, such as a bias.
    Raises ModelError for a graph that is not float, ToolError without TensorFlow.
    """
    tf = import_tensorflow()
    forecast = graph.forecast
    own = {tensor.name: tensor.data for tensors in graph.weights().values() for tensor in tensors}
    own |= {name: graph.tensors[name].data for name in constants}
    with quiet():
        fixed = {
            name: tf.constant(tensor.data)
            for name, tensor in graph.tensors.items()
            if tensor.data is not None and name not in own
        }

        def rollout(weights: dict[str, Any], seeds: Any) -> Any:
            step = _Step(tf, graph, fixed | weights)
            if forecast.recurrence == "none":

                def forecast_of(window: Any) -> Any:
                    return step.output(step.advanced(window, [])[1])

                return window_loop(tf, forecast_of, forecast.window, reading_of(forecast), horizon, seeds)
            return _sample_loop(tf, graph, horizon, count, step, seeds)

        originals = {name: tf.constant(data) for name, data in own.items()}
        signature = (
            {name: tf.TensorSpec(graph.tensors[name].shape, tf.float32) for name in own},
            tf.TensorSpec((count, forecast.seed_length(horizon), forecast.channels), tf.float32),
        )
        function = compiled(tf, rollout, signature, (originals, tf.zeros(signature[1].shape)))

    def run(weights: Mapping[str, Array], seeds: Array) -> Array:
        changed = {name: tf.constant(np.asarray(data, np.float32)) for name, data in weights.items()}
        outputs: Array = function(originals | changed, tf.constant(np.asarray(seeds, np.float32))).numpy()
        return outputs

    return run


def compiled(tf: Any, rollout: Callable[..., Any], signature: Any, example: tuple[Any, ...]) -> Any:
    """Trace ``rollout`` for XLA, or without it where this TensorFlow cannot compile it for its CPU."""
    try:
        function = tf.function(rollout, autograph=False, jit_compile=True).get_concrete_function(*signature)
        function(*example)  # XLA compiles, and fails, at the first call
        return function
    except tf.errors.OpError:
        return tf.function(rollout, autograph=False).get_concrete_function(*signature)


def window_loop(
    tf: Any,
    step: Callable[[Any], Any],
    window: int,
    reading: Reading,
    horizon: Any,
    seeds: Any,
) -> Any:
    """Rollouts of a ``step`` that sees the whole window: (N, W, F) -> (N, steps * outputs), used as ``reading`` says.

    seeds: (N, W, F), or (N, W + T, F) where values of inputs come with the rollout. horizon: T, a number or a scalar
    tensor. Gives (N, T, outputs).
    """
    feed, known = _feeder(tf, reading), bool(exogenous(reading))
    steps, outputs = reading.steps, reading.outputs
    batch = tf.shape(seeds)[0]
    if reading.driven:  # no step waits for another: all windows at once
        places = tf.range(horizon)[:, None] + tf.range(window)[None]
        windows = tf.reshape(tf.gather(seeds, places, axis=1), (batch * horizon, window, seeds.shape[2]))
        return tf.reshape(step(windows), (batch, horizon, outputs))
    found = tf.TensorArray(tf.float32, horizon, element_shape=(seeds.shape[0], outputs))

    def predict(seen: Any) -> Any:
        return tf.ensure_shape(tf.reshape(step(seen), (batch, steps, outputs)), (seeds.shape[0], steps, outputs))

    def body(t: Any, seen: Any, said: Any, found: Any) -> tuple[Any, Any, Any, Any]:
        said = predict(seen) if steps == 1 else tf.cond(tf.equal(t % steps, 0), lambda: predict(seen), lambda: said)
        y = said[:, t % steps]
        fed = feed(y, seeds[:, window + t] if known else None, seen[:, -1])
        return t + 1, tf.concat([seen[:, 1:], fed[:, None]], axis=1), said, found.write(t, y)

    first = tf.ensure_shape(seeds[:, :window], (seeds.shape[0], window, seeds.shape[2]))  # unrolled layers need W
    said = tf.ensure_shape(tf.zeros((batch, steps, outputs)), (seeds.shape[0], steps, outputs))
    *_, found = tf.while_loop(lambda t, *_: t < horizon, body, (0, first, said, found))
    return tf.reshape(tf.transpose(found.stack(), (1, 0, 2)), (batch, horizon, outputs))


def _feeder(tf: Any, reading: Reading) -> Callable[[Any, Any, Any], Any]:
    """(y (N, outputs), what is known ahead of its time (N, F), the sample before) -> the input sample that follows."""
    channels, given = range(len(reading.feedback)), exogenous(reading)
    sources = [0 if source is None else source for source in reading.feedback]
    ahead, kept = [channel in given for channel in channels], [channel in reading.held for channel in channels]

    def feed(y: Any, known: Any, before: Any) -> Any:
        fed = tf.gather(y, sources, axis=1)
        fed = tf.where(ahead, known, fed) if any(ahead) else fed
        return tf.where(kept, before, fed) if any(kept) else fed

    return feed


def _sample_loop(tf: Any, graph: Graph, horizon: int, count: int, step: _Step, seeds: Any) -> Any:
    """Recurrence "windowed" and "stateful": one sample a turn, through all windows that hold it.

    States are (N, R, width). Windows start at every H-th sample, from zero states; the k-th belongs to row k % R and
    gives its block of H samples when its last sample is in. At most R windows are open at once, min(W, T) samples long
    or short. "stateful" has one window for ever.
    """
    forecast = graph.forecast
    length, block = forecast.window, forecast.steps
    rows = -(-min(length, horizon) // block) if forecast.recurrence == "windowed" else 1
    feed = _feeder(tf, reading_of(forecast))
    samples = tf.transpose(seeds, (1, 0, 2))
    last = samples.shape[0] - 1
    states = [tf.zeros((count, rows, graph.tensors[state.input].shape[1])) for state in graph.states]
    outputs = tf.TensorArray(tf.float32, length + horizon - 1, element_shape=(count, forecast.outputs))

    def body(m: Any, x: Any, said: Any, states: list[Any], outputs: Any) -> tuple[Any, ...]:
        states, known = step.advanced(x[:, None], states)
        done = m - length + 1  # the window that has all its samples now, if one started there
        row = done // block % rows
        ended = {
            name: tf.gather(value, row, axis=1)[:, None] if value.shape[1] == rows else value
            for name, value in known.items()
        }
        y = tf.reshape(step.output(ended), (count, block, forecast.outputs))
        said = y if block == 1 else tf.where(tf.equal(done % block, 0), y, said)
        outputs = outputs.write(m, said[:, done % block])
        # What the next turn begins with is made here: XLA would else make it anew for each value of a state.
        m = m + 1
        given = samples[tf.minimum(m, last)]
        x = tf.where(m < length, given, feed(said[:, (m - length) % block], given, x))
        if forecast.recurrence == "windowed":
            # Window m starts, if there is one; after the last, its row may belong to a window that is still open.
            starts = tf.equal(tf.range(rows), m // block % rows) & tf.equal(m % block, 0) & (m < horizon)
            states = [tf.where(starts[None, :, None], 0.0, state) for state in states]
        return m, x, said, states, outputs

    start = (0, samples[0], tf.zeros((count, block, forecast.outputs)), states, outputs)
    *_, outputs = tf.while_loop(lambda m, *_: m < length + horizon - 1, body, start)
    return tf.transpose(outputs.stack()[length - 1 :], (1, 0, 2))


class _Step:
    """The graph over leading dimensions of any number; widths are on the last axis.

    Operators that the new states depend on come first; the others, of which ``output`` is made, may be given less.
    """

    def __init__(self, tf: Any, graph: Graph, constants: Mapping[str, Any]) -> None:
        self._tf, self._graph, self._constants = tf, graph, constants
        needed = {state.output for state in graph.states}
        first: list[Op] = []
        for op in reversed(graph.ops):
            if needed.intersection(op.outputs):
                first.append(op)
                needed.update(op.inputs)
        self._first = first[::-1]
        self._rest = [op for op in graph.ops if not needed.intersection(op.outputs)]
        self._read = {graph.output, *(name for op in self._rest for name in op.inputs)} - constants.keys()

    def advanced(self, x: Any, states: list[Any]) -> tuple[list[Any], dict[str, Any]]:
        """The new states, and what `output` needs."""
        given = zip((state.input for state in self._graph.states), states, strict=True)
        values = self._computed(self._first, {self._graph.input: x, **dict(given)})
        return [values[state.output] for state in self._graph.states], {
            name: value for name, value in values.items() if name in self._read
        }

    def output(self, known: Mapping[str, Any]) -> Any:
        return self._computed(self._rest, known)[self._graph.output]

    def _computed(self, ops: Sequence[Op], known: Mapping[str, Any]) -> dict[str, Any]:
        values = dict(known)
        for op in ops:
            inputs = [values[name] if name in values else self._constants[name] for name in op.inputs]
            made = OPERATORS[op.kind].traced(self._tf, self._graph, op)(*inputs)
            values.update(zip(op.outputs, made if isinstance(made, tuple) else [made], strict=True))
        return values
