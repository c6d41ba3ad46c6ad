"""About how many instructions a Cortex-M4 takes for an integer graph, from its operators: to compare types of codes.

The figures are of the operators of a Transformer of 24 samples, int8 and int16, in the emulator (`validate` of a build
with --probe), with the kernels of DSP cores; of what is not named, those of a like one. Products of int16 activations:
what their kernel took away of attn-24x32x2 in benchmarks/kernels.json, and of its loop 10 instructions for 8 products.
"""

from __future__ import annotations

from edge_tqs.emit_c.memory import is_view
from edge_tqs.graph.graph import Graph, Op

#: Of one code that is written: int8, int16.
OF_A_CODE = {
    "fully_connected": (15.0, 40.0),
    "conv_1d": (15.0, 40.0),
    "depthwise_1d": (29.0, 84.0),
    "batch_matmul": (11.0, 25.0),
    "add": (6.7, 31.5),
    "sub": (7.4, 33.5),
    "mul": (9.0, 23.0),
    "mean": (119.0, 110.0),
    "softmax": (40.0, 64.0),
    "quantize": (12.0, 20.0),
    "concat": (1.1, 1.6),
    "transpose": (5.4, 7.6),
}
#: Of another operator: int8 codes are looked up.
OF_ANOTHER = (7.0, 90.0)
#: Of one product of a weight, and of two activations.
OF_A_PRODUCT = {"fully_connected": (1.2, 1.4), "conv_1d": (1.2, 1.4), "batch_matmul": (1.1, 1.3)}


def instructions(graph: Graph) -> float:
    """Of one evaluation of ``graph``, whose activations have the types that they are computed in."""
    return sum(_of(graph, op) for op in graph.ops if not is_view(graph, op))


def _of(graph: Graph, op: Op) -> float:
    written = graph.tensors[op.outputs[0]]
    wide = "int16" in (graph.type_of(op), written.dtype)
    products = 0
    if op.kind in OF_A_PRODUCT:
        read = graph.tensors[op.inputs[1]].shape if op.signature.is_weighted else graph.tensors[op.inputs[0]].shape
        inner = read[-1] * (read[-2] if op.kind == "conv_1d" else 1)
        products = written.size * inner
    return (
        OF_A_CODE.get(op.kind, OF_ANOTHER)[wide] * written.size + OF_A_PRODUCT.get(op.kind, (0.0, 0.0))[wide] * products
    )
