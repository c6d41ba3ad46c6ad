"""Randomly drawn small forecasters as Graphs, for the tests of every step after keras_model."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from typing import Any, cast

import numpy as np
import pytest

from edge_tqs.graph.graph import Array, DType, Forecast, Graph, Op, Quant, Recurrence, State, Tensor
from edge_tqs.graph.shapes import conv_length
from edge_tqs.quantization import simulate
from edge_tqs.quantization.calibration import calibrate
from edge_tqs.quantization.quantize import Activations, quantize

KINDS = ("mlp", "lstm", "gru", "tcn")
FUSED = ("none", "relu", "relu6")
UNARY = ("logistic", "tanh", "elu", "leaky_relu")


@dataclass
class Builder:
    """Collects tensors and operators; each method appends one operator and returns its output's name."""

    rng: np.random.Generator
    tensors: dict[str, Tensor] = field(default_factory=dict)
    ops: list[Op] = field(default_factory=list)
    states: list[State] = field(default_factory=list)

    def tensor(self, name: str, shape: tuple[int, ...], data: Array | None = None, source: str | None = None) -> str:
        assert name not in self.tensors
        self.tensors[name] = Tensor(name, shape, "float32", data, None, source)
        return name

    def width(self, name: str) -> int:
        return self.tensors[name].shape[-1]

    def op(self, kind: str, inputs: tuple[str, ...], name: str, width: int | None = None, **attrs: Any) -> str:
        out = self.tensor(name, (1, width or self.width(inputs[0])))
        self.ops.append(Op(kind, inputs, (out,), attrs))
        return out

    def weight(self, source: str, rows: int, columns: int, name: str | None = None) -> str:
        data = (self.rng.normal(size=(rows, columns)) * 1.2 / np.sqrt(columns)).astype(np.float32)
        if self.rng.random() < 0.1:
            data[self.rng.integers(rows)] = 0  # a dead row
        return self.tensor(name or source, data.shape, data, source)

    def bias(self, name: str, rows: int) -> str:
        return self.tensor(name, (rows,), self.rng.normal(size=rows).astype(np.float32) * np.float32(0.3))

    def dense(self, x: str, weight: str, out: str, bias: str | None = None, activation: str = "none") -> str:
        inputs = (x, weight) if bias is None else (x, weight, bias)
        return self.op("fully_connected", inputs, out, self.tensors[weight].shape[0], activation=activation)

    def unary(self, kind: str, x: str, out: str) -> str:
        attrs: dict[str, Any] = {"alpha": float(self.rng.uniform(0.01, 0.4))} if kind == "leaky_relu" else {}
        return self.op(kind, (x,), out, **attrs)

    def split(self, x: str, parts: int, prefix: str) -> tuple[str, ...]:
        names = tuple(self.tensor(f"{prefix}{i}", (1, self.width(x) // parts)) for i in range(parts))
        self.ops.append(Op("split", (x,), names, {"parts": parts}))
        return names

    def slice(self, x: str, begin: int, size: int, out: str) -> str:
        return self.op("slice", (x,), out, size, axis=1, begin=begin, size=size)

    def state(self, name: str, width: int) -> str:
        return self.tensor(f"{name}_in", (1, width))


def lstm_layer(b: Builder, layer: str, x: str, units: int) -> str:
    """Keras' LSTM: gates i, f, g, o in one kernel. Returns the name of h'."""
    h, c = b.state(f"{layer}_h", units), b.state(f"{layer}_c", units)
    kernel, recurrent = (
        b.weight(f"{layer}/kernel", 4 * units, b.width(x)),
        b.weight(f"{layer}/recurrent", 4 * units, units),
    )
    zx = b.dense(x, kernel, f"{layer}_zx", b.bias(f"{layer}/bias", 4 * units))
    z = b.op("add", (zx, b.dense(h, recurrent, f"{layer}_zh")), f"{layer}_z")
    zi, zf, zg, zo = b.split(z, 4, f"{layer}_z")
    i, f, o = (b.unary("logistic", name, f"{name}_s") for name in (zi, zf, zo))
    kept = b.op("mul", (f, c), f"{layer}_kept")
    new = b.op("mul", (i, b.unary("tanh", zg, f"{layer}_g")), f"{layer}_new")
    c_next = b.op("add", (kept, new), f"{layer}_c_next")
    h_next = b.op("mul", (o, b.unary("tanh", c_next, f"{layer}_tc")), f"{layer}_h_next")
    b.states += [State(f"{layer}_h", h, h_next), State(f"{layer}_c", c, c_next)]
    return h_next


def gru_layer(b: Builder, layer: str, x: str, units: int, reset_after: bool) -> str:
    """Keras' GRU: gates z, r, candidate. Returns the name of h'."""
    h = b.state(f"{layer}_h", units)
    zx = b.dense(
        x, b.weight(f"{layer}/kernel", 3 * units, b.width(x)), f"{layer}_zx", b.bias(f"{layer}/bias", 3 * units)
    )
    source = f"{layer}/recurrent"
    if reset_after:
        zh = b.dense(h, b.weight(source, 3 * units, units), f"{layer}_zh", b.bias(f"{layer}/bias_r", 3 * units))
        zh_gates, zh_candidate = (
            b.slice(zh, 0, 2 * units, f"{layer}_zhg"),
            b.slice(zh, 2 * units, units, f"{layer}_zhc"),
        )
    else:
        zh_gates = b.dense(h, b.weight(source, 2 * units, units, f"{source}_gates"), f"{layer}_zhg")
    gates = b.op("add", (b.slice(zx, 0, 2 * units, f"{layer}_zxg"), zh_gates), f"{layer}_zr")
    z, r = b.split(b.unary("logistic", gates, f"{layer}_zr_s"), 2, f"{layer}_zr")
    if reset_after:
        candidate = b.op("mul", (r, zh_candidate), f"{layer}_rh")
    else:
        reset = b.op("mul", (r, h), f"{layer}_rh")
        candidate = b.dense(reset, b.weight(source, units, units, f"{source}_candidate"), f"{layer}_zhc")
    total = b.op("add", (b.slice(zx, 2 * units, units, f"{layer}_zxc"), candidate), f"{layer}_pre")
    hh = b.unary("tanh", total, f"{layer}_hh")
    change = b.op("mul", (z, b.op("sub", (h, hh), f"{layer}_d")), f"{layer}_zd")
    h_next = b.op("add", (hh, change), f"{layer}_h_next")
    b.states.append(State(f"{layer}_h", h, h_next))
    return h_next


def dense_layer(b: Builder, layer: str, x: str, units: int, activation: str) -> str:
    fused = activation if activation in FUSED else "none"
    bias = b.bias(f"{layer}/bias", units) if b.rng.random() < 0.8 else None
    y = b.dense(x, b.weight(f"{layer}/kernel", units, b.width(x)), f"{layer}_y", bias, fused)
    return y if activation in FUSED else b.unary(activation, y, f"{layer}_a")


def conv(b: Builder, x: str, name: str, rows: int, activation: str = "none", *, keep: bool = False) -> str:
    """A conv_1d of drawn taps, stride, dilation and padding; ``keep``: the output is as long as the input."""
    _, length, channels = b.tensors[x].shape
    taps, dilation, stride = int(b.rng.integers(1, 4)), int(b.rng.integers(1, 4)), int(b.rng.integers(1, 3))
    reach = dilation * (taps - 1)
    left = reach if keep else int(b.rng.integers(0, reach + 2))
    right = 0 if keep else int(b.rng.integers(0, 3)) + max(0, reach + 1 - length - left)
    attrs = {"stride": 1 if keep else stride, "dilation": dilation, "left": left, "right": right}
    data = (b.rng.normal(size=(rows, taps, channels)) * 1.2 / np.sqrt(taps * channels)).astype(np.float32)
    inputs = [x, b.tensor(f"{name}/kernel", data.shape, data, f"{name}/kernel")]
    if b.rng.random() < 0.8:
        inputs.append(b.bias(f"{name}/bias", rows))
    out = b.tensor(f"{name}_y", (1, conv_length(length, taps, attrs), rows))
    b.ops.append(Op("conv_1d", tuple(inputs), (out,), {**attrs, "activation": activation}))
    return out


def shaped(b: Builder, kind: str, inputs: tuple[str, ...], name: str, shape: tuple[int, ...], **attrs: Any) -> str:
    out = b.tensor(name, shape)
    b.ops.append(Op(kind, inputs, (out,), attrs))
    return out


def window_layers(b: Builder, x: str) -> str:
    """Operators over a window (1, W, C), as Conv1D models have them; returns a flat value (1, K)."""
    rng = b.rng
    y = conv(b, x, "first", int(rng.integers(1, 10)), str(rng.choice(FUSED)))
    if rng.random() < 0.5:
        _, length, rows = b.tensors[y].shape
        centre = shaped(b, "mean", (y,), "centre", (1, 1, rows))
        kind = str(rng.choice(("add", "sub", "mul")))
        if kind == "mul":  # a product of two values may grow without end when it is fed back
            centre = shaped(b, "tanh", (centre,), "gate", (1, 1, rows))
        order = (y, centre) if rng.random() < 0.7 else (centre, y)
        y = shaped(b, kind, order, "centred", (1, length, rows))
    _, length, rows = b.tensors[y].shape
    block = conv(b, y, "second", rows, "relu", keep=True)
    y = shaped(b, "add", (y, block), "residual", (1, length, rows))
    if rng.random() < 0.5:
        other = conv(b, y, "third", int(rng.integers(1, 10)), keep=True)
        more = b.width(other)
        y = shaped(b, "concat", (y, other), "joined", (1, length, rows + more), axis=2)
    if b.width(y) > 1:
        size = int(rng.integers(1, b.width(y)))
        begin = int(rng.integers(0, b.width(y) - size + 1))
        y = shaped(b, "slice", (y,), "some", (1, length, size), axis=2, begin=begin, size=size)
    if rng.random() < 0.3:
        y = shaped(b, "tanh", (y,), "bent", b.tensors[y].shape)
    if rng.random() < 0.4:
        y = shaped(b, "concat", (y, x if b.width(y) == b.width(x) else y), "longer", _longer(b, x, y), axis=1)
    if rng.random() < 0.3:
        y = shaped(b, "mean", (y,), "pooled", (1, 1, b.width(y)))
    elif b.tensors[y].shape[1] > 1:
        last = b.tensors[y].shape[1] - 1
        y = shaped(b, "slice", (y,), "last", (1, 1, b.width(y)), axis=1, begin=last, size=1)
    _, length, rows = b.tensors[y].shape
    return shaped(b, "reshape", (y,), "flat", (1, length * rows))


def _longer(b: Builder, x: str, y: str) -> tuple[int, ...]:
    other = x if b.width(y) == b.width(x) else y
    return 1, b.tensors[y].shape[1] + b.tensors[other].shape[1], b.width(y)


def random_graph(rng: np.random.Generator, kind: str | None = None) -> Graph:
    """A checked float Graph with 1 to 3 layers; ``kind`` is one of KINDS, drawn when not given."""
    kind = kind or str(rng.choice(KINDS))
    b = Builder(rng)
    channels, window = int(rng.integers(1, 5)), int(rng.integers(2, 7))
    layers = int(rng.integers(1, 4))
    if kind == "tcn":
        recurrence: Recurrence = "none"
        x = b.tensor("x", (1, window, channels))
        y = window_layers(b, x)
    elif kind == "mlp":
        recurrence = "none"
        x = b.tensor("x", (1, window, channels))
        y = b.op("reshape", (x,), "x_flat", window * channels)
        for index in range(layers - 1):
            y = dense_layer(b, f"dense_{index}", y, int(rng.integers(1, 20)), str(rng.choice(FUSED[1:] + UNARY)))
    else:
        recurrence = cast(Recurrence, str(rng.choice(("windowed", "stateful"))))
        x = y = b.tensor("x", (1, channels))
        reset_after = bool(rng.integers(2))
        for index in range(layers):
            units = int(rng.integers(1, 15))
            if index == layers - 1 and rng.random() < 0.15:
                units = channels  # without a head: y is h
            layer = f"{kind}_{index}"
            y = lstm_layer(b, layer, y, units) if kind == "lstm" else gru_layer(b, layer, y, units, reset_after)
    if kind in ("mlp", "tcn") or b.width(y) != channels or rng.random() < 0.7:
        y = dense_layer(b, "head", y, channels, str(rng.choice(("none", "none", "none", "tanh", "logistic", "relu"))))
    feedback = tuple(int(i) for i in rng.permutation(channels))
    forecast = Forecast(window, channels, recurrence, feedback, tuple(f"c{i}" for i in range(channels)))
    return Graph(f"random_{kind}", b.tensors, tuple(b.ops), x, y, tuple(b.states), forecast).check()


def attention_graph(rng: np.random.Generator) -> Graph:
    """A float Graph: a window weighs its own samples, and a dense layer reads what comes of it."""
    window, channels = 6, 3
    b = Builder(rng)
    x = b.tensor("x", (1, window, channels))
    scores = shaped(b, "batch_matmul", (x, x), "scores", (1, window, window), transposed=True)
    weights = shaped(b, "softmax", (scores,), "weights", (1, window, window), beta=0.5)
    mixed = shaped(b, "batch_matmul", (weights, x), "mixed", (1, window, channels), transposed=False)
    flat = shaped(b, "reshape", (mixed,), "flat", (1, window * channels))
    y = dense_layer(b, "head", flat, channels, "none")
    forecast = Forecast(window, channels, "none", tuple(range(channels)))
    return Graph("attention", b.tensors, tuple(b.ops), x, y, (), forecast).check()


def random_seeds(rng: np.random.Generator, graph: Graph, count: int) -> Array:
    """(count, W, F) float32, about standard normal."""
    return rng.normal(size=(count, graph.forecast.window, graph.forecast.channels)).astype(np.float32)


def quantized(rng: np.random.Generator, graph: Graph) -> Graph:
    """The integer graph of ``graph``, each weight's width drawn from 4 and 8, ranges from short rollouts."""
    widths = {source: int(rng.choice((4, 8))) for source in graph.weights()}
    return quantize(graph, widths, calibrate(graph, random_seeds(rng, graph, 4), 8))


def quantized16(rng: np.random.Generator, graph: Graph, widths: tuple[int, ...] = (4, 8)) -> Graph:
    """As quantized, with int16 activations and widths drawn from ``widths``."""
    drawn = {source: int(rng.choice(widths)) for source in graph.weights()}
    return quantize(graph, drawn, calibrate(graph, random_seeds(rng, graph, 4), 8), activations="int16")


def random_codes(rng: np.random.Generator, graph: Graph, shape: tuple[int, ...]) -> Array:
    """Any codes at all of the type that ``graph`` computes in."""
    limits = np.iinfo(simulate.code_type(graph))
    return rng.integers(limits.min, limits.max + 1, shape).astype(simulate.code_type(graph))


needs_tflm = pytest.mark.skipif(find_spec("tflite_micro") is None, reason="tflite-micro is published for x86-64 alone")

#: what tflite_model.write wants beside the graph
METADATA = {"source_hash": "0" * 64, "plan": {}, "generator": "edge-tqs test"}


def quant(scale: float, zero_point: int) -> Quant:
    return Quant(np.array([scale], np.float32), zero_point)


def single_op(
    kind: str, inputs: tuple[Quant, ...], output: Quant, size: int = 256, dtype: DType = "int8", **attrs: Any
) -> Graph:
    """An integer graph of one element-wise operator; a second input is the state "b", which goes round unchanged."""
    tensors = {"x": Tensor("x", (1, size), dtype, None, inputs[0]), "y": Tensor("y", (1, size), dtype, None, output)}
    states: tuple[State, ...] = ()
    if len(inputs) == 2:
        tensors["b_in"] = Tensor("b_in", (1, size), dtype, None, inputs[1])
        tensors["b_out"] = Tensor("b_out", (1, size), dtype, None, inputs[1])
        states = (State("b", "b_in", "b_out"),)
    names = ("x", "b_in")[: len(inputs)]
    ops = [Op(kind, names, ("y",), attrs)]
    if states:
        ops.append(Op("reshape", ("b_in",), ("b_out",)))
    forecast = Forecast(1, size, "stateful", tuple(range(size)))
    return Graph(f"one_{kind}", tensors, tuple(ops), "x", "y", states, forecast).check()


def rescaled_graph(recurrence: str, steps: int, activations: str = "int8") -> Graph:
    """An integer graph whose y is fed back from a scale of its own; with "float32", the float one.

    Its two outputs become the second and the first of three inputs; the third is held, and reaches ten times as far.
    """
    b, window = Builder(np.random.default_rng(7)), 5
    if recurrence == "none":
        x = b.tensor("x", (1, window, 3))
        y = dense_layer(b, "first", b.op("reshape", (x,), "flat", 3 * window), 9, "tanh")
    else:
        x = b.tensor("x", (1, 3))
        y = lstm_layer(b, "lstm", x, 6)
    y = dense_layer(b, "head", y, 2 * steps, "none")
    forecast = Forecast(window, 3, cast(Recurrence, recurrence), (1, 0, None), steps=steps, outputs=2, held=(2,))
    graph = Graph("rescaled", b.tensors, tuple(b.ops), x, y, tuple(b.states), forecast).check()
    if activations == "float32":
        return graph
    seeds = random_seeds(np.random.default_rng(8), graph, 8)
    seeds[..., 2] *= 10
    ranges = replace(calibrate(graph, seeds, 8), apart=True)
    return quantize(graph, dict.fromkeys(graph.weights(), 8), ranges, activations=cast(Activations, activations))
