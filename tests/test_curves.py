"""Functions of int16 codes in straight pieces: how far they are off, and what they do where there is no value."""

from __future__ import annotations

import numpy as np
import pytest
from graphs import quant

from edge_tqs.errors import ModelError
from edge_tqs.graph.graph import Forecast, Graph, Op, Tensor
from edge_tqs.operators import OPERATORS
from edge_tqs.operators.arithmetic.functions import DEFAULTS, FUNCTIONS, NUMPY, PULSE_REACH
from edge_tqs.operators.arithmetic.int16 import symmetric
from edge_tqs.operators.unary import curve

#: Roots and logarithms are calibrated from here to 3.
LEAST = 0.05
#: How many of a range's 8,192 codes it costs at most that the slope changes at once, or much near 0.
BENDS = {
    **dict.fromkeys(["hard_sigmoid", "hard_tanh", "relu", "selu", "sparse_sigmoid", "soft_shrink"], 5.0),
    "absolute": 8.0,
    **dict.fromkeys(["rsqrt", "log", "reciprocal"], 4.0),
}


def made(name: str, bounds: tuple[float, float], parameters: tuple[float, ...] | None = None) -> tuple[Graph, Op]:
    """The curve of a function whose input is calibrated as ``bounds``, as quantize makes it, in a graph."""
    given = DEFAULTS.get(name, ()) if parameters is None else parameters
    values = FUNCTIONS[name](NUMPY, np.linspace(*bounds, 1001), *given)
    ranges = {"x": bounds, "y": (float(values.min()), float(values.max()))}
    x, y = (Tensor(name, (1, 1), "int16", None, symmetric(4 * low, 4 * high)) for name, (low, high) in ranges.items())
    op = Op("function", ("x",), ("y",), {"name": name, "parameters": given})
    graph = Graph("g", {"x": x, "y": y}, (op,), "x", "y", (), Forecast(1, 1, "stateful", (0,)))
    op, tables = curve.made(graph, op, x, y, bounds)
    tensors = {tensor.name: tensor for tensor in (x, *tables, y)}
    return Graph("g", tensors, (op,), "x", "y", (), graph.forecast).check(), op


def codes_of(graph: Graph, op: Op, x: np.ndarray) -> np.ndarray:
    run = OPERATORS["curve"].integer(graph, op)
    return run(x.astype(np.int16), *(graph.tensors[name].data for name in op.inputs[1:])).astype(int)


@pytest.mark.parametrize("name", [name for name in FUNCTIONS if name != "pulse"])
def test_a_curve_is_off_by_codes(name: str) -> None:
    """Over what was calibrated, a quarter of the codes: within two and what one code of x makes, where it is smooth."""
    rooted = name in ("sqrt", "rsqrt", "log")
    bounds = (LEAST, 3.0) if rooted else (0.3, 3.0) if name == "reciprocal" else (-3.0, 3.0)
    graph, op = made(name, bounds)
    assert op.attrs["positive"] == rooted
    x_scale, y_scale = (float(graph.tensors[tensor].quant.scale[0]) for tensor in "xy")
    codes = np.arange(int(bounds[0] / x_scale) + 1, int(bounds[1] / x_scale))
    exact = FUNCTIONS[name](NUMPY, codes * x_scale, *DEFAULTS.get(name, ())) / y_scale
    error, slope = np.abs(codes_of(graph, op, codes) - exact), np.abs(np.gradient(exact))
    if name == "hard_shrink":  # its value jumps twice: the cells that it jumps in are off, and no others
        error = np.sort(error)[: -2 * (1 << op.attrs["bits"])]
        slope = np.float64(1.0)
    assert (error <= BENDS.get(name, 2.0) + slope).all(), (error - slope).max()


def test_a_finer_table_is_taken_where_a_function_bends_more() -> None:
    sizes = {name: made(name, (-6.0, 6.0))[1].attrs["bits"] for name in ("softplus", "gelu", "hard_tanh")}
    assert max(curve.BITS) == sizes["softplus"] > sizes["gelu"] > sizes["hard_tanh"] == min(curve.BITS)


def test_a_pulse_is_exactly_1_or_0_but_halfway_between_two_numbers() -> None:
    graph, op = made("pulse", (-PULSE_REACH / 4, PULSE_REACH / 4))  # of which the codes reach four times as far
    scale, one = float(graph.tensors["x"].quant.scale[0]), round(1 / float(graph.tensors["y"].quant.scale[0]))
    x = np.arange(-32767, 32768)
    found = codes_of(graph, op, x)
    assert (found[np.abs(x) * scale <= 0.44] == one).all()
    assert (found[np.abs(x) * scale >= 0.56] == 0).all()


def test_what_is_under_a_root_counts_as_0_where_it_is_negative() -> None:
    found = codes_of(*made("rsqrt", (0.1, 3.0)), np.array([-32768, -1, 0, 1]))
    assert found[0] == found[1] == found[2] >= found[3]


def test_beyond_its_range_y_saturates() -> None:
    """exp of four times the largest x is far beyond four times the largest y."""
    graph, op = made("exponential", (-3.0, 3.0))
    found = codes_of(graph, op, np.arange(-32768, 32768))
    assert (found[-16384:] >= curve.HIGHEST).all()


def test_a_function_without_a_value_is_refused() -> None:
    x, y = Tensor("x", (1, 1), "int16", None, quant(1.0, 0)), Tensor("y", (1, 1), "int16", None, quant(1.0, 0))
    op = Op("function", ("x",), ("y",), {"name": "relu", "parameters": (float("nan"), float("nan"), 0.0)})
    graph = Graph("g", {"x": x, "y": y}, (op,), "x", "y", (), Forecast(1, 1, "stateful", (0,)))
    with pytest.raises(ModelError, match="relu to y has no value"):
        curve.made(graph, op, x, y, (-1.0, 1.0))
