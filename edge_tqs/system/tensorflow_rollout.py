"""A float graph as one traced whole-rollout function, with the weights as arguments.

A score needs hundreds of rollouts of the same graph with other weights, so the loop over time must run inside
TensorFlow. Two things make it fast:

- One ``tf.function`` with one ``tf.while_loop`` over samples; nothing is traced again when the weights change.
- A windowed model evaluates its step W times for each forecast, but all windows that overlap a sample read the same
  sample. So they advance together, as one batch, one sample at a time: W + T - 1 wide steps in place of W * T narrow
  ones. Only the last sample of a window depends on the forecast before it, and that one is known by then.

XLA compiles the loop where it can. With 64 units, W = 48, T = 96 and 8 seeds on two cores, a rollout of an LSTM takes
25 ms after 0.36 s of tracing and compiling (without XLA 38 ms after 0.12 s), of a GRU 16 ms after 0.29 s (43 ms after
0.12 s): it pays from about 20 rollouts on, and a score has 48 or more.
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
            def step(x: Any, states: list[Any]) -> tuple[Any, list[Any]]:
                return _step(tf, graph, fixed | weights, x, states)

            if forecast.recurrence == "none":

                def forecast_of(window: Any) -> Any:
                    return step(window, [])[0]

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


def _sample_loop(tf: Any, graph: Graph, horizon: int, count: int, step: Any, seeds: Any) -> Any:
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

    def body(m: Any, said: Any, before: Any, states: list[Any], outputs: Any) -> tuple[Any, ...]:
        given = samples[tf.minimum(m, last)]
        x = tf.where(m < length, given, feed(said[:, (m - length) % block], given, before))
        if forecast.recurrence == "windowed":
            # Window m starts, if there is one; after the last, its row may belong to a window that is still open.
            starts = tf.equal(tf.range(rows), m // block % rows) & tf.equal(m % block, 0) & (m < horizon)
            states = [tf.where(starts[None, :, None], 0.0, state) for state in states]
        every, states = step(x[:, None], states)
        done = m - length + 1  # the window that has all its samples now, if one started there
        y = tf.reshape(tf.gather(every, done // block % rows, axis=1), (count, block, forecast.outputs))
        said = y if block == 1 else tf.where(tf.equal(done % block, 0), y, said)
        return m + 1, said, x, states, outputs.write(m, said[:, done % block])

    start = (0, tf.zeros((count, block, forecast.outputs)), samples[0], states, outputs)
    *_, outputs = tf.while_loop(lambda m, *_: m < length + horizon - 1, body, start)
    return tf.transpose(outputs.stack()[length - 1 :], (1, 0, 2))


def _step(tf: Any, graph: Graph, constants: Mapping[str, Any], x: Any, states: list[Any]) -> tuple[Any, list[Any]]:
    """The graph over leading dimensions of any number; widths are on the last axis."""
    values = dict(constants)
    values[graph.input] = x
    for state, value in zip(graph.states, states, strict=True):
        values[state.input] = value
    for op in graph.ops:
        inputs = [values[name] for name in op.inputs]
        values.update(zip(op.outputs, _apply(tf, graph, op, inputs), strict=True))
    return values[graph.output], [values[state.output] for state in graph.states]


def _apply(tf: Any, graph: Graph, op: Op, inputs: list[Any]) -> list[Any]:
    made = OPERATORS[op.kind].traced(tf, graph, op)(*inputs)
    return list(made) if isinstance(made, tuple) else [made]
