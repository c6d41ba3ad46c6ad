"""The models that kernels.py counts: float graphs with random weights, each with the layers that its name says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from edge_tqs.graph.graph import Forecast, Graph, Op, State, Tensor
from edge_tqs.passes.positions import only_needed


class Builder:
    """A float graph with random weights, drawn in the order in which layers ask for them."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.tensors: dict[str, Tensor] = {}
        self.ops: list[Op] = []
        self.states: list[State] = []

    def tensor(self, name: str, shape: tuple[int, ...], data: Any = None) -> str:
        self.tensors[name] = Tensor(name, shape, "float32", data, None, name if data is not None else None)
        return name

    def op(self, kind: str, inputs: tuple[str, ...], name: str, size: int, /, **attrs: Any) -> str:
        self.ops.append(Op(kind, inputs, (self.tensor(name, (1, size)),), attrs))
        return name

    def dense(self, x: str, units: int, name: str, activation: str = "none", bias: bool = True) -> str:
        inputs = self.tensors[x].shape[1]
        weight = (self.rng.normal(size=(units, inputs)) * 1.2 / np.sqrt(inputs)).astype(np.float32)
        operands: tuple[str, ...] = (x, self.tensor(f"{name}/kernel", weight.shape, weight))
        if bias:
            data = (self.rng.normal(size=units) * 0.3).astype(np.float32)
            operands += (self.tensor(f"{name}/bias", data.shape, data),)
        return self.op("fully_connected", operands, name, units, activation=activation)

    def conv(self, x: str, channels: int, name: str, dilation: int = 1) -> str:
        """A causal convolution of three taps, relu."""
        _, length, width = self.tensors[x].shape
        weight = (self.rng.normal(size=(channels, 3, width)) * 1.2 / np.sqrt(3 * width)).astype(np.float32)
        bias = (self.rng.normal(size=channels) * 0.3).astype(np.float32)
        operands = (
            x,
            self.tensor(f"{name}/kernel", weight.shape, weight),
            self.tensor(f"{name}/bias", bias.shape, bias),
        )
        attrs = {"stride": 1, "dilation": dilation, "left": 2 * dilation, "right": 0, "activation": "relu"}
        self.ops.append(Op("conv_1d", operands, (self.tensor(name, (1, length, channels)),), attrs))
        return name

    def shaped(self, kind: str, inputs: tuple[str, ...], name: str, shape: tuple[int, ...], /, **attrs: Any) -> str:
        self.ops.append(Op(kind, inputs, (self.tensor(name, shape),), attrs))
        return name

    def pointwise(self, x: str, channels: int, name: str) -> str:
        """A dense layer at each sample."""
        _, length, width = self.tensors[x].shape
        weight = (self.rng.normal(size=(channels, 1, width)) * 1.2 / np.sqrt(width)).astype(np.float32)
        bias = (self.rng.normal(size=channels) * 0.1).astype(np.float32)
        operands = (
            x,
            self.tensor(f"{name}/kernel", weight.shape, weight),
            self.tensor(f"{name}/bias", bias.shape, bias),
        )
        attrs = {"stride": 1, "dilation": 1, "left": 0, "right": 0, "activation": "none"}
        return self.shaped("conv_1d", operands, name, (1, length, channels), **attrs)

    def split(self, x: str, parts: int, names: tuple[str, ...]) -> tuple[str, ...]:
        size = self.tensors[x].shape[1] // parts
        outputs = tuple(self.tensor(name, (1, size)) for name in names)
        self.ops.append(Op("split", (x,), outputs, {"parts": parts}))
        return outputs

    def graph(self, name: str, x: str, y: str, forecast: Forecast) -> Graph:
        return Graph(name, self.tensors, tuple(self.ops), x, y, tuple(self.states), forecast).check()


def mlp() -> Graph:
    b = Builder(1)
    x = b.op("reshape", (b.tensor("x", (1, 24, 7)),), "flat", 168)
    hidden = b.dense(b.dense(x, 64, "dense_1", "relu"), 64, "dense_2", "relu")
    return b.graph("mlp-168-64-64-7", "x", b.dense(hidden, 7, "head"), Forecast(24, 7, "none", tuple(range(7))))


def fully_connected() -> Graph:
    """One layer from 32 to 128, of which the forecast takes the first four."""
    b = Builder(2)
    x = b.op("reshape", (b.tensor("x", (1, 8, 4)),), "flat", 32)
    y = b.op("slice", (b.dense(x, 128, "dense"),), "y", 4, axis=1, begin=0, size=4)
    return b.graph("fc-32x128", "x", y, Forecast(8, 4, "none", tuple(range(4))))


def lstm() -> Graph:
    """Keras' LSTM cell of 32 units on 7 inputs, and no head: its output is its first 7 units."""
    b = Builder(3)
    x, h, c = b.tensor("x", (1, 7)), b.tensor("h_in", (1, 32)), b.tensor("c_in", (1, 32))
    z = b.op("add", (b.dense(x, 128, "zx"), b.dense(h, 128, "zh", bias=False)), "z", 128)
    zi, zf, zg, zo = b.split(z, 4, ("zi", "zf", "zg", "zo"))
    i, f, o = (b.op("logistic", (name,), f"{name}_s", 32) for name in (zi, zf, zo))
    new = b.op("mul", (i, b.op("tanh", (zg,), "g", 32)), "new", 32)
    c_out = b.op("add", (b.op("mul", (f, c), "kept", 32), new), "c_out", 32)
    h_out = b.op("mul", (o, b.op("tanh", (c_out,), "tanh_c", 32)), "h_out", 32)
    b.states += [State("h", h, h_out), State("c", c, c_out)]
    y = b.op("slice", (h_out,), "y", 7, axis=1, begin=0, size=7)
    return b.graph("lstm-7-32", x, y, Forecast(8, 7, "stateful", tuple(range(7))))


def gru() -> Graph:
    """Keras' GRU cell (reset_after) of 32 units on 7 inputs; output as lstm's."""
    b = Builder(4)
    x, h = b.tensor("x", (1, 7)), b.tensor("h_in", (1, 32))
    zx, zh = b.dense(x, 96, "zx"), b.dense(h, 96, "zh")
    parts = [
        b.op("slice", (source,), f"{source}_{part}", size, axis=1, begin=begin, size=size)
        for source in (zx, zh)
        for part, begin, size in (("gates", 0, 64), ("candidate", 64, 32))
    ]
    gates = b.op("logistic", (b.op("add", (parts[0], parts[2]), "gates", 64),), "gates_s", 64)
    z, r = b.split(gates, 2, ("z", "r"))
    candidate = b.op("add", (parts[1], b.op("mul", (r, parts[3]), "reset", 32)), "candidate", 32)
    hh = b.op("tanh", (candidate,), "hh", 32)
    change = b.op("mul", (z, b.op("sub", (h, hh), "difference", 32)), "change", 32)
    h_out = b.op("add", (hh, change), "h_out", 32)
    b.states.append(State("h", h, h_out))
    y = b.op("slice", (h_out,), "y", 7, axis=1, begin=0, size=7)
    return b.graph("gru-7-32", x, y, Forecast(8, 7, "stateful", tuple(range(7))))


def conv() -> Graph:
    """One dilated convolution from 16 channels to 16 over 32 samples, of which the forecast takes the last."""
    b = Builder(5)
    y = b.conv(b.tensor("x", (1, 32, 16)), 16, "conv", 2)
    flat = b.op("reshape", (y,), "flat", 512)
    y = b.op("slice", (flat,), "y", 16, axis=1, begin=496, size=16)
    return b.graph("conv-3x16x16", "x", y, Forecast(32, 16, "none", tuple(range(16))))


def tcn() -> Graph:
    """A small TCN, windowed: two residual blocks of dilated convolutions over 48 samples of 7 channels, and a head.

    As an imported model, without the samples that the forecast does not depend on.
    """
    b = Builder(6)
    y = b.conv(b.tensor("x", (1, 48, 7)), 16, "stem")
    for dilation in (2, 4):
        inner = b.conv(b.conv(y, 16, f"conv_{dilation}_a", dilation), 16, f"conv_{dilation}_b", dilation)
        y = b.shaped("add", (y, inner), f"block_{dilation}", (1, 48, 16))
    last = b.shaped("slice", (y,), "last", (1, 1, 16), axis=1, begin=47, size=1)
    head = b.dense(b.op("reshape", (last,), "last_flat", 16), 7, "head")
    return only_needed(b.graph("tcn-7-16", "x", head, Forecast(48, 7, "none", tuple(range(7)))))


def dense_of(inputs: int) -> Graph:
    """One layer from ``inputs`` to 32, of which the forecast takes the first eight."""
    b = Builder(7)
    x = b.op("reshape", (b.tensor("x", (1, inputs // 8, 8)),), "flat", inputs)
    y = b.op("slice", (b.dense(x, 32, "dense"),), "y", 8, axis=1, begin=0, size=8)
    return b.graph(f"fc-{inputs}x32", "x", y, Forecast(inputs // 8, 8, "none", tuple(range(8))))


def last_sample(b: Builder, name: str, x: str) -> Graph:
    """The graph whose forecast is the last sample of ``x``, from the input "x" with as many channels."""
    _, samples, channels = b.tensors[x].shape
    size, window = samples * channels, b.tensors["x"].shape[1]
    flat = b.op("reshape", (x,), "flat", size)
    y = b.op("slice", (flat,), "y", channels, axis=1, begin=size - channels, size=channels)
    return b.graph(name, "x", y, Forecast(window, channels, "none", tuple(range(channels))))


def depthwise(taps: int, channels: int, samples: int) -> Graph:
    """One causal depthwise convolution, relu."""
    b = Builder(8)
    x = b.tensor("x", (1, samples, channels))
    weight = (b.rng.normal(size=(channels, taps)) * 0.7).astype(np.float32)
    bias = (b.rng.normal(size=channels) * 0.3).astype(np.float32)
    operands = (x, b.tensor("dw/kernel", weight.shape, weight), b.tensor("dw/bias", bias.shape, bias))
    attrs = {"stride": 1, "dilation": 1, "left": taps - 1, "right": 0, "activation": "relu"}
    y = b.shaped("depthwise_1d", operands, "dw", (1, samples, channels), **attrs)
    return last_sample(b, f"dw-{taps}x{channels}x{samples}", y)


def attention() -> Graph:
    """Self-attention of two heads over 24 samples of 32 channels: queries, keys, values, and the dense layer behind."""
    b = Builder(9)
    x, heads = b.tensor("x", (1, 24, 32)), []
    for head in range(2):
        q, k, v = (b.pointwise(x, 16, f"{name}{head}") for name in "qkv")
        scores = b.shaped("batch_matmul", (q, k), f"scores{head}", (1, 24, 24), transposed=True)
        shares = b.shaped("softmax", (scores,), f"shares{head}", (1, 24, 24), beta=0.25)
        heads.append(b.shaped("batch_matmul", (shares, v), f"values{head}", (1, 24, 16), transposed=False))
    joined = b.shaped("concat", tuple(heads), "heads", (1, 24, 32), axis=2)
    return last_sample(b, "attn-24x32x2", b.pointwise(joined, 32, "out"))


def softmax() -> Graph:
    b = Builder(10)
    x = b.tensor("x", (1, 48, 24))
    return last_sample(b, "softmax-48x24", b.shaped("softmax", (x,), "softmax", (1, 48, 24), beta=1.0))


def pool(kind: str, name: str) -> Graph:
    """Each two samples of 16 channels in one."""
    b = Builder(11)
    x = b.tensor("x", (1, 48, 16))
    return last_sample(b, name, b.shaped(kind, (x,), "pool", (1, 24, 16), size=2, stride=2, padding="valid"))


def pairs(kind: str) -> Graph:
    """x and its tanh, added or multiplied: 1,024 values."""
    b = Builder(12)
    x = b.tensor("x", (1, 64, 16))
    y = b.shaped(kind, (x, b.shaped("tanh", (x,), "tanh", (1, 64, 16))), kind, (1, 64, 16))
    return last_sample(b, f"tanh+{kind}-1024", y)


def products(graph: Graph) -> int:
    """Multiplications of weights in one evaluation."""
    weighted = [op for op in graph.ops if op.signature.is_weighted]
    shapes = [graph.tensors[op.outputs[0]].shape for op in weighted]
    samples = [shape[1] if len(shape) == 3 else 1 for shape in shapes]
    return sum(count * graph.tensors[op.inputs[1]].size for count, op in zip(samples, weighted, strict=True))


MODELS: dict[str, Callable[[], Graph]] = {
    "mlp-168-64-64-7": mlp,
    "fc-32x128": fully_connected,
    "lstm-7-32": lstm,
    "gru-7-32": gru,
    "conv-3x16x16": conv,
    "tcn-7-16": tcn,
    "fc-512x32": lambda: dense_of(512),
    "fc-520x32": lambda: dense_of(520),
    "fc-672x32": lambda: dense_of(672),
    "dw-5x32x24": lambda: depthwise(5, 32, 24),
    "dw-3x16x48": lambda: depthwise(3, 16, 48),
    "attn-24x32x2": attention,
    "softmax-48x24": softmax,
    "avgpool-48x16": lambda: pool("avg_pool_1d", "avgpool-48x16"),
    "maxpool-48x16": lambda: pool("max_pool_1d", "maxpool-48x16"),
    "tanh+add-1024": lambda: pairs("add"),
    "tanh+mul-1024": lambda: pairs("mul"),
}
