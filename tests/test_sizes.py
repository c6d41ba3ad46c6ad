"""The costs that the plan is made from, against whole files."""

from __future__ import annotations

import numpy as np
import pytest
from graphs import KINDS, Builder, random_graph, shaped

from edge_tqs.emit_c.emit import emit
from edge_tqs.flatbuffer import model as tflite_model
from edge_tqs.graph.graph import Forecast, Graph
from edge_tqs.quantization.calibration import Ranges, nominal_ranges
from edge_tqs.quantization.quantize import quantize
from edge_tqs.quantization.sizes import weight_bytes


def dense_net(rows: int, columns: int, bias: bool) -> Graph:
    b = Builder(np.random.default_rng(0))
    x = b.tensor("x", (1, columns))
    y = b.dense(x, b.weight("w", rows, columns), "y", b.bias("b", rows) if bias else None)
    return Graph("net", b.tensors, tuple(b.ops), x, y, (), Forecast(1, columns, "stateful", (0,))).check()


def file_size(graph: Graph, widths: dict[str, int]) -> int:
    ranges = Ranges({name: (-1.0, 1.0) for name, tensor in graph.tensors.items() if tensor.data is None})
    given = {"source_hash": "", "plan": widths, "generator": ""}
    return len(tflite_model.write(quantize(graph, widths, ranges), given))


@pytest.mark.parametrize("moved", [False, True])
def test_what_a_root_is_taken_of_is_positive_in_ranges_of_no_rollout(moved):
    """Else a normalising layer could not be emitted, and so neither planned for a board's flash."""
    b = Builder(np.random.default_rng(0))
    x = b.tensor("x", (1, 1, 4))
    flat = b.op("reshape", (x,), "flat", 4)
    squared = b.op("mul", (flat, flat), "squared")
    under = b.op("reshape", (squared,), "moved", 4) if moved else squared
    y = b.dense(b.op("rsqrt", (under,), "inverse"), b.weight("w", 4, 4), "y", b.bias("b", 4))
    graph = Graph("net", b.tensors, tuple(b.ops), x, y, (), Forecast(1, 4, "none", (0, 1, 2, 3))).check()
    ranges = nominal_ranges(graph)
    assert ranges.bounds["x"] == (-1.0, 1.0)
    integer = quantize(graph, {"w": 8}, ranges)
    assert emit(integer, "0" * 64, "net").table_bytes > 256


@pytest.mark.parametrize(("bias", "channel_bytes"), [(True, 16), (False, 12)])
def test_int8_costs_codes_padded_to_16_and_each_channel(bias, channel_bytes):
    costs = weight_bytes(dense_net(10, 33, bias))
    assert costs["w"][8] == 336 + 10 * channel_bytes


def test_a_weight_that_many_operators_read_is_counted_once():
    b = Builder(np.random.default_rng(0))
    x = b.tensor("x", (1, 8))
    weight, bias = b.weight("w", 8, 8), b.bias("b", 8)
    once = b.dense(x, weight, "y0", bias)
    graph = Graph("net", b.tensors, tuple(b.ops), x, once, (), Forecast(1, 8, "stateful", (0,))).check()
    twice = b.dense(once, weight, "y1", bias)
    shared = Graph("net", b.tensors, tuple(b.ops), x, twice, (), Forecast(1, 8, "stateful", (0,))).check()
    assert weight_bytes(shared)["w"][8] == weight_bytes(graph)["w"][8] == 64 + 8 * 16


def test_zero_points_of_as_many_channels_are_counted_once():
    b = Builder(np.random.default_rng(0))
    x = b.tensor("x", (1, 8))
    y = b.dense(b.dense(x, b.weight("v", 8, 8), "h"), b.weight("w", 8, 8), "y")
    graph = Graph("net", b.tensors, tuple(b.ops), x, y, (), Forecast(1, 8, "stateful", (0,))).check()
    costs = weight_bytes(graph)
    assert (costs["v"][8], costs["w"][8]) == (64 + 8 * 12, 64 + 8 * 4)


def test_a_convolution_costs_the_codes_of_all_its_taps():
    """At int4 nothing is added around it: it is a convolution at either width."""
    b = Builder(np.random.default_rng(0))
    x = b.tensor("x", (1, 9, 8))
    data = np.ones((16, 3, 8), np.float32)
    inputs = (x, b.tensor("w", data.shape, data, "w"), b.bias("b", 16))
    attrs = {"stride": 1, "dilation": 1, "left": 2, "right": 0, "activation": "relu"}
    shaped(b, "conv_1d", inputs, "y", (1, 9, 16), **attrs)
    last = shaped(b, "slice", ("y",), "last", (1, 1, 16), axis=1, begin=8, size=1)
    flat = shaped(b, "reshape", (last,), "flat", (1, 16))
    graph = Graph("net", b.tensors, tuple(b.ops), x, flat, (), Forecast(9, 8, "none", (0,) * 8)).check()
    costs = weight_bytes(graph)["w"]
    assert costs[8] == 3 * 8 * 16 + 16 * 16
    assert costs[8] - costs[4] == 3 * 8 * 16 // 2


@pytest.mark.parametrize("bias", [True, False])
def test_a_byte_of_a_large_weight_is_counted_once(bias):
    """From 32 to 96 columns only codes are added: even the decimal digits of the metadata are as many."""
    small, large = (weight_bytes(dense_net(64, columns, bias))["w"] for columns in (32, 96))
    assert large[8] - small[8] == 64 * 64
    assert large[4] - small[4] == 64 * 64 // 2
    assert large[4] < large[8]


@pytest.mark.parametrize("seed", range(9))
def test_the_sum_of_the_costs_bounds_the_file(seed):
    rng = np.random.default_rng(seed)
    graph = random_graph(rng, KINDS[seed % len(KINDS)])
    costs = weight_bytes(graph)
    assert set(costs) == set(graph.weights())
    widths = {source: int(rng.choice((4, 8))) for source in costs}
    growth = file_size(graph, widths) - file_size(graph, dict.fromkeys(costs, 8))
    slack = 16 * len(costs)  # alignment
    assert growth <= sum(costs[source][width] - costs[source][8] for source, width in widths.items()) + slack
