"""The support table against the runtimes: what it says runs does run right, what it says is refused is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from graphs import METADATA, Builder, needs_tflm, quant, quantized, random_codes, random_graph, shaped, single_op

from edge_tqs.errors import CheckError, ModelError, UsageError
from edge_tqs.flatbuffer import model as tflite_model
from edge_tqs.flatbuffer.form import RUNTIMES
from edge_tqs.graph.graph import Forecast, Graph, Op, Quant
from edge_tqs.operators import OPERATORS, TypedOperator
from edge_tqs.operators import dense as dense_operator
from edge_tqs.quantization import runtimes, simulate, support
from edge_tqs.quantization.calibration import Ranges
from edge_tqs.quantization.families import MOVING_KINDS
from edge_tqs.quantization.quantize import SCHEMES, Activations, quantize

ELEMENTWISE = ("add", "sub", "mul", "logistic", "tanh", "elu", "leaky_relu", "quantize")
STEPS = {"tflm": runtimes.tflm_step, "litert": runtimes.litert_step}


def elementwise(operator: str, activations: Activations = "int8") -> Graph:
    count = 2 if operator in ("add", "sub", "mul") else 1
    if activations == "int8":
        inputs, output = (quant(0.04, -3),) * count, quant(*SCHEMES["int8"].fixed_outputs.get(operator, (0.05, 7)))
    else:
        inputs, output = (quant(3e-4, 0),) * count, quant(*SCHEMES["int16"].fixed_outputs.get(operator, (4e-4, 0)))
    attrs: dict[str, Any] = {"alpha": 0.25} if operator == "leaky_relu" else {}
    return single_op(operator, inputs, output, dtype=activations, **attrs)


def moving(activations: Activations = "int8") -> Graph:
    """split, slice, concat, transpose and reshape of x, joined to y."""
    b = Builder(np.random.default_rng(0))
    x = b.tensor("x", (1, 8))
    first, second = b.split(x, 2, "part")
    b.tensor("y", (1, 4))
    b.op("concat", (first, b.slice(x, 3, 4, "cut")), "longer", 8, axis=1)
    total = b.op("add", b.split("longer", 2, "half"), "total")
    total = b.op("mul", (total, second), "product")
    total = shaped(b, "reshape", (total,), "square", (1, 2, 2))
    total = shaped(b, "transpose", (total,), "turned", (1, 2, 2))
    b.ops.append(replace(b.ops[0], kind="reshape", inputs=(total,), outputs=("y",), attrs={}))
    graph = Graph("moving", b.tensors, tuple(b.ops), x, "y", (), Forecast(1, 8, "stateful", (0,))).check()
    return quantize(graph, {}, Ranges(dict.fromkeys(graph.tensors, (-1.0, 1.0))), activations=activations)


def dense(weight: str, granularity: str, activations: Activations = "int8") -> Graph:
    b = Builder(np.random.default_rng(1))
    x = b.tensor("x", (1, 6))
    y = b.dense(x, b.weight("w", 5, 6), "y", b.bias("b", 5))
    graph = Graph("dense", b.tensors, tuple(b.ops), x, y, (), Forecast(1, 6, "stateful", (0,))).check()
    ranges = Ranges({"x": (-2.0, 2.0), "y": (-4.0, 4.0)})
    graph = quantize(graph, {"w": 4 if weight == "int4" else 8}, ranges, activations=activations)
    if granularity == "per_tensor":
        scale = graph.tensors["w"].quant.scale[:1]
        changed = {
            "w": replace(graph.tensors["w"], quant=Quant(scale)),
            "b": replace(graph.tensors["b"], quant=Quant(scale * graph.tensors["x"].quant.scale)),
        }
        graph = graph.with_tensors(changed)
    return graph


def convolution(weight: str, granularity: str) -> Graph:
    """A convolution with a stride and zeros on both sides, then one with a dilation, as two layers of one sequence."""
    b = Builder(np.random.default_rng(2))
    x = y = b.tensor("x", (1, 9, 3))
    shapes = {"first": (1, 6, 5), "second": (1, 4, 4)}
    for name, attrs in (
        ("first", {"stride": 2, "dilation": 1, "left": 3, "right": 2, "activation": "relu"}),
        ("second", {"stride": 1, "dilation": 2, "left": 2, "right": 0, "activation": "none"}),
    ):
        data = b.rng.normal(size=(shapes[name][2], 3, b.width(y))).astype(np.float32)
        inputs = (y, b.tensor(f"{name}/w", data.shape, data, f"{name}/w"), b.bias(f"{name}/b", data.shape[0]))
        y = shaped(b, "conv_1d", inputs, name, shapes[name], **attrs)
    y = shaped(b, "reshape", (y,), "y", (1, 16))
    graph = Graph("convolution", b.tensors, tuple(b.ops), x, y, (), Forecast(9, 3, "none", (0, 1, 2))).check()
    bounds = {"x": (-2.0, 2.0), "first": (0.0, 6.0), "second": (-9.0, 9.0), "y": (-9.0, 9.0)}
    graph = quantize(graph, dict.fromkeys(graph.weights(), 4 if weight == "int4" else 8), Ranges(bounds))
    if granularity == "per_tensor":
        changed = {}
        for op in graph.ops[:2]:
            scale = graph.tensors[op.inputs[1]].quant.scale[:1]
            bias = scale * graph.tensors[op.inputs[0]].quant.scale
            changed |= {op.inputs[1]: Quant(scale), op.inputs[2]: Quant(bias)}
        graph = graph.with_tensors({n: replace(graph.tensors[n], quant=quant) for n, quant in changed.items()})
    return graph


def over_time(operator: str) -> Graph:
    """mean, or an element-wise operator that repeats a sample over the window."""
    b = Builder(np.random.default_rng(4))
    x = b.tensor("x", (1, 7, 3))
    mean = shaped(b, "mean", (x,), "mean", (1, 1, 3))
    y = mean
    if operator != "mean":
        y = shaped(b, operator, (x, mean), "right", (1, 7, 3))
        y = shaped(b, operator, (mean, y), "left", (1, 7, 3))
    size = 3 if operator == "mean" else 21
    y = shaped(b, "reshape", (y,), "y", (1, size))
    graph = Graph(operator, b.tensors, tuple(b.ops), x, y, (), Forecast(7, 3, "none", (0, 1, 2))).check()
    return quantize(graph, {}, Ranges(dict.fromkeys(graph.tensors, (-2.0, 2.5)) | {"mean": (-1.0, 1.3)}))


def attention(kind: str, activations: Activations = "int8") -> Graph:
    """A sequence with itself: the product, the softmax of its rows, or a table of it."""
    b = Builder(np.random.default_rng(6))
    x = b.tensor("x", (1, 7, 4))
    shape = (1, 7, 7) if kind == "batch_matmul" else (1, 7, 4)
    inputs = (x, x) if kind == "batch_matmul" else (x,)
    attrs: dict[str, dict[str, Any]] = {"batch_matmul": {"transposed": True}, "softmax": {"beta": 0.75}}
    b.ops.append(
        Op("function" if kind in ("lut", "curve") else kind, inputs, (b.tensor("made", shape),), attrs.get(kind, GELU))
    )
    y = shaped(b, "reshape", ("made",), "y", (1, shape[1] * shape[2]))
    graph = Graph(kind, b.tensors, tuple(b.ops), x, y, (), Forecast(7, 4, "none", (0, 1, 2, 3))).check()
    bounds = Ranges(dict.fromkeys(graph.tensors, (-3.0, 3.0)) | {"made": (-9.0, 9.0)})
    return quantize(graph, {}, bounds, activations=activations)


TABLES = (("int8", "lut"), ("int16", "curve"))
GELU = {"name": "gelu", "parameters": (0.0,)}


@needs_tflm
@pytest.mark.parametrize(
    ("kind", "activations"),
    [
        (kind, code)
        for code, last in (("int8", "lut"), ("int16", "curve"))
        for kind in ("batch_matmul", "softmax", last)
    ],
)
@pytest.mark.parametrize("runtime", STEPS)
def test_operators_of_attention_run(runtime, kind, activations):
    graph = attention(kind, activations)
    assert graph.ops[0].kind == kind
    support.check_graph(graph, RUNTIMES)
    allowed = {"tflm": 0, "litert": 0 if kind == "lut" else 1}
    assert worst_difference(graph, STEPS[runtime](tflite_model.write(graph, METADATA))) <= allowed[runtime]


def as_fully_connected(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """The flatbuffer with its int4 layers left FULLY_CONNECTED."""
    monkeypatch.setattr(dense_operator, "is_convolved", lambda graph, op: False)
    return tflite_model.write(graph, METADATA)


def worst_difference(graph: Graph, step) -> int:
    rng = np.random.default_rng(5)
    x = random_codes(rng, graph, (40, *graph.tensors[graph.input].shape[1:]))
    states = tuple(random_codes(rng, graph, (40, *s.shape[1:])) for s in simulate.zero_states(graph, 1))
    y = step(x, states)[0]
    return int(np.abs(y.astype(int) - simulate.integer_step(graph)(x, states)[0]).max())


#: tflite-micro computes each operator bit for bit as the reference does; LiteRT within one code
ALLOWED = {"tflm": 0, "litert": 1}


@needs_tflm
@pytest.mark.parametrize("runtime", STEPS)
@pytest.mark.parametrize("activations", ["int8", "int16"])
@pytest.mark.parametrize("operator", ELEMENTWISE)
def test_elementwise_operators_run(runtime, operator, activations):
    graph = elementwise(operator, activations)
    if (operator, activations) == ("elu", "int16"):
        assert "ELU" in support.reason_against(runtime, TypedOperator(operator, activations))
        with pytest.raises((CheckError, RuntimeError)):  # tflite-micro only when it runs
            worst_difference(graph, STEPS[runtime](tflite_model.write(graph, METADATA)))
        return
    assert support.reason_against(runtime, TypedOperator(operator, activations)) is None
    assert worst_difference(graph, STEPS[runtime](tflite_model.write(graph, METADATA))) <= ALLOWED[runtime]


@needs_tflm
@pytest.mark.parametrize("activations", ["int8", "int16"])
@pytest.mark.parametrize("runtime", STEPS)
def test_operators_that_move_codes_run(runtime, activations):
    graph = moving(activations)
    assert {op.kind for op in graph.ops} >= MOVING_KINDS - {"transpose"}  # which is one of sequences
    support.check_graph(graph, [runtime])
    # two operators in a row: LiteRT's difference of one code in the sum is scaled by the product
    assert worst_difference(graph, STEPS[runtime](tflite_model.write(graph, METADATA))) <= 2 * ALLOWED[runtime]


@needs_tflm
@pytest.mark.parametrize("granularity", ["per_channel", "per_tensor"])
@pytest.mark.parametrize("weight", ["int8", "int4"])
@pytest.mark.parametrize("operator", ["fully_connected", "conv_2d"])
@pytest.mark.parametrize("runtime", STEPS)
def test_dense_layers_run_or_are_refused_as_the_table_says(runtime, operator, weight, granularity, monkeypatch):
    graph = dense(weight, granularity)
    if operator == "conv_2d":
        monkeypatch.setattr(dense_operator, "is_convolved", lambda graph, op: True)
        model = tflite_model.write(graph, METADATA)
    else:
        model = as_fully_connected(graph, monkeypatch)
    if support.reason_against(runtime, TypedOperator(operator, "int8", weight, granularity)) is None:
        assert worst_difference(graph, STEPS[runtime](model)) <= ALLOWED[runtime]
    else:
        with pytest.raises(CheckError, match="refuses the model"):
            STEPS[runtime](model)


@needs_tflm
@pytest.mark.parametrize("granularity", ["per_channel", "per_tensor"])
@pytest.mark.parametrize("weight", ["int8", "int4"])
@pytest.mark.parametrize("runtime", STEPS)
def test_dense_layers_with_int16_activations_run_or_are_refused_as_the_table_says(runtime, weight, granularity):
    graph = dense(weight, granularity, "int16")
    model = tflite_model.write(graph, METADATA)
    if support.reason_against(runtime, TypedOperator("fully_connected", "int16", weight, granularity)) is None:
        assert worst_difference(graph, STEPS[runtime](model)) <= ALLOWED[runtime]
    else:
        with pytest.raises(CheckError, match="refuses the model"):
            STEPS[runtime](model)


def test_a_graph_says_where_it_runs():
    assert support.runtimes_of(dense("int4", "per_channel")) == RUNTIMES
    assert support.runtimes_of(dense("int8", "per_channel", "int16")) == RUNTIMES
    assert support.runtimes_of(dense("int4", "per_channel", "int16")) == ("litert", "c")
    assert support.runtimes_of(random_graph(np.random.default_rng(0), "lstm")) == ()


@needs_tflm
@pytest.mark.parametrize("granularity", ["per_channel", "per_tensor"])
@pytest.mark.parametrize("weight", ["int8", "int4"])
@pytest.mark.parametrize("runtime", STEPS)
def test_convolutions_over_time_run(runtime, weight, granularity):
    graph = convolution(weight, granularity)
    support.check_graph(graph, [runtime, "c"])
    # two layers in a row: LiteRT's difference of one code in the first goes through the weights of the second
    assert worst_difference(graph, STEPS[runtime](tflite_model.write(graph, METADATA))) <= 2 * ALLOWED[runtime]


@needs_tflm
@pytest.mark.parametrize("operator", ["mean", "add", "sub", "mul"])
@pytest.mark.parametrize("runtime", STEPS)
def test_operators_over_time_run(runtime, operator):
    graph = over_time(operator)
    support.check_graph(graph, [runtime, "c"])
    assert worst_difference(graph, STEPS[runtime](tflite_model.write(graph, METADATA))) <= 3 * ALLOWED[runtime]


@needs_tflm
@pytest.mark.parametrize("weight", ["int8", "int4"])
@pytest.mark.parametrize("granularity", ["per_channel", "per_tensor"])
@pytest.mark.parametrize("activations", ["int8", "int16"])
@pytest.mark.parametrize("runtime", STEPS)
def test_depthwise_convolutions_run_or_not_as_the_table_says(runtime, activations, granularity, weight):
    b = Builder(np.random.default_rng(6))
    x = b.tensor("x", (1, 9, 3))
    attrs = {"stride": 2, "dilation": 1, "left": 3, "right": 2, "activation": "relu"}
    y = shaped(b, "depthwise_1d", (x, b.weight("w", 6, 3), b.bias("b", 6)), "wide", (1, 6, 6), **attrs)
    y = shaped(b, "reshape", (y,), "y", (1, 36))
    graph = Graph("depthwise", b.tensors, tuple(b.ops), x, y, (), Forecast(9, 3, "none", (0, 1, 2))).check()
    ranges = Ranges({"x": (-2.0, 2.0), "wide": (-4.0, 4.0), "y": (-4.0, 4.0)})
    graph = quantize(graph, {"w": 4 if weight == "int4" else 8}, ranges, activations=activations)
    if granularity == "per_tensor":
        scale = graph.tensors["w"].quant.scale[:1]
        changed = {"w": Quant(scale), "b": Quant(scale * graph.tensors["x"].quant.scale)}
        graph = graph.with_tensors({n: replace(graph.tensors[n], quant=quant) for n, quant in changed.items()})
    support.check_graph(graph, RUNTIMES)  # quantize makes none that is not right everywhere
    if weight == "int4":
        graph = graph.with_tensors({"w": replace(graph.tensors["w"], dtype="int4")})
    reason = support.reason_against(runtime, TypedOperator("depthwise_1d", activations, weight, granularity))
    model = tflite_model.write(graph, METADATA)
    assert tflite_model.read(model)[0].ops == graph.ops
    if reason is None:
        assert worst_difference(graph, STEPS[runtime](model)) <= ALLOWED[runtime]
    elif runtime == "tflm":
        with pytest.raises(CheckError, match="refuses the model"):
            STEPS[runtime](model)
    else:
        assert worst_difference(graph, STEPS[runtime](model)) > 100, "a runtime that has learnt it can be let in"


@needs_tflm
@pytest.mark.parametrize("scales", [(quant(0.01, -128), quant(0.04, -128)), (quant(3.0, -128), quant(0.004, -90))])
@pytest.mark.parametrize("runtime", STEPS)
def test_roots_of_all_codes_run(runtime, scales):
    graph = single_op("rsqrt", scales[:1], scales[1])
    codes = np.resize(np.arange(-128, 128).astype(np.int8), (2, graph.tensors[graph.input].size))
    y, _ = STEPS[runtime](tflite_model.write(graph, METADATA))(codes, ())
    np.testing.assert_array_equal(y, simulate.integer_step(graph)(codes, ())[0])


def test_a_convolution_over_time_is_one_over_an_image_but_in_c():
    graph = convolution("int4", "per_channel")
    assert [k.operator for k in support.emitted(graph, graph.ops[0], "tflm")] == ["reshape", "pad", "conv_2d"]
    assert [k.operator for k in support.emitted(graph, graph.ops[0], "c")] == ["conv_1d"]


def test_every_operator_of_a_graph_has_a_row():
    assert {kernel.operator for kernel in support.TABLE} == {*OPERATORS, "conv_2d", "pad", "quantize to int16"}
    assert {runtime for reasons in support.TABLE.values() for runtime in reasons} <= set(RUNTIMES)


@pytest.mark.parametrize("seed", range(6))
def test_what_quantize_makes_runs_everywhere(seed):
    rng = np.random.default_rng(seed)
    support.check_graph(quantized(rng, random_graph(rng)), RUNTIMES)


def test_an_int4_layer_is_a_convolution_but_in_c():
    graph = dense("int4", "per_channel")
    assert [k.operator for k in support.emitted(graph, graph.ops[0], "tflm")] == ["reshape", "conv_2d"]
    assert [k.operator for k in support.emitted(graph, graph.ops[0], "c")] == ["fully_connected"]


def test_a_float_graph_is_refused_with_the_layer_and_the_reason():
    graph = random_graph(np.random.default_rng(0), "lstm")
    with pytest.raises(ModelError, match=r"operator 0 \(lstm_0/kernel\), fully_connected with float32.*tflm") as error:
        support.check_graph(graph, ["tflm"])
    assert error.value.hint


def test_the_known_traps_are_in_the_table():
    trap = TypedOperator("conv_2d", "int16", "int4", "per_channel")
    assert "wrongly" in support.reason_against("tflite-runtime", trap)
    assert "per tensor only" in support.reason_against(
        "tflm", TypedOperator("fully_connected", "int8", "int4", "per_channel")
    )


def test_a_runtime_that_does_not_exist_is_refused():
    with pytest.raises(UsageError, match="no runtime onnx") as error:
        support.reason_against("onnx", TypedOperator("add"))
    assert "tflm" in error.value.hint
