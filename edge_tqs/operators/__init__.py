"""One file an operator: all that the tool knows of it.

Adding one: its file here and a row below, its signature in graph.OP_KINDS, its shapes in shapes, its C kernel in
firmware_templates/kernels. (fully_connected and conv_1d have none: their weights are packed for each core, and are
scored, planned and quantised by modules of their own.)
"""

from __future__ import annotations

from edge_tqs.operators import (
    add,
    batch_matmul,
    curve,
    depthwise_1d,
    elu,
    function,
    leaky_relu,
    lut,
    mean,
    moves,
    mul,
    pool_1d,
    quantize,
    rsqrt,
    saturating,
    softmax,
    transpose,
)
from edge_tqs.operators.operator import Builtin, Call, Copies, Function, Operator, Reader, Table, Writer

__all__ = ["OPERATORS", "Builtin", "Call", "Copies", "Function", "Operator", "Reader", "Table", "Writer"]

OPERATORS: dict[str, Operator] = {
    operator.kind: operator
    for operator in (
        transpose.OPERATOR,
        function.OPERATOR,
        lut.OPERATOR,
        curve.OPERATOR,
        softmax.OPERATOR,
        batch_matmul.OPERATOR,
        depthwise_1d.OPERATOR,
        pool_1d.AVERAGE,
        pool_1d.MAXIMUM,
        rsqrt.OPERATOR,
        leaky_relu.OPERATOR,
        mean.OPERATOR,
        quantize.OPERATOR,
        saturating.LOGISTIC,
        saturating.TANH,
        elu.OPERATOR,
        add.ADD,
        add.SUB,
        mul.OPERATOR,
        moves.SLICE,
        moves.CONCAT,
        moves.SPLIT,
        moves.RESHAPE,
    )
}
