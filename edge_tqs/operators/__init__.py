"""One file an operator: all that the tool knows of it.

Adding one: its file here and a row below, its signature in graph.OP_KINDS, its shapes in shapes, its C kernel in
firmware_templates/kernels.
"""

from __future__ import annotations

from edge_tqs.operators import (
    add,
    batch_matmul,
    conv_1d,
    curve,
    dense,
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
from edge_tqs.operators.operator import (
    Builtin,
    Call,
    Copies,
    DenseLayer,
    Function,
    Operator,
    Reader,
    Reasons,
    Table,
    TypedOperator,
    Writer,
)

__all__ = [
    "OPERATORS",
    "Builtin",
    "Call",
    "Copies",
    "DenseLayer",
    "Function",
    "Operator",
    "Reader",
    "Reasons",
    "Table",
    "TypedOperator",
    "Writer",
]

OPERATORS: dict[str, Operator] = {
    operator.kind: operator
    for operator in (
        transpose.OPERATOR,
        function.OPERATOR,
        lut.OPERATOR,
        curve.OPERATOR,
        softmax.OPERATOR,
        batch_matmul.OPERATOR,
        dense.OPERATOR,
        conv_1d.OPERATOR,
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
