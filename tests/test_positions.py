"""Leaving out the samples that no forecast depends on changes no number."""

from __future__ import annotations

import numpy as np
import pytest
from graphs import Builder, dense_layer, random_graph, random_seeds, shaped

from edge_tqs.graph.graph import Forecast, Graph, Op
from edge_tqs.graph.shapes import conv_length, pool_length
from edge_tqs.passes.interpret import float_rollout
from edge_tqs.passes.positions import Samples, only_needed


def convolution(b: Builder, x: str, name: str, rows: int, taps: int, **attrs: int) -> str:
    _, length, channels = b.tensors[x].shape
    depthwise = rows % channels == 0 and b.rng.random() < 0.3
    kind, inner = ("depthwise_1d", 1) if depthwise else ("conv_1d", channels)
    data = (b.rng.normal(size=(rows, taps, inner)) / np.sqrt(taps * inner)).astype(np.float32)
    data = data[..., 0] if depthwise else data
    kernel = b.tensor(f"{name}/kernel", data.shape, data, f"{name}/kernel")
    attrs = {"stride": 1, "dilation": 1, "left": 0, "right": 0} | attrs
    out = b.tensor(f"{name}_y", (1, conv_length(length, taps, attrs), rows))
    b.ops.append(Op(kind, (x, kernel, b.bias(f"{name}/bias", rows)), (out,), {**attrs, "activation": "relu"}))
    return out


def finish(b: Builder, y: str, window: int, channels: int) -> Graph:
    _, length, rows = b.tensors[y].shape
    flat = shaped(b, "reshape", (y,), "flat", (1, length * rows))
    out = dense_layer(b, "head", flat, channels, "none")
    forecast = Forecast(window, channels, "none", tuple(range(channels)))
    return Graph("tcn", b.tensors, tuple(b.ops), "x", out, (), forecast).check()


def tcn(rng: np.random.Generator, window: int, dilations: tuple[int, ...], taps: int = 3) -> Graph:
    """Residual blocks of two causal convolutions each, and the last sample."""
    b = Builder(rng)
    x = b.tensor("x", (1, window, 2))
    y = convolution(b, x, "lift", 4, 1)
    for index, dilation in enumerate(dilations):
        left = dilation * (taps - 1)
        inner = convolution(b, y, f"a{index}", 4, taps, dilation=dilation, left=left)
        inner = convolution(b, inner, f"b{index}", 4, taps, dilation=dilation, left=left)
        y = shaped(b, "add", (y, inner), f"sum{index}", (1, window, 4))
    y = shaped(b, "slice", (y,), "last", (1, 1, 4), axis=1, begin=window - 1, size=1)
    return finish(b, y, window, 2)


def multiplications(graph: Graph) -> int:
    total = 0
    for op in graph.ops:
        if op.kind == "conv_1d":
            total += graph.tensors[op.inputs[1]].size * graph.tensors[op.outputs[0]].shape[1]
    return total


def assert_equal(graph: Graph, rng: np.random.Generator) -> Graph:
    fewer = only_needed(graph)
    seeds = random_seeds(rng, graph, 3)
    found, expected = (float_rollout(g, seeds, 4).outputs for g in (fewer, graph))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert multiplications(fewer) <= multiplications(graph)
    assert {name: len(tensors) for name, tensors in fewer.weights().items()} == {
        name: len(tensors) for name, tensors in graph.weights().items()
    }
    return fewer


def test_a_usual_tcn_needs_a_third_of_its_multiplications() -> None:
    rng = np.random.default_rng(0)
    graph = tcn(rng, 64, (1, 2, 4, 8, 16))
    fewer = assert_equal(graph, rng)
    assert 3 * multiplications(fewer) < multiplications(graph)
    assert only_needed(fewer) is fewer


@pytest.mark.parametrize("seed", range(60))
def test_tcns_of_any_window_dilations_and_taps(seed: int) -> None:
    rng = np.random.default_rng(seed)
    dilations = tuple(int(d) for d in rng.integers(1, 9, int(rng.integers(1, 5))))
    assert_equal(tcn(rng, int(rng.integers(1, 40)), dilations, int(rng.integers(1, 4))), rng)


@pytest.mark.parametrize("seed", range(150))
def test_random_window_graphs(seed: int) -> None:
    rng = np.random.default_rng(1000 + seed)
    assert_equal(random_graph(rng, "tcn"), rng)


@pytest.mark.parametrize("seed", range(80))
def test_strides_paddings_and_crops(seed: int) -> None:
    """Chains of convolutions with strides and padding at both ends, cropped to some samples."""
    rng = np.random.default_rng(2000 + seed)
    b = Builder(rng)
    window = int(rng.integers(8, 60))
    y = b.tensor("x", (1, window, 2))
    for index in range(int(rng.integers(1, 4))):
        if rng.random() < 0.2:  # what pools needs every sample
            attrs = {"size": int(rng.integers(1, 4)), "stride": int(rng.integers(1, 3)), "padding": "same"}
            shape = (1, pool_length(b.tensors[y].shape[1], attrs), b.width(y))
            y = shaped(b, str(rng.choice(["avg_pool_1d", "max_pool_1d"])), (y,), f"p{index}", shape, **attrs)
        taps, dilation, stride = (int(rng.integers(1, n)) for n in (4, 5, 4))
        reach = dilation * (taps - 1)
        left, right = int(rng.integers(0, reach + 2)), int(rng.integers(0, 4))
        right += max(0, reach + 1 - b.tensors[y].shape[1] - left)
        y = convolution(b, y, f"c{index}", 3, taps, stride=stride, dilation=dilation, left=left, right=right)
    length = b.tensors[y].shape[1]
    size = int(rng.integers(1, min(length, 3) + 1))
    begin = int(rng.integers(0, length - size + 1))
    y = shaped(b, "slice", (y,), "some", (1, size, 3), axis=1, begin=begin, size=size)
    assert_equal(finish(b, y, window, 2), rng)


def test_recurrent_graphs_are_left_alone() -> None:
    graph = random_graph(np.random.default_rng(3), "gru")
    assert only_needed(graph) is graph


@pytest.mark.parametrize(
    ("positions", "steps", "expected"),
    [
        ({5}, (), (5, 1, 1)),
        ({5, 9, 17}, (), (5, 4, 4)),
        ({5, 9, 17}, (6,), (5, 2, 7)),
        ({0, 1}, (), (0, 1, 2)),
    ],
)
def test_cover(positions: set[int], steps: tuple[int, ...], expected: tuple[int, int, int]) -> None:
    assert Samples.cover(positions, steps) == Samples(*expected)
