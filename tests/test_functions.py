"""Functions of one value: numpy, TensorFlow and the table of codes agree."""

from __future__ import annotations

import numpy as np
import pytest
from graphs import quant

from edge_tqs.errors import ModelError
from edge_tqs.graph.graph import Forecast, Graph, Op, Tensor
from edge_tqs.operators import OPERATORS
from edge_tqs.operators.arithmetic.functions import DEFAULTS, FUNCTIONS
from edge_tqs.operators.unary import function
from edge_tqs.system.tensorflow import import_tensorflow

POSITIVE = {"log", "sqrt", "rsqrt", "reciprocal"}


def graph_of(name: str) -> Graph:
    shape = (1, 256)
    tensors = {n: Tensor(n, shape, "float32") for n in ("x", "y")}
    op = Op("function", ("x",), ("y",), {"name": name, "parameters": DEFAULTS.get(name, ())})
    return Graph(name, tensors, (op,), "x", "y", (), Forecast(1, 256, "stateful", tuple(range(256)))).check()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_numpy_tensorflow_and_the_table_agree(name: str) -> None:
    graph, operator = graph_of(name), OPERATORS["function"]
    source, out = quant(0.03, -128 if name in POSITIVE else 5), quant(0.05, -20)
    x = ((np.arange(-128, 128) - source.zero_point) * np.float64(source.scale[0])).astype(np.float32)[None]
    y = operator.compute(graph, graph.ops[0])(x)
    assert y.dtype == np.float32
    tf = import_tensorflow()
    traced = operator.traced(tf, graph, graph.ops[0])(tf.constant(x)).numpy()
    defined = np.isfinite(y)
    assert defined.sum() >= 255
    np.testing.assert_allclose(traced[defined], y[defined], rtol=1e-5, atol=1e-6)
    codes = function.table(graph, graph.ops[0], source, out)
    wanted = np.clip(y[defined] / np.float32(0.05) - 20, -128, 127)
    assert np.abs(codes[defined[0]] - wanted).max() < 0.501


def test_below_its_domain_a_function_is_what_it_is_where_that_begins() -> None:
    graph = graph_of("log")
    codes = function.table(graph, graph.ops[0], quant(0.03, 0), quant(0.05, 0))
    assert (codes[:129] == codes[129]).all()
    with pytest.raises(ModelError, match="log to y has no value"):
        function.table(graph, graph.ops[0], quant(0.03, 127), quant(0.05, 0))
