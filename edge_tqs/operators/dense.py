"""fully_connected: y = activation(w x + b), and what conv_1d shares with it: a dense layer at each output sample.

Its C has no call of its own: the core decides the kernel and how the weights are packed for it (emit_c.dense_kernels).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from edge_tqs.errors import ModelError
from edge_tqs.graph.graph import Array, Graph, Op
from edge_tqs.graph.signature import Shape, Signature
from edge_tqs.operators import codes
from edge_tqs.operators.arithmetic import int8 as integer
from edge_tqs.operators.arithmetic import int16 as integer16
from edge_tqs.operators.operator import (
    Builtin,
    DenseLayer,
    Filter,
    Function,
    Operator,
    Reader,
    Reasons,
    TypedOperator,
    Writer,
    typed_weight,
)

#: what a kernel counts in 16 bits
MOST = 0xFFFF
MICRO = ("tflite-runtime", "tflm")

FUSED: dict[str, Callable[[Array], Array]] = {
    "none": lambda y: y,
    "relu": lambda y: np.maximum(y, np.float32(0)),
    "relu6": lambda y: np.clip(y, np.float32(0), np.float32(6)),
}


# --- float ------------------------------------------------------------------------------------------------------------


def _compute(graph: Graph, op: Op) -> Function:
    fused = FUSED[op.attrs["activation"]]
    if graph.tensors[op.inputs[1]].data is None:
        raise ModelError(f"{graph.name}: the weight {op.inputs[1]} of a fully_connected is not a constant")
    if len(op.inputs) == 2:
        return lambda x, w: fused(x @ w.T)
    return lambda x, w, b: fused(x @ w.T + b)


def product(tf: Any, activation: str, x: Any, w: Any, b: Any = None) -> Any:
    """The layer in TensorFlow: x (..., K), w (M, K), b (M,) or none -> (..., M)."""
    # One matrix product over all rows: a batched one would multiply each (R, K) block on its own.
    y = tf.matmul(tf.reshape(x, (-1, x.shape[-1])), w, transpose_b=True)
    y = tf.reshape(y, (*x.shape[:-1], w.shape[0]))
    y = y if b is None else y + b
    return {"none": tf.identity, "relu": tf.nn.relu, "relu6": tf.nn.relu6}[activation](y)


def _traced(tf: Any, graph: Graph, op: Op) -> Any:
    return lambda *inputs: product(tf, op.attrs["activation"], *inputs)


def _reads(graph: Graph, op: Op) -> Function:
    return lambda x: x[None, :, None]


# --- integer ----------------------------------------------------------------------------------------------------------


def integer_layer(graph: Graph, op: Op) -> Function:
    """Codes (..., K) to codes (..., M); accumulates in float64, which is exact below 2^53."""
    tensor = graph.tensors[op.inputs[1]]
    bias = np.asarray(graph.tensors[op.inputs[2]].data if len(op.inputs) == 3 else 0, np.int64)
    if graph.type_of(op) == "int16":
        wide = integer16.fully_connected_params(graph, op)
        matrix = _matrix(tensor.data)
        return lambda x, *_: integer16.rescale_accumulators(
            wide, (x.astype(np.float64) @ matrix).astype(np.int64) + bias
        )
    params = integer.fully_connected_params(graph, op)
    weight = _matrix(tensor.data)
    offset = bias - params.input_zero_point * weight.sum(axis=0)
    return lambda x, *_: integer.rescale_accumulators(params, (x.astype(np.float64) @ weight + offset).astype(np.int64))


def _matrix(weight: Array | None) -> Array:
    """(K, M) float64 of a weight (M, ...)."""
    rows = np.asarray(weight, np.float64)
    return rows.reshape(rows.shape[0], -1).T.copy()


def layer(graph: Graph, op: Op) -> DenseLayer:
    """What the kernel of an integer layer computes; the K inputs of a weight (M, ...) are all that follows its rows.

    Raises ModelError for parameters that no kernel takes.
    """
    weight = graph.tensors[op.inputs[1]]
    matrix = codes.constant(graph, weight.name)
    matrix = matrix.reshape(matrix.shape[0], -1)
    rows, inputs = matrix.shape
    bias = codes.constant(graph, op.inputs[2]) if len(op.inputs) == 3 else np.zeros(rows, np.int64)
    width = 4 if weight.dtype == "int4" else 8
    if max(rows, inputs) > MOST:
        raise ModelError(f"{graph.name}: {weight.name} is {rows} x {inputs}; the C kernels take {MOST}")
    if graph.type_of(op) == "int16":
        too_large = np.abs(bias).max(initial=0) > integer.BIAS_LIMIT
        if too_large or np.abs(matrix).max(initial=0) > integer.WEIGHT_LIMIT[width]:
            raise ModelError(
                f"{graph.name}: a bias or weight of the layer {op.outputs[0]} is larger than the C kernels take",
                hint="Build the model again from its .keras file.",
            )
        wide = integer16.fully_connected_params(graph, op)
        return DenseLayer("int16", width, matrix, bias, 0, wide.multiplier, wide.shift, 0, wide.low, wide.high)
    p = integer.fully_connected_params(graph, op)
    ends = p.input_zero_point, p.multiplier, p.shift, p.output_zero_point
    return DenseLayer("int8", width, matrix, bias, *ends, p.low, p.high)


# --- the flatbuffer ---------------------------------------------------------------------------------------------------


def is_convolved(graph: Graph, op: Op) -> bool:
    """Whether ``op`` is written as RESHAPE, a 1x1 CONV_2D and RESHAPE: with int4 weights beside int8 activations, where
    each row has a scale. With one scale for all, every runtime takes the FULLY_CONNECTED.

    tflite-micro and tflite-runtime 2.14 refuse FULLY_CONNECTED with int4 weights per channel. Beside int16 activations
    the convolution would be silently wrong in tflite-runtime 2.14, which refuses the FULLY_CONNECTED; LiteRT computes
    both right.
    """
    weight = graph.tensors[op.inputs[1]]
    per_row = weight.quant is None or weight.quant.scale.size == weight.shape[0]
    return weight.dtype == "int4" and per_row and graph.type_of(op) == "int8"


def _write(writer: Writer, op: Op, inputs: list[int], outputs: list[int]) -> None:
    if not is_convolved(writer.graph, op):
        writer.append(op.kind, [*inputs, -1][:3], outputs, fusedActivationFunction=writer.activation(op))
        return
    rows, columns = writer.graph.tensors[op.inputs[1]].shape
    x, y = op.inputs[0], op.outputs[0]
    x_image, y_image = inputs[0], outputs[0]
    if not writer.is_vector_image(x):
        is_first = not writer.known(f"{x}/in")
        x_image = writer.helper(f"{x}/in", (1, 1, 1, columns), x)
        if is_first:  # the first reader of this image makes it
            writer.append("reshape", [inputs[0]], [x_image], newShape=[1, 1, 1, columns])
    if not writer.is_vector_image(y):
        y_image = writer.helper(f"{y}/out", (1, 1, 1, rows), y)
    writer.convolve("conv_2d", op, [x_image, inputs[1], writer.bias(op)], [y_image])
    if y_image != outputs[0]:
        writer.append("reshape", [y_image], outputs, newShape=[1, rows])


def _written_weight(graph: Graph, op: Op, weight: Array) -> Array:
    return weight[:, None, None] if is_convolved(graph, op) else weight


def _read_weight(written: Array) -> Array | None:
    if written.ndim == 4 and written.shape[1:3] == (1, 1):
        return written[:, 0, 0]
    return written if written.ndim == 2 else None


def _read(reader: Reader, builtin: str, op: Any) -> Op:
    return read(reader, op)


def read(reader: Reader, op: Any) -> Op:
    """A FULLY_CONNECTED, or the CONV_2D that an int4 one was written as."""
    return Op(
        "fully_connected", reader.inputs(op), (reader.name(op.outputs[0]),), {"activation": reader.activation(op)}
    )


# --- where it runs ----------------------------------------------------------------------------------------------------

_MICRO_INT4 = "FULLY_CONNECTED takes int4 weights per tensor only, CONV_2D is needed"
_REFUSED_16X4 = "int16 activations with int4 weights are refused"
_HYBRID = "float activations with integer weights are refused"
_C_IS_INTEGER = "the C kernels take int8 or int16 activations"

_REASONS: dict[TypedOperator, Reasons] = {
    TypedOperator("fully_connected", "int8", "int8", "per_channel"): {},
    TypedOperator("fully_connected", "int8", "int8", "per_tensor"): {},
    TypedOperator("fully_connected", "int8", "int4", "per_tensor"): {},
    TypedOperator("fully_connected", "int8", "int4", "per_channel"): dict.fromkeys(MICRO, _MICRO_INT4),
    TypedOperator("fully_connected", "int16", "int8", "per_channel"): {},
    TypedOperator("fully_connected", "int16", "int8", "per_tensor"): {},
    TypedOperator("fully_connected", "int16", "int4", "per_channel"): dict.fromkeys(MICRO, _REFUSED_16X4),
    TypedOperator("fully_connected", "int16", "int4", "per_tensor"): dict.fromkeys(MICRO, _REFUSED_16X4),
    TypedOperator("fully_connected", "float32", "int8", "per_channel"): {"tflm": _HYBRID, "c": _C_IS_INTEGER},
}


def _emitted(graph: Graph, op: Op, runtime: str) -> tuple[TypedOperator, ...]:
    if runtime != "c" and is_convolved(graph, op):
        return TypedOperator("reshape", "int8"), typed_weight(graph, op, "conv_2d")
    return (typed_weight(graph, op),)


def _fit(attrs: Mapping[str, Any], inputs: Sequence[Shape], outputs: Sequence[Shape]) -> bool:
    weight = inputs[1]
    good = len(weight) == 2 and inputs[0] == (1, weight[1]) and outputs == [(1, weight[0])]
    return good and (len(inputs) == 2 or inputs[2] == (weight[0],))


OPERATOR = Operator(
    kind="fully_connected",
    signature=Signature(2, 3, frozenset({"activation"}), _fit, is_weighted=True),
    compute=_compute,
    traced=_traced,
    integer=integer_layer,
    call=layer,
    builtins={"fully_connected": Builtin("FULLY_CONNECTED", 4, "FullyConnectedOptions", 7)},
    write=_write,
    read=_read,
    filter=Filter(_written_weight, _read_weight),
    reasons=_REASONS,
    emitted=_emitted,
    reads=_reads,
)
