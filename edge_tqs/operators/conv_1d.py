"""conv_1d: a dense layer over the taps of a window.

y[t] = activation(sum over k of w[:, k] x[t * stride + k * dilation - left] + b), zeros beyond the window; a weight is
(M, taps, channels). One tap is a dense layer at each sample.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from edge_tqs.errors import ModelError
from edge_tqs.graph.graph import CODE_TYPES, Array, Graph, Op
from edge_tqs.graph.shapes import conv_length
from edge_tqs.graph.signature import Shape, Signature
from edge_tqs.operators import dense
from edge_tqs.operators.operator import (
    Builtin,
    DenseLayer,
    Function,
    Operator,
    Reader,
    Reasons,
    TypedOperator,
    Writer,
    typed_weight,
)

#: of a convolution over time
ATTRIBUTES = frozenset({"stride", "dilation", "left", "right", "activation"})


def taps(x: Array, weight_shape: tuple[int, ...], op: Op, padding: Any) -> Array:
    """What each output sample reads: x (N, W, I) to (N, W', K * I), ``padding`` where it looks beyond the window."""
    attrs, count, channels = op.attrs, weight_shape[1], weight_shape[2]
    length = conv_length(x.shape[1], count, attrs)
    padded = np.pad(x, ((0, 0), (attrs["left"], attrs["right"]), (0, 0)), constant_values=padding)
    first = np.arange(length)[:, None] * attrs["stride"]
    read: Array = padded[:, first + np.arange(count) * attrs["dilation"]]
    return read.reshape(x.shape[0], length, count * channels)


def _compute(graph: Graph, op: Op) -> Function:
    weight = graph.tensors[op.inputs[1]]
    fused = dense.FUSED[op.attrs["activation"]]
    bias = graph.tensors[op.inputs[2]].data if len(op.inputs) == 3 else np.float32(0)
    if weight.data is None or bias is None:
        raise ModelError(f"{graph.name}: the weight or bias of the conv_1d to {op.outputs[0]} is not a constant")
    matrix = weight.data.reshape(weight.shape[0], -1).T.copy()
    return lambda x, *_: fused(taps(x, weight.shape, op, 0) @ matrix + bias)


def _traced(tf: Any, graph: Graph, op: Op) -> Any:
    stride, dilation, left, right = (op.attrs[name] for name in ("stride", "dilation", "left", "right"))

    def convolve(x: Any, w: Any, b: Any = None) -> Any:
        rows, count, channels = w.shape
        length = conv_length(x.shape[-2], count, op.attrs)
        padded = tf.pad(x, [[0, 0]] * (x.shape.rank - 2) + [[left, right], [0, 0]])
        first = [k * dilation for k in range(count)]
        read = tf.concat([padded[..., k : k + (length - 1) * stride + 1 : stride, :] for k in first], -1)
        return dense.product(tf, op.attrs["activation"], read, tf.reshape(w, (rows, count * channels)), b)

    return convolve


def _reads(graph: Graph, op: Op) -> Function:
    shape = graph.tensors[op.inputs[1]].shape
    return lambda x: taps(x, shape, op, 0)[None]


def _integer(graph: Graph, op: Op) -> Function:
    """Beyond the window lies 0.0."""
    layer, shape = dense.integer_layer(graph, op), graph.tensors[op.inputs[1]].shape
    zero_point = graph.quant(op.inputs[0]).zero_point
    return lambda x, *_: layer(taps(x, shape, op, zero_point))


def _layer(graph: Graph, op: Op) -> DenseLayer:
    _, samples, channels = graph.tensors[op.inputs[0]].shape
    count, attrs = graph.tensors[op.inputs[1]].shape[1], op.attrs
    layer = replace(
        dense.layer(graph, op), samples=graph.tensors[op.outputs[0]].shape[1], step=attrs["stride"] * channels
    )
    if count == 1 and not attrs["left"] and not attrs["right"]:
        return layer  # each output sample reads one of the window: nothing to gather
    fields = {
        "samples": samples,
        "channels": channels * CODE_TYPES[graph.type_of(op)].itemsize,
        "taps": count,
        "stride": attrs["stride"],
        "dilation": attrs["dilation"],
        "left": attrs["left"],
        "zero_point": graph.quant(op.inputs[0]).zero_point,
    }
    if max(fields.values()) > dense.MOST:
        raise ModelError(f"{graph.name}: {op.kind} to {op.outputs[0]} has numbers beyond {dense.MOST}: {fields}")
    return replace(layer, taps=fields)


# --- the flatbuffer: a PAD where it looks beyond the window, and a convolution over an image of height 1 --------------


def write_convolution(
    writer: Writer, builtin: str, op: Op, inputs: list[int], outputs: list[int], **options: Any
) -> None:
    """Write ``op``, which has this module's attributes, as ``builtin``."""
    x, left, right = inputs[0], op.attrs["left"], op.attrs["right"]
    if left or right:
        name = op.inputs[0]
        _, length, channels = writer.graph.tensors[name].shape
        is_first = not writer.known(f"{name}/pad {left} {right}")
        padded = writer.helper(f"{name}/pad {left} {right}", (1, 1, left + length + right, channels), name)
        if is_first:  # the first reader of this padding makes it
            along_width = np.array([[0, 0], [0, 0], [left, right], [0, 0]], np.int32)
            writer.append("pad", [x, writer.operand(f"i32/pad {left} {right}", along_width)], [padded])
        x = padded
    stride, dilation = op.attrs["stride"], op.attrs["dilation"]
    operands = [x, inputs[1], writer.bias(op)]
    writer.convolve(builtin, op, operands, outputs, strideW=stride, dilationWFactor=dilation, **options)


def read_convolution(reader: Reader, kind: str, op: Any) -> Op:
    """The ``kind`` that was written as the flatbuffer's convolution ``op``, with the PAD in front of it."""
    inputs, padding = reader.inputs(op), reader.made_by(op.inputs[0])
    left = right = 0
    if padding is not None and inputs[0].startswith(f"{reader.name(padding.inputs[0])}/pad "):
        left, right = (int(value) for value in reader.operand(padding.inputs[1])[2])
        inputs = (reader.name(padding.inputs[0]), *inputs[1:])
    options = op.builtinOptions
    attrs = {"stride": int(options.strideW), "dilation": int(options.dilationWFactor), "left": left, "right": right}
    return Op(kind, inputs, (reader.name(op.outputs[0]),), {**attrs, "activation": reader.activation(op)})


def _write(writer: Writer, op: Op, inputs: list[int], outputs: list[int]) -> None:
    write_convolution(writer, "conv_2d", op, inputs, outputs)


def _read(reader: Reader, builtin: str, op: Any) -> Op | None:
    if builtin == "pad":
        return None  # read with the convolution that reads it
    if len(reader.shape(op.inputs[0])) == 2:
        return dense.read(reader, op)
    return read_convolution(reader, "conv_1d", op)


# --- where it runs ----------------------------------------------------------------------------------------------------

NO_CONVOLUTION = "the generated C has no convolution"
_ONE_D = "TensorFlow Lite has no convolution over time: it is written as CONV_2D"
WRONG = "it computes int16 activations with int4 weights wrongly and reports no error"
REFUSED_16X4 = "int16 activations with int4 weights are refused"

_REASONS: dict[TypedOperator, Reasons] = {
    **{
        TypedOperator("conv_1d", activation, weight, granularity): dict.fromkeys(
            ("litert", "tflite-runtime", "tflm"), _ONE_D
        )
        for activation in ("int8", "int16")
        for weight in ("int8", "int4")
        for granularity in ("per_channel", "per_tensor")
    },
    TypedOperator("conv_2d", "int8", "int8", "per_channel"): {"c": NO_CONVOLUTION},
    TypedOperator("conv_2d", "int8", "int8", "per_tensor"): {"c": NO_CONVOLUTION},
    TypedOperator("conv_2d", "int8", "int4", "per_channel"): {"c": NO_CONVOLUTION},
    TypedOperator("conv_2d", "int8", "int4", "per_tensor"): {"c": NO_CONVOLUTION},
    TypedOperator("conv_2d", "int16", "int8", "per_channel"): {"c": NO_CONVOLUTION},
    TypedOperator("conv_2d", "int16", "int8", "per_tensor"): {"c": NO_CONVOLUTION},
    TypedOperator("conv_2d", "int16", "int4", "per_channel"): {
        "tflite-runtime": WRONG,
        "tflm": REFUSED_16X4,
        "c": NO_CONVOLUTION,
    },
    **{TypedOperator("pad", activation): {} for activation in ("int8", "int16")},
}


def around(graph: Graph, op: Op, runtime: str) -> tuple[TypedOperator, ...]:
    """What stands around a convolution over an image of ``op`` in a flatbuffer."""
    activation = graph.tensors[op.inputs[0]].dtype
    return () if runtime == "c" else (TypedOperator("reshape", activation), TypedOperator("pad", activation))


def _emitted(graph: Graph, op: Op, runtime: str) -> tuple[TypedOperator, ...]:
    return *around(graph, op, runtime), typed_weight(graph, op, "conv_1d" if runtime == "c" else "conv_2d")


def _fit(attrs: Mapping[str, Any], inputs: Sequence[Shape], outputs: Sequence[Shape]) -> bool:
    x, weight = inputs[:2]
    if len(x) != 3 or len(weight) != 3 or attrs["stride"] < 1 or attrs["dilation"] < 1:
        return False
    rows, taps, channels = weight
    good = x[0] == 1 and x[2] == channels and min(attrs["left"], attrs["right"]) >= 0
    good = good and outputs == [(1, conv_length(x[1], taps, attrs), rows)]
    return good and (len(inputs) == 2 or inputs[2] == (rows,))


OPERATOR = Operator(
    kind="conv_1d",
    signature=Signature(2, 3, ATTRIBUTES, _fit, is_weighted=True, is_convolution=True),
    compute=_compute,
    traced=_traced,
    integer=_integer,
    call=_layer,
    builtins={"conv_2d": Builtin("CONV_2D", 3, "Conv2DOptions", 4), "pad": Builtin("PAD", 2, "PadOptions", 3)},
    write=_write,
    read=_read,
    reasons=_REASONS,
    emitted=_emitted,
    reads=_reads,
)
