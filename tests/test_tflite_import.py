"""A foreign .tflite as a float Graph: against LiteRT and Keras, built without TensorFlow, and what is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tflite_by_hand as by_hand
import tflite_models
from ai_edge_litert import schema_py_generated as schema
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_tqs.errors import CheckError, ModelError, UsageError
from edge_tqs.graph.graph import Graph
from edge_tqs.passes.interpret import float_rollout
from edge_tqs.read.keras.model import load
from edge_tqs.read.loaded import LoadedModel
from edge_tqs.read.opening import open_model
from edge_tqs.read.tflite import model as tflite_import
from edge_tqs.read.tflite.model import load_tflite
from edge_tqs.read.tflite.system import tflite_system
from edge_tqs.system.reading import Said
from edge_tqs.system.tensorflow import import_tensorflow

ROOT = Path(__file__).parent.parent
BUILT = ("mlp", "tcn", "residual", "gru", "lstm", "nbeats", "depthwise", "dlinear", "patches", "attention")
#: One cell for each sample, of which a step is made.
UNROLLED = ("gru", "lstm")
#: as (model, batch)
IMPORTED = [*((name, 1) for name in BUILT), ("mlp", None), ("tcn", None), ("residual", None), ("nbeats", None)]


def loaded(model: bytes) -> LoadedModel:
    return load_tflite(model, tflite_system(model, "m"), "m.tflite")


def structure(graph: Graph) -> list[tuple[Any, ...]]:
    return [(op.kind, [graph.tensors[name].shape for name in op.inputs], dict(op.attrs)) for op in graph.ops]


@pytest.mark.parametrize(("name", "batch"), IMPORTED)
def test_models_of_supported_operators_are_imported_as_litert_computes_them(name: str, batch: int | None) -> None:
    model = tflite_models.build(name)
    content = tflite_models.convert(model, batch=batch)
    system = tflite_system(content, name)
    read = load_tflite(content, system, name)
    assert read.float_vs_keras_max_abs < 1e-5
    assert list(read.graph.weights()) == list(system.weights)
    assert read.graph.forecast.recurrence == ("windowed" if name in UNROLLED else "none")
    # Biases of some are cut up or have zeros beside them; gamma and beta are multiplied, and are no weights.
    if name not in ("gru", "patches", "attention") and (name, batch) != ("tcn", None):
        assert read.parameters == model.count_params()


@pytest.mark.parametrize("name", ["mlp", "tcn"])
@pytest.mark.parametrize("batch", [1, None])
def test_a_file_gives_the_graph_that_its_keras_model_gives(name: str, batch: int | None, tmp_path: Path) -> None:
    model = tflite_models.build(name)
    model.save(tmp_path / "model.keras")
    assert structure(loaded(tflite_models.convert(model, batch=batch)).graph) == structure(
        load(tmp_path / "model.keras").graph
    )


def test_other_operators_are_refused_by_name_and_still_scored(tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(by_hand.upsampling_model())
    opened = open_model(path)
    assert opened.loaded is None
    with pytest.raises(ModelError, match=r"model.tflite: it cannot be built: TRANSPOSE_CONV is not") as error:
        opened.need_graph()
    assert "Supported operators: A" in error.value.hint
    assert opened.opener().weights.keys() == opened.system.weights.keys()
    assert opened.system.name == "model"


# --- operators one by one ---------------------------------------------------------------------------------------------


class Drawn:
    """A chain of moving operators drawn at random, which ends in a dense layer."""

    def __init__(self, data: st.DataObject) -> None:
        self.data, self.made = data, by_hand.Maker()
        self.x = self.made.value("x", (1, 6, 4))
        self.value = self.x
        self.shape: tuple[int, ...] = (1, 6, 4)
        self.number = 0

    def name(self) -> str:
        self.number += 1
        return f"v{self.number}"

    def axis(self) -> int:
        return self.data.draw(st.integers(0, len(self.shape) - 1))

    def to(self, kind: str, inputs: list[int], shape: tuple[int, ...], table: str = "", **options: Any) -> None:
        self.value = self.made.op(kind, inputs, [self.made.value(self.name(), shape)], table, **options)
        self.shape = shape

    def ints(self, *values: Any) -> int:
        return self.made.constant(f"{self.name()} ints", np.array(values, np.int32))

    def reshape(self) -> None:
        size = int(np.prod(self.shape))
        first = self.data.draw(st.sampled_from([n for n in range(1, size + 1) if size % n == 0]))
        rest = size // first
        second = self.data.draw(st.sampled_from([n for n in range(1, rest + 1) if rest % n == 0]))
        self.value = self.made.reshape(self.value, self.name(), (first, second, rest // second))
        self.shape = (first, second, rest // second)

    def slice(self) -> None:
        axis = self.axis()
        begin = self.data.draw(st.integers(0, self.shape[axis] - 1))
        size = self.data.draw(st.integers(1, self.shape[axis] - begin))
        begins, sizes = [0] * len(self.shape), list(self.shape)
        begins[axis], sizes[axis] = begin, size
        self.to("SLICE", [self.value, self.ints(*begins), self.ints(*sizes)], tuple(sizes), "SliceOptions")

    def strided_slice(self) -> None:
        axis = self.axis()
        begin = self.data.draw(st.integers(-self.shape[axis], self.shape[axis] - 1))
        begins, ends, strides = [0] * len(self.shape), [0] * len(self.shape), [1] * len(self.shape)
        begins[axis] = begin
        mask = 2 ** len(self.shape) - 1
        shape = list(self.shape)
        shape[axis] = len(range(self.shape[axis])[begin:])
        operands = [self.value, self.ints(*begins), self.ints(*ends), self.ints(*strides)]
        options = {"beginMask": mask & ~(1 << axis), "endMask": mask}
        self.to("STRIDED_SLICE", operands, tuple(shape), "StridedSliceOptions", **options)

    def join(self) -> None:
        axis, constant = self.axis(), self.data.draw(st.booleans())
        other = self.made.constant(self.name(), by_hand.normal(*self.shape)) if constant else self.value
        shape = list(self.shape)
        shape[axis] *= 2
        self.to("CONCATENATION", [self.value, other], tuple(shape), "ConcatenationOptions", axis=axis)

    def split(self) -> None:
        axis = self.axis()
        if self.shape[axis] % 2:
            return
        shape = list(self.shape)
        shape[axis] //= 2
        outs = [self.made.value(self.name(), tuple(shape)) for _ in range(2)]
        self.made.op("SPLIT", [self.ints(axis), self.value], outs, "SplitOptions", numSplits=2)
        self.shape = tuple(shape)
        self.to("SUB", outs, self.shape, "SubOptions")

    def unpack(self) -> None:
        axis = self.axis()
        shape = self.shape[:axis] + self.shape[axis + 1 :]
        outs = [self.made.value(self.name(), shape) for _ in range(self.shape[axis])]
        self.made.op("UNPACK", [self.value], outs, "UnpackOptions", num=len(outs), axis=axis)
        at = self.data.draw(st.integers(0, len(shape)))
        packed = (*shape[:at], len(outs), *shape[at:])
        self.to("PACK", outs, packed, "PackOptions", valuesCount=len(outs), axis=at)

    def pad(self) -> None:
        axis = next((axis for axis, size in enumerate(self.shape) if size > 1), 0)
        pads = np.zeros((len(self.shape), 2), np.int32)
        pads[axis] = self.data.draw(st.integers(0, 2)), self.data.draw(st.integers(0, 2))
        shape = tuple(int(size) for size in np.array(self.shape) + pads.sum(axis=1))
        self.to("PAD", [self.value, self.made.constant(self.name(), pads)], shape, "PadOptions")

    def scaled(self) -> None:
        kind, table = self.data.draw(
            st.sampled_from([("ADD", "AddOptions"), ("SUB", "SubOptions"), ("MUL", "MulOptions")])
        )
        shape = tuple(self.data.draw(st.sampled_from([1, size])) for size in self.shape)
        constant = self.made.constant(self.name(), by_hand.normal(*shape))
        operands = [self.value, constant] if self.data.draw(st.booleans()) else [constant, self.value]
        self.to(kind, operands, self.shape, table)

    def transpose(self) -> None:
        order = self.data.draw(st.permutations(range(len(self.shape))))
        shape = tuple(self.shape[axis] for axis in order)
        self.to("TRANSPOSE", [self.value, self.ints(*order)], shape, "TransposeOptions")

    def picked(self) -> None:
        axis = self.axis()
        places = self.data.draw(st.lists(st.integers(0, self.shape[axis] - 1), min_size=1, max_size=4))
        shape = (*self.shape[:axis], len(places), *self.shape[axis + 1 :])
        self.to("GATHER", [self.value, self.ints(*places)], shape, "GatherOptions", axis=axis)

    def reverse(self) -> None:
        self.to("REVERSE_V2", [self.value, self.ints(self.axis())], self.shape, "ReverseV2Options")

    def reduce(self) -> None:
        kind = self.data.draw(st.sampled_from(["MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN"]))
        axes = sorted(self.data.draw(st.sets(st.integers(0, len(self.shape) - 1), min_size=1)))
        keep = self.data.draw(st.booleans()) or len(axes) == len(self.shape)
        left = [1 if axis in axes else size for axis, size in enumerate(self.shape) if keep or axis not in axes]
        self.to(kind, [self.value, self.ints(*axes)], tuple(left), "ReducerOptions", keepDims=keep)

    def repeated(self) -> None:
        """With itself, one of an axis and repeated over it."""
        kind, table = self.data.draw(
            st.sampled_from(
                [
                    ("SUB", "SubOptions"),
                    ("MUL", "MulOptions"),
                    ("MAXIMUM", "MaximumMinimumOptions"),
                    ("MINIMUM", "MaximumMinimumOptions"),
                    ("SQUARED_DIFFERENCE", "SquaredDifferenceOptions"),
                ]
            )
        )
        axis, value, shape = self.axis(), self.value, self.shape
        begins, sizes = [0] * len(shape), list(shape)
        sizes[axis] = 1
        self.to("SLICE", [value, self.ints(*begins), self.ints(*sizes)], tuple(sizes), "SliceOptions")
        operands = [value, self.value] if self.data.draw(st.booleans()) else [self.value, value]
        self.to(kind, operands, shape, table)

    def activation(self) -> None:
        kind, table, options = self.data.draw(
            st.sampled_from(
                [
                    ("LOGISTIC", "", {}),
                    ("TANH", "", {}),
                    ("ELU", "", {}),
                    ("RELU", "", {}),
                    ("LEAKY_RELU", "LeakyReluOptions", {"alpha": 0.25}),
                ]
            )
        )
        self.to(kind, [self.value], self.shape, table, **options)

    def dense(self) -> None:
        weight = self.made.constant(self.name(), by_hand.normal(3, self.shape[-1], seed=self.number))
        shape = (*self.shape[:-1], 3)
        fused = self.data.draw(st.sampled_from(["NONE", "RELU", "RELU6"]))
        code = getattr(schema.ActivationFunctionType, fused)
        self.to(
            "FULLY_CONNECTED",
            [self.value, weight, -1],
            shape,
            "FullyConnectedOptions",
            keepNumDims=True,
            fusedActivationFunction=code,
        )

    def file(self) -> bytes:
        size = int(np.prod(self.shape))
        flat = self.made.reshape(self.value, "flat", (1, size))
        y = self.made.dense(flat, "head", by_hand.normal(4, size, scale=0.3), by_hand.normal(4))
        return self.made.file([self.x], [y])


STEPS = (
    *("reshape", "slice", "strided_slice", "join", "split", "unpack", "pad", "scaled", "activation", "dense"),
    *("transpose", "picked", "reverse", "reduce", "repeated"),
)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_any_chain_of_operators_means_what_litert_computes(data: st.DataObject) -> None:
    drawn = Drawn(data)
    for step in data.draw(st.lists(st.sampled_from(STEPS), min_size=1, max_size=5)):
        getattr(drawn, step)()
    read = loaded(drawn.file())  # compared with LiteRT by load_tflite itself
    assert read.graph.ops


def test_what_is_added_after_padding_is_added_to_the_zeros_too() -> None:
    """A bias of the layer before them would leave them zeros."""
    made = by_hand.Maker()
    x, pads = made.value("x", (1, 6, 4)), made.constant("pads", np.array([[0, 0], [0, 1], [0, 0]], np.int32))
    weight, bias = made.constant("w", by_hand.normal(3, 4)), made.constant("b", by_hand.normal(3))
    layer = made.op(
        "FULLY_CONNECTED", [x, weight, -1], [made.value("h", (1, 6, 3))], "FullyConnectedOptions", keepNumDims=True
    )
    padded = made.op("PAD", [layer, pads], [made.value("p", (1, 7, 3))], "PadOptions")
    added = made.op("ADD", [padded, bias], [made.value("a", (1, 7, 3))], "AddOptions")
    flat = made.reshape(added, "flat", (1, 21))
    y = made.dense(flat, "head", by_hand.normal(4, 21, scale=0.3), by_hand.normal(4))
    assert [op.kind for op in loaded(made.file([x], [y])).graph.ops].count("add") == 1  # and equals LiteRT


@settings(max_examples=60, deadline=None)
@given(
    taps=st.integers(1, 4),
    stride=st.integers(1, 3),
    dilation=st.integers(1, 3),
    same=st.booleans(),
    tall=st.booleans(),
    fused=st.sampled_from(["NONE", "RELU", "RELU6"]),
    pads=st.sampled_from([None, (2, 0), (1, 3)]),
)
def test_convolutions_along_either_axis(
    taps: int, stride: int, dilation: int, same: bool, tall: bool, fused: str, pads: tuple[int, int] | None
) -> None:
    if dilation > 1 and stride > 1:
        stride = 1
    made, length, channels = by_hand.Maker(), 12, 2
    x = made.value("x", (1, length, channels))
    value = x
    if pads:
        length += sum(pads)
        table = made.constant("pads", np.array([[0, 0], pads, [0, 0]], np.int32))
        value = made.op("PAD", [x, table], [made.value("padded", (1, length, channels))], "PadOptions")
    image = made.reshape(value, "image", (1, length, 1, channels) if tall else (1, 1, length, channels))
    count = -(-length // stride) if same else (length - (taps - 1) * dilation - 1) // stride + 1
    weight = by_hand.normal(5, taps, 1, channels) if tall else by_hand.normal(5, 1, taps, channels)
    h = made.op(
        "CONV_2D",
        [image, made.constant("filter", weight), made.constant("filter bias", by_hand.normal(5))],
        [made.value("h", (1, count, 1, 5) if tall else (1, 1, count, 5))],
        "Conv2DOptions",
        padding=schema.Padding.SAME if same else schema.Padding.VALID,
        strideH=stride if tall else 1,
        strideW=1 if tall else stride,
        dilationHFactor=dilation if tall else 1,
        dilationWFactor=1 if tall else dilation,
        fusedActivationFunction=getattr(schema.ActivationFunctionType, fused),
    )
    flat = made.reshape(h, "flat", (1, 5 * count))
    y = made.dense(flat, "head", by_hand.normal(2, 5 * count, scale=0.2), by_hand.normal(2))
    graph = loaded(made.file([x], [y])).graph
    (conv,) = [op for op in graph.ops if op.kind in ("conv_1d", "fully_connected")][:1]
    assert not any(op.kind == "concat" for op in graph.ops), "the convolution pads by itself"
    assert conv.attrs["activation"] == (fused.lower() if fused.startswith("RELU") else "none")


def test_a_constant_sequence_is_cut_with_what_it_is_added_to() -> None:
    made = by_hand.Maker()
    x = made.value("x", (1, 6, 2))
    positions = made.constant("positions", by_hand.normal(1, 6, 2))
    h = made.op("ADD", [x, positions], [made.value("h", (1, 6, 2))], "AddOptions")
    ends = [made.constant(name, np.array(v, np.int32)) for name, v in (("begin", [0, 4, 0]), ("size", [1, 2, 2]))]
    last = made.op("SLICE", [h, *ends], [made.value("last", (1, 2, 2))], "SliceOptions")
    y = made.dense(made.reshape(last, "flat", (1, 4)), "head", by_hand.normal(2, 4), by_hand.normal(2))
    graph = loaded(made.file([x], [y])).graph
    (add,) = [op for op in graph.ops if op.kind == "add"]
    assert [graph.tensors[name].shape for name in add.inputs] == [(1, 2, 2), (1, 2, 2)]


def test_more_are_joined_than_an_operator_takes() -> None:
    made = by_hand.Maker()
    x = made.value("x", (1, 13, 2))
    parts = [made.value(f"part {n}", (1, 2)) for n in range(13)]
    made.op("UNPACK", [x], parts, "UnpackOptions", num=13, axis=1)
    constants = [made.constant(f"constant {n}", by_hand.normal(1, 2, seed=n)) for n in range(12)]
    h = made.op("CONCATENATION", [*parts[::-1], *constants], [made.value("h", (1, 50))], "ConcatenationOptions", axis=1)
    y = made.dense(h, "head", by_hand.normal(2, 50, scale=0.2), by_hand.normal(2))
    joined = [len(op.inputs) for op in loaded(made.file([x], [y])).graph.ops if op.kind == "concat"]
    assert len(joined) > 1
    assert max(joined) == 10


@pytest.mark.parametrize(("kind", "read"), [("MEAN", ["mean"]), ("SUM", ["mean", "mul"])])
def test_a_mean_or_a_sum_over_time_and_a_sample_that_is_repeated(kind: str, read: list[str]) -> None:
    made = by_hand.Maker()
    x = made.value("x", (1, 6, 2))
    axes = made.constant("axes", np.array([1], np.int32))
    mean = made.op(kind, [x, axes], [made.value("mean", (1, 1, 2))], "ReducerOptions", keepDims=True)
    rest = made.op("SUB", [x, mean], [made.value("rest", (1, 6, 2))], "SubOptions")
    y = made.dense(made.reshape(rest, "flat", (1, 12)), "head", by_hand.normal(2, 12), by_hand.normal(2))
    kinds = [op.kind for op in loaded(made.file([x], [y])).graph.ops]
    assert kinds == [*read, "sub", "reshape", "fully_connected"]


def test_a_value_a_sample_that_is_repeated_over_the_channels() -> None:
    made = by_hand.Maker()
    x = made.value("x", (1, 3, 12))
    cut = [made.constant(name, np.array(values, np.int32)) for name, values in (("b", [0, 0, 4]), ("s", [1, 3, 1]))]
    share = made.op("SLICE", [x, *cut], [made.value("share", (1, 3, 1))], "SliceOptions")
    both = made.op("MUL", [x, share], [made.value("both", (1, 3, 12))], "MulOptions")
    y = made.dense(made.reshape(both, "flat", (1, 36)), "head", by_hand.normal(12, 36), by_hand.normal(12))
    kinds = [op.kind for op in loaded(made.file([x], [y])).graph.ops]
    assert kinds == ["transpose", "slice", "reshape", "mul", "transpose", "reshape", "fully_connected"]


@pytest.mark.parametrize("transposed", [False, True])
def test_a_product_with_a_constant_is_a_layer_and_what_is_added_its_bias(transposed: bool) -> None:
    made = by_hand.Maker()
    x = made.value("x", (1, 4, 2))
    flat = made.reshape(x, "flat", (1, 8))
    weight = by_hand.normal(2, 8) if transposed else by_hand.normal(8, 2)
    product = made.op(
        "BATCH_MATMUL",
        [flat, made.constant("kernel", weight)],
        [made.value("product", (1, 2))],
        "BatchMatMulOptions",
        adjY=transposed,
    )
    bias = made.constant("bias", by_hand.normal(2))
    y = made.op("ADD", [product, bias], [made.value("y", (1, 2))], "AddOptions")
    content = made.file([x], [y])
    read = loaded(content)
    assert [op.kind for op in read.graph.ops] == ["reshape", "fully_connected"]
    assert read.graph.ops[1].inputs[1:] == ("kernel", "bias")
    assert read.graph.tensors["kernel"].shape == (2, 8)
    bias_part = tflite_system(content, "m").output_bias
    assert bias_part is not None
    assert bias_part.name == "bias"


@pytest.mark.parametrize(
    ("compared", "limit", "read", "attrs"),
    [("GREATER_EQUAL", 0.0, "elu", {}), ("GREATER", 20.0, "function", {"name": "softplus", "parameters": ()})],
)
def test_functions_that_are_written_as_a_selection(
    compared: str, limit: float, read: str, attrs: dict[str, Any]
) -> None:
    made = by_hand.Maker()
    x = made.value("x", (1, 4, 2))
    inner = made.op("EXP", [x], [made.value("exp", (1, 4, 2))])
    one = made.constant("one", np.array([1.0], np.float32))
    if read == "elu":
        inner = made.op("SUB", [inner, one], [made.value("less", (1, 4, 2))], "SubOptions")
    else:
        inner = made.op("ADD", [inner, one], [made.value("more", (1, 4, 2))], "AddOptions")
        inner = made.op("LOG", [inner], [made.value("log", (1, 4, 2))])
    at = made.constant("at", np.array([limit], np.float32))
    condition = made.op(compared, [x, at], [made.value("which", (1, 4, 2), "BOOL")])
    bent = made.op("SELECT_V2", [condition, x, inner], [made.value("bent", (1, 4, 2))])
    y = made.dense(made.reshape(bent, "flat", (1, 8)), "head", by_hand.normal(2, 8), by_hand.normal(2))
    first, *_ = loaded(made.file([x], [y])).graph.ops
    assert (first.kind, first.attrs) == (read, attrs)


def test_a_weight_that_no_forecast_depends_on_is_left_out(tmp_path: Path) -> None:
    made = by_hand.Maker()
    x = made.value("x", (1, 4, 2))
    flat = made.reshape(x, "flat", (1, 8))
    both = [made.dense(flat, name, by_hand.normal(2, 8, seed=n), by_hand.normal(2)) for n, name in enumerate("ab")]
    joined = made.op("CONCATENATION", both, [made.value("ab", (1, 4))], "ConcatenationOptions", axis=1)
    ends = [made.constant(name, np.array(v, np.int32)) for name, v in (("begin", [0, 0]), ("size", [1, 2]))]
    first = made.op("SLICE", [joined, *ends], [made.value("y", (1, 2))], "SliceOptions")
    path = tmp_path / "model.tflite"
    path.write_bytes(made.file([x], [first]))
    opened = open_model(path)
    read, graph = opened.need_graph()
    assert [*graph.weights()] == [*opened.system.weights] == [*opened.opener().weights] == ["a weight"]
    assert "No forecast depends on b weight" in read.notes[0]


def test_attention_and_functions_of_one_value() -> None:
    made = by_hand.Maker()
    x = made.value("x", (1, 4, 2))
    operands = [x, x]
    scores = made.op("BATCH_MATMUL", operands, [made.value("scores", (1, 4, 4))], "BatchMatMulOptions", adjY=True)
    chances = made.op("SOFTMAX", [scores], [made.value("chances", (1, 4, 4))], "SoftmaxOptions", beta=0.5)
    mixed = made.op("BATCH_MATMUL", [chances, x], [made.value("mixed", (1, 4, 2))], "BatchMatMulOptions")
    bent = made.op("GELU", [mixed], [made.value("bent", (1, 4, 2))], "GeluOptions", approximate=True)
    bent = made.op("HARD_SWISH", [bent], [made.value("hard", (1, 4, 2))], "HardSwishOptions")
    y = made.dense(made.reshape(bent, "flat", (1, 8)), "head", by_hand.normal(2, 8), by_hand.normal(2))
    graph = loaded(made.file([x], [y])).graph
    kinds = ["batch_matmul", "softmax", "batch_matmul", "function", "function", "reshape", "fully_connected"]
    assert [op.kind for op in graph.ops] == kinds


# --- what is refused --------------------------------------------------------------------------------------------------


def refused(model: bytes, says: str) -> None:
    with pytest.raises(ModelError, match=says) as error:
        loaded(model)
    assert error.value.message.startswith("m.tflite: ")
    assert error.value.hint


def test_operators_in_a_form_that_no_graph_holds() -> None:
    refused(by_hand.product_model(left=True), "operator BATCH_MATMUL: its left operand is a constant")
    refused(by_hand.upsampling_model(), "TRANSPOSE_CONV is not supported")
    refused(by_hand.lstm_model(), "UNIDIRECTIONAL_SEQUENCE_LSTM is not supported")


def test_an_operator_that_would_take_too_many_pieces_is_named() -> None:
    made = by_hand.Maker()
    x = made.value("x", (1, 600, 2))
    places = made.constant("places", np.random.default_rng(0).permutation(600).astype(np.int32))
    mixed = made.op("GATHER", [x, places], [made.value("mixed", (1, 600, 2))], "GatherOptions", axis=1)
    axes = made.constant("axes", np.array([1], np.int32))
    mean = made.op("MEAN", [mixed, axes], [made.value("mean", (1, 2))], "ReducerOptions")
    y = made.dense(mean, "head", by_hand.normal(2, 2), by_hand.normal(2))
    refused(made.file([x], [y]), "its operator MEAN: it reorders the values of x")


def test_rows_of_a_batch_between_each_other_are_taken_as_they_lie() -> None:
    """As PyTorch's attention leaves them: no move of the values before the dense layer, nor after it."""
    made = by_hand.Maker()
    x = made.value("x", (1, 12, 4))
    deep = made.reshape(x, "deep", (3, 4, 4))
    order = made.constant("order", np.array([1, 0, 2], np.int32))
    turned = made.op("TRANSPOSE", [deep, order], [made.value("turned", (4, 3, 4))], "TransposeOptions")
    weight = made.constant("w", by_hand.normal(5, 4))
    h = made.op(
        "FULLY_CONNECTED", [turned, weight, -1], [made.value("h", (4, 3, 5))], "FullyConnectedOptions", keepNumDims=True
    )
    back = made.op("TRANSPOSE", [h, order], [made.value("back", (3, 4, 5))], "TransposeOptions")
    y = made.dense(made.reshape(back, "flat", (1, 60)), "head", by_hand.normal(4, 60), by_hand.normal(4))
    kinds = [op.kind for op in loaded(made.file([x], [y])).graph.ops]
    assert kinds == ["conv_1d", "reshape", "fully_connected"]


@pytest.mark.parametrize(("shape", "order"), [((1, 4, 2), (0, 2, 1)), ((1, 2, 2, 2), (0, 3, 1, 2))])
def test_rows_and_columns_are_exchanged(shape: tuple[int, ...], order: tuple[int, ...]) -> None:
    made = by_hand.Maker()
    x = made.value("x", (1, 4, 2))
    deep = x if shape == (1, 4, 2) else made.reshape(x, "deep", shape)
    axes = made.constant("order", np.array(order, np.int32))
    after = tuple(shape[axis] for axis in order)
    turned = made.op("TRANSPOSE", [deep, axes], [made.value("turned", after)], "TransposeOptions")
    y = made.dense(made.reshape(turned, "flat", (1, 8)), "head", by_hand.normal(2, 8), by_hand.normal(2))
    read = loaded(made.file([x], [y]))  # which has compared it with LiteRT
    assert [op.kind for op in read.graph.ops] == ["transpose", "reshape", "fully_connected"]


def test_a_model_that_predicts_a_part_of_its_inputs() -> None:
    made = by_hand.Maker()
    x = made.value("x", (1, 4, 2))
    y = made.dense(made.reshape(x, "flat", (1, 8)), "head", by_hand.normal(1, 8), by_hand.normal(1))
    content = made.file([x], [y])
    graph = load_tflite(content, tflite_system(content, "m", Said(known_ahead=(1,))), "m.tflite").graph
    assert graph.forecast.outputs == 1
    assert graph.forecast.exogenous == (1,)


def test_a_graph_that_differs_from_litert_is_a_defect(monkeypatch: Any) -> None:
    content = by_hand.dense_model()
    right = tflite_import._import
    head = by_hand.normal(2, 8, scale=0.3)

    def wrong(model: bytes, system: Any, output: None) -> Graph:
        other = (head + np.float32(0.01)).tobytes()
        return right(model.replace(head.tobytes(), other), system, output)

    monkeypatch.setattr(tflite_import, "_import", wrong)
    with pytest.raises(CheckError, match=r"m.tflite: the float graph differs from LiteRT by 0\.\d+"):
        loaded(content)


def test_options_that_a_file_does_not_have(tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    with pytest.raises(ModelError, match=r"model\.tflite: No such file"):
        open_model(path)
    path.write_bytes(by_hand.dense_model())
    assert open_model(path, window=4, recurrence="windowed").loaded is not None
    with pytest.raises(UsageError, match=r"--window 5: .* was converted for a window of 4"):
        open_model(path, window=5)
    with pytest.raises(UsageError, match="keeps no state"):
        open_model(path, recurrence="stateful")
    with pytest.raises(ModelError, match="may be 2 samples of 1, or one sample of 2"):
        open_model(path, said=Said(feedback=(0, None)))
    known_ahead = open_model(path, said=Said(feedback=(0, None), steps=1))
    assert known_ahead.system.exogenous == known_ahead.need_graph()[1].forecast.exogenous == (1,)
    swapped = open_model(path, said=Said(feedback=(1, 0)))
    assert swapped.need_graph()[1].forecast.feedback == (1, 0)


# --- without TensorFlow -----------------------------------------------------------------------------------------------


def run(arguments: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """The command line in a Python that cannot import TensorFlow or Keras."""
    code = (
        "import sys\nsys.modules.update({'tensorflow': None, 'keras': None})\n"
        f"sys.path.insert(0, {str(ROOT)!r})\nfrom edge_tqs.cli.main import main\n"
        f"sys.argv = ['edge-tqs', *{arguments!r}]\nmain()"
    )
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=folder)


@pytest.mark.parametrize(("name", "rounding"), [("tcn", "compensated"), ("lstm", "nearest")])
def test_a_file_is_scored_planned_built_and_validated_without_tensorflow(
    name: str, rounding: str, tmp_path: Path
) -> None:
    (tmp_path / "model.tflite").write_bytes(tflite_models.convert(tflite_models.build(name)))
    common = ["--horizon", "12", "--no-cache"]
    mean = ["--mean-bits", "6", "--rounding", rounding, *common]
    for arguments in (
        ["score", "model.tflite", *common],
        ["plan", "model.tflite", *mean],
        ["build", "model.tflite", "--board", "host", "--out", "out", *mean],
        ["validate", "out"],
    ):
        done = run(arguments, tmp_path)
        assert done.returncode == 0, (arguments, done.stdout, done.stderr)
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["host"]["tflm_bit_exact"] is not False
    assert {tensor["width"] for tensor in report["tensors"]} == {4, 8}


def test_a_file_that_cannot_be_built_says_so_in_one_line_and_is_planned(tmp_path: Path) -> None:
    (tmp_path / "model.tflite").write_bytes(by_hand.upsampling_model())
    done = run(["build", "model.tflite", "--board", "host", "--out", "out"], tmp_path)
    assert done.returncode == 2
    assert "TRANSPOSE_CONV is not supported" in done.stderr
    assert "Traceback" not in done.stderr
    planned = run(["plan", "model.tflite", "--mean-bits", "6", "--horizon", "12", "--no-cache"], tmp_path)
    assert planned.returncode == 0, planned.stderr


def test_a_loop_is_scored_but_not_built() -> None:
    keras = import_tensorflow().keras
    model = keras.Sequential([keras.Input((6, 2)), keras.layers.GRU(4), keras.layers.Dense(2)])
    content = tflite_models.convert(model)
    assert len(tflite_system(content, "m").weights) == 3
    refused(content, "it cannot be built: .*WHILE")
    with pytest.raises(ModelError) as refusal:
        loaded(content)
    assert "give the .keras file" in refusal.value.hint


# --- one of several outputs -------------------------------------------------------------------------------------------


def two_heads() -> bytes:
    """A shared dense layer and two heads: the next sample, "near", and a block of three, "far"."""
    made = by_hand.Maker()
    x = made.value("x", (1, 4, 2))
    trunk = made.dense(made.reshape(x, "flat", (1, 8)), "trunk", by_hand.normal(5, 8), by_hand.normal(5))
    near = made.dense(trunk, "near", by_hand.normal(2, 5), by_hand.normal(2))
    far = made.dense(trunk, "far", by_hand.normal(6, 5), by_hand.normal(6))
    return made.file([x], [near, far])


@pytest.mark.parametrize(("wanted", "steps"), [("near", 1), ("far", 3)])
def test_one_of_several_outputs_is_chosen(wanted: str, steps: int, tmp_path: Path) -> None:
    path = tmp_path / "two.tflite"
    path.write_bytes(two_heads())
    place = ["near", "far"].index(wanted)
    for output in (wanted, str(place)):
        opened = open_model(path, output=output, said=Said(steps=steps))
        assert opened.loaded is not None, opened.refusal
        graph = opened.loaded.graph
        assert (graph.forecast.outputs, graph.forecast.steps) == (2, steps)
        other = ["far", "near"][place]
        assert set(graph.weights()) == set(opened.system.weights)
        assert not any(other in name for name in opened.system.weights)
        seeds = np.random.default_rng(2).normal(size=(3, 4, 2)).astype(np.float32)
        expected = opened.system.roll(seeds, 6)
        np.testing.assert_allclose(float_rollout(graph, seeds, 6).outputs, expected, rtol=1e-4, atol=1e-4)


def test_several_outputs_are_listed_where_none_is_chosen(tmp_path: Path) -> None:
    path = tmp_path / "two.tflite"
    path.write_bytes(two_heads())
    with pytest.raises(ModelError, match="has 2 outputs: near, far") as none:
        open_model(path)
    assert "--output near" in none.value.hint
    with pytest.raises(UsageError, match="--output middle") as wrong:
        open_model(path, output="middle")
    assert "near" in wrong.value.hint
