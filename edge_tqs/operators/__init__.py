"""One file an operator: all that the tool knows of it. Those of one value are in unary/.

Adding one: its file, its import and its rows of the table and of OPERATORS below, its C kernels in
firmware_templates/kernels and their header, which tqs_kernels.h and tqs_kernels_s16.h include. TEMPLATE.md has it all.

Operators (``Op.kind``), with their inputs and attributes:

=================  ======================  ==========================================================================
kind               inputs                  attributes
=================  ======================  ==========================================================================
fully_connected    x (1,K), w (M,K), b (M) activation: none | relu | relu6
conv_1d            x (1,W,I), w (O,K,I),   stride, dilation, left, right: int; activation: none | relu | relu6. Gives
                   b (O)                   (1,W',O); left and right zeros are added before and after the window
depthwise_1d       x (1,W,C), w (C*m,K),    as conv_1d; row c * m + j of w is a filter of channel c. Gives (1,W',C*m)
                   b (C*m)
avg_pool_1d,       x (1,W,C)               size, stride: int; padding: valid | same. Gives (1,W',C); samples beyond the
max_pool_1d                                window are left out, not zeros
rsqrt              x, positive             (none; 1 / sqrt(x))
add, sub, mul      a, b of one shape       (none); one of (1,1,C) is repeated over the time of the other, (1,W,C)
logistic, tanh     x                       (none)
elu                x                       (none; alpha is 1)
leaky_relu         x                       alpha: float
split              x (1,N) or (1,1,N)      parts: int; N is divisible by it, outputs in order
slice              x                       axis: int, 1 or more, into the shape; begin: int, size: int
concat             2 to 10 of one shape    axis: int, 1 or more, the one along which their sizes may differ
                   but for the axis
mean               x (1,W,C)               (none); gives (1,1,C), the mean over time
reshape            x                       (none; the output's shape says it)
transpose          x (1,A,B)               (none); gives (1,B,A)
function           x                       name: of arithmetic/functions.py, parameters: tuple of float; only in float
                   graphs
lut                x, table (256,)         (none; table[code + 128]; only in integer graphs)
curve              x, high (n,), low (n,), bits: int, positive: bool; a function in straight pieces of 2^bits codes;
                   slopes (n,)             only in integer graphs, of int16 codes
softmax            x                       beta: float; exp(beta x) over its sum, along the last axis
batch_matmul       a (1,M,K), b (1,K,N)    transposed: bool, for b (1,N,K); both are activations. Gives (1,M,N)
quantize           x                       (none; codes to codes of another scale; only in integer graphs)
=================  ======================  ==========================================================================

The bias of fully_connected, conv_1d and depthwise_1d may be left out. A dense layer on each sample of a sequence is a
conv_1d of one tap.
"""

from __future__ import annotations

from edge_tqs.graph.signature import register
from edge_tqs.operators import (
    add,
    batch_matmul,
    conv_1d,
    dense,
    depthwise_1d,
    mean,
    moves,
    mul,
    pool_1d,
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
from edge_tqs.operators.unary import (
    curve,
    elu,
    function,
    leaky_relu,
    lut,
    quantize,
    rsqrt,
    saturating,
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

for _operator in OPERATORS.values():
    register(_operator.kind, _operator.signature)
