"""depthwise_1d: each channel convolved with filters of its own.

y[t, c * m + j] = sum over k of w[c * m + j, k] * x[t * stride + k * dilation - left, c] + b[c * m + j]. One tap is a
scale and an offset for each channel.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from edge_tqs.errors import ModelError
from edge_tqs.graph.graph import Array, Graph, Op
from edge_tqs.graph.shapes import conv_length
from edge_tqs.graph.signature import Shape, Signature
from edge_tqs.operators import codes
from edge_tqs.operators.arithmetic import int8 as integer
from edge_tqs.operators.arithmetic import int16 as integer16
from edge_tqs.operators.conv_1d import (
    ATTRIBUTES,
    REFUSED_16X4,
    WRONG,
    around,
    read_convolution,
    taps,
    write_convolution,
)
from edge_tqs.operators.operator import (
    Builtin,
    Call,
    Filter,
    Function,
    Operator,
    Reader,
    Reasons,
    Table,
    TypedOperator,
    Writer,
    typed_weight,
)

_MOST = 0xFFFF


def _filtered(x: Array, weight: Array, op: Op, padding: int = 0) -> Array:
    """x (N, W, C), weight (C * m, K) -> (N, W', C * m), sums without the bias; ``padding`` lies beyond the window."""
    stride, dilation, left, right = (op.attrs[name] for name in ("stride", "dilation", "left", "right"))
    rows, taps = weight.shape
    length = conv_length(x.shape[1], taps, op.attrs)
    padded = np.pad(x, ((0, 0), (left, right), (0, 0)), constant_values=padding)
    total = np.zeros((x.shape[0], length, rows), weight.dtype)
    for k in range(taps):
        first = k * dilation
        read = padded[:, first : first + (length - 1) * stride + 1 : stride]
        total += np.repeat(read, rows // x.shape[2], axis=2) * weight[:, k]
    return total


def _constants(graph: Graph, op: Op) -> tuple[Array, Array]:
    weight = graph.tensors[op.inputs[1]].data
    bias = graph.tensors[op.inputs[2]].data if len(op.inputs) == 3 else np.zeros(1, np.float32)
    if weight is None or bias is None:
        raise ModelError(f"{graph.name}: the weight or bias of the depthwise_1d to {op.outputs[0]} is not a constant")
    return weight, bias


def _compute(graph: Graph, op: Op) -> Function:
    weight, bias = _constants(graph, op)
    fused = op.attrs["activation"]

    def depthwise(x: Array, *_: Array) -> Array:
        y = _filtered(x, weight, op) + bias
        low = np.float32(-np.inf if fused == "none" else 0)
        clipped: Array = np.clip(y, low, np.float32(6 if fused == "relu6" else np.inf))
        return clipped

    return depthwise


def _traced(tf: Any, graph: Graph, op: Op) -> Any:
    stride, dilation, left, right = (op.attrs[name] for name in ("stride", "dilation", "left", "right"))
    rows, taps = graph.tensors[op.inputs[1]].shape
    activation = {"none": tf.identity, "relu": tf.nn.relu, "relu6": tf.nn.relu6}[op.attrs["activation"]]

    def depthwise(x: Any, w: Any, b: Any = 0.0) -> Any:
        length = conv_length(x.shape[-2], taps, op.attrs)
        padded = tf.pad(x, [[0, 0]] * (x.shape.rank - 2) + [[left, right], [0, 0]])
        padded = padded if rows == x.shape[-1] else tf.repeat(padded, rows // x.shape[-1], axis=-1)
        first = [k * dilation for k in range(taps)]
        read = [padded[..., k : k + (length - 1) * stride + 1 : stride, :] * w[:, n] for n, k in enumerate(first)]
        return activation(tf.add_n(read) + b)

    return depthwise


def _reads(graph: Graph, op: Op) -> Function:
    """The samples of one channel, for as many rows as it has filters."""
    count = graph.tensors[op.inputs[1]].shape[1]

    def read(x: Array) -> Array:
        each = taps(x, (0, count, x.shape[2]), op, 0).reshape(*x.shape[:1], -1, count, x.shape[2])
        return each.transpose(3, 0, 1, 2)

    return read


def _integer(graph: Graph, op: Op) -> Function:
    weight, bias = (values.astype(np.int64) for values in _constants(graph, op))
    if graph.type_of(op) == "int16":
        wide = integer16.fully_connected_params(graph, op)
        return lambda x, *_: integer16.rescale_accumulators(wide, _filtered(x.astype(np.int64), weight, op) + bias)
    params = integer.fully_connected_params(graph, op)
    zero_point = params.input_zero_point
    return lambda x, *_: integer.rescale_accumulators(
        params, _filtered(x.astype(np.int64) - zero_point, weight, op) + bias
    )


def _call(graph: Graph, op: Op) -> Call:
    weight, bias = (values.astype(np.int64) for values in _constants(graph, op))
    rows, taps = weight.shape
    wide = graph.type_of(op) == "int16"
    made = integer16.fully_connected_params(graph, op) if wide else integer.fully_connected_params(graph, op)
    width = 4 if graph.tensors[op.inputs[1]].dtype == "int4" else 8
    filters = weight.T.astype(np.int8)
    packed = integer.pack_int4(filters).view(np.int8) if width == 4 else filters
    source = graph.tensors[op.inputs[0]]
    sizes = {
        "samples": source.shape[1],
        "channels": source.shape[2],
        "y_samples": graph.tensors[op.outputs[0]].shape[1],
        "multiplicity": rows // source.shape[2],
        "taps": taps,
        **{name: op.attrs[name] for name in ("stride", "dilation", "left")},
    }
    # The kernel reckons positions in 32 bits; no product of two such numbers leaves them.
    if max(*sizes.values(), rows) > _MOST or op.attrs["dilation"] * taps > _MOST:
        raise ModelError(f"{graph.name}: depthwise_1d to {op.outputs[0]} has numbers beyond {_MOST}: {sizes}")
    zero_points = (0, 0) if isinstance(made, integer16.FullyConnectedParams) else _zero_points(made)
    fields: dict[str, int | Table] = {
        "weights": Table("int8_t", packed, f"{graph.tensors[op.inputs[1]].dtype}, {taps} x {rows}"),
        "bias": Table("int32_t", np.broadcast_to(bias, (rows,))),
        "multiplier": Table("int32_t", made.multiplier),
        "shift": Table("int8_t", made.shift),
        **sizes,
        "x_zero_point": zero_points[0],
        "y_zero_point": zero_points[1],
        "low": made.low,
        "high": made.high,
        "width": width,
    }
    return Call("tqs_depthwise_s16" if wide else "tqs_depthwise_s8", "tqs_depthwise_t", fields)


#: the fewest channels that a kernel for some cores takes
_FEWEST = {"dsp": 4, "neon": 8, "mve": 1}


def _fast(graph: Graph, op: Op, call: Call, kernel: str) -> Call | None:
    weight, bias = (values.astype(np.int64) for values in _constants(graph, op))
    if call.fields["multiplicity"] != 1 or weight.shape[0] < _FEWEST[kernel.rpartition("_")[2]]:
        return None
    if call.fields["width"] == 4:  # in bytes: a filter has few weights, and half of a byte is no operand
        filters = Table("int8_t", weight.T.astype(np.int8), f"int4, in bytes, {weight.shape[1]} x {weight.shape[0]}")
        call = replace(call, fields={**call.fields, "weights": filters, "width": 8})
    if graph.type_of(op) == "int16":
        return _fast_16(graph, op, call, kernel)
    params = integer.fully_connected_params(graph, op)
    used = params.shift[params.multiplier != 0]
    peak = (np.abs(bias) + 255 * np.abs(weight).sum(axis=1)).max()
    if not np.isin(used, codes.SHIFTS).all() or peak >= 1 << 30:
        return None
    shift = np.where(params.multiplier == 0, -1, params.shift)
    of_rows: dict[str, Array] = {
        "bias": np.broadcast_to(bias, shift.shape),
        "multiplier": params.multiplier,
        "shift": -1 - shift if kernel == "tqs_depthwise_s8_dsp" else shift,
    }
    if kernel == "tqs_depthwise_s8_mve":
        of_rows = {name: _even_and_odd(values) for name, values in of_rows.items()}
    tables = {name: Table("int8_t" if name == "shift" else "int32_t", values) for name, values in of_rows.items()}
    return replace(call, kernel=kernel, fields={**call.fields, **tables})


def _fast_16(graph: Graph, op: Op, call: Call, kernel: str) -> Call | None:
    """Sums and the first 17 of each shift in 32 bits."""
    weight, bias = (values.astype(np.int64) for values in _constants(graph, op))
    params = integer16.fully_connected_params(graph, op)
    peak = (np.abs(bias) + 32768 * np.abs(weight).sum(axis=1)).max()
    if (params.shift[params.multiplier != 0] < 17).any() or peak >= 1 << 31:
        return None
    multiplier, shift = params.multiplier, np.where(params.multiplier == 0, 17, params.shift)
    fields = {"shift": Table("int8_t", shift - 17 if kernel == "tqs_depthwise_s16_dsp" else shift)}
    if kernel == "tqs_depthwise_s16_mve":
        of_rows = {"bias": np.broadcast_to(bias, shift.shape), "multiplier": multiplier << 16, "shift": 16 - shift}
        fields = {
            name: Table("int8_t" if name == "shift" else "int32_t", _even_and_odd(values))
            for name, values in of_rows.items()
        }
    return replace(call, kernel=kernel, fields={**call.fields, **fields})


def _even_and_odd(values: Array) -> Array:
    """(M,) as tqs_depthwise_s8_mve.c has them: of each eight the even, then the odd ones, filled up with zeros."""
    eights: Array = np.pad(values, (0, -values.size % 8)).reshape(-1, 4, 2).transpose(0, 2, 1).reshape(-1)
    return eights


def _zero_points(params: integer.FullyConnectedParams) -> tuple[int, int]:
    return params.input_zero_point, params.output_zero_point


def _write(writer: Writer, op: Op, inputs: list[int], outputs: list[int]) -> None:
    rows = writer.graph.tensors[op.inputs[1]].shape[0]
    channels = writer.graph.tensors[op.inputs[0]].shape[2]
    write_convolution(writer, "depthwise_conv_2d", op, inputs, outputs, depthMultiplier=rows // channels)


def _written_weight(graph: Graph, op: Op, weight: Array) -> Array:
    """Rows (M, K), one an output channel, as the filter (1, 1, K, M)."""
    return np.ascontiguousarray(weight.T)[None, None]


def _read_weight(written: Array) -> Array | None:
    return np.ascontiguousarray(written[0, 0].T) if written.ndim == 4 and written.shape[:2] == (1, 1) else None


def _read(reader: Reader, builtin: str, op: Any) -> Op:
    return read_convolution(reader, "depthwise_1d", op)


#: (activation, weight) -> {runtime: reason}
_REFUSED: dict[tuple[str, str], Reasons] = {
    ("int16", "int4"): {"litert": WRONG, "tflite-runtime": WRONG, "tflm": REFUSED_16X4}
}


def _emitted(graph: Graph, op: Op, runtime: str) -> tuple[TypedOperator, ...]:
    return *around(graph, op, runtime), typed_weight(graph, op)


def _fit(attrs: Mapping[str, Any], inputs: Sequence[Shape], outputs: Sequence[Shape]) -> bool:
    x, weight = inputs[:2]
    if len(x) != 3 or len(weight) != 2 or attrs["stride"] < 1 or attrs["dilation"] < 1:
        return False
    rows, taps = weight
    good = x[0] == 1 and rows % x[2] == 0 and min(attrs["left"], attrs["right"]) >= 0
    good = good and outputs == [(1, conv_length(x[1], taps, attrs), rows)]
    return good and (len(inputs) == 2 or inputs[2] == (rows,))


OPERATOR = Operator(
    kind="depthwise_1d",
    signature=Signature(2, 3, ATTRIBUTES, _fit, is_weighted=True, is_convolution=True),
    compute=_compute,
    traced=_traced,
    integer=_integer,
    call=_call,
    fast=_fast,
    builtins={"depthwise_conv_2d": Builtin("DEPTHWISE_CONV_2D", 3, "DepthwiseConv2DOptions", 5)},
    write=_write,
    read=_read,
    filter=Filter(_written_weight, _read_weight, axis=3),
    reasons={
        TypedOperator("depthwise_1d", activation, weight, granularity): _REFUSED.get((activation, weight), {})
        for activation in ("int8", "int16")
        for weight in ("int8", "int4")
        for granularity in ("per_channel", "per_tensor")
    },
    emitted=_emitted,
    reads=_reads,
)
