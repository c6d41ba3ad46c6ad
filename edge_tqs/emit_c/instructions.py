"""About how many instructions a core takes for an integer graph, from its operators: to compare types of codes.

The figures are of the operators of the two models of benchmarks/attention.py, int8, int16 and mixed, counted in the
emulators of Cortex-M0+, M3, M4 and M55 with the kernels that each has; other cores are taken for a Cortex-M4. An
operator that is not named is a function of one value.
"""

from __future__ import annotations

from edge_tqs.emit_c.dense_kernels import family
from edge_tqs.emit_c.memory import is_view
from edge_tqs.graph.graph import Graph, Op

#: Instructions of a code that is written and of a product of a weight or of two activations, of int8, then of int16.
Costs = tuple[float, float, float, float]

ANOTHER = "another"
#: By the family of kernels and the operator.
COSTS: dict[str, dict[str, Costs]] = {
    "v6m": {
        "fully_connected": (73, 3.6, 161, 5.6),
        "conv_1d": (73, 3.6, 161, 5.6),
        "depthwise_1d": (120, 33, 143, 35),
        "batch_matmul": (118, 18, 116, 20),
        "add": (21, 0, 144, 0),
        "sub": (23, 0, 150, 0),
        "mul": (54, 0, 83, 0),
        "mean": (216, 0, 206, 0),
        "softmax": (120, 0, 185, 0),
        "quantize": (52, 0, 80, 0),
        "concat": (8, 0, 7, 0),
        "transpose": (7.6, 0, 8.8, 0),
        ANOTHER: (6, 0, 158, 0),
    },
    "v7m": {
        "fully_connected": (29, 1.9, 83, 3.0),
        "conv_1d": (29, 1.9, 83, 3.0),
        "depthwise_1d": (56, 16, 64, 16),
        "batch_matmul": (44, 8.0, 43, 6.0),
        "add": (6.6, 0, 35, 0),
        "sub": (7.8, 0, 39, 0),
        "mul": (16, 0, 24, 0),
        "mean": (118, 0, 111, 0),
        "softmax": (39, 0, 65, 0),
        "quantize": (15, 0, 24, 0),
        "concat": (1.0, 0, 1.5, 0),
        "transpose": (5.4, 0, 7.7, 0),
        ANOTHER: (6, 0, 87, 0),
    },
    "dsp": {
        "fully_connected": (18.7, 1.0, 15.5, 1.2),
        "conv_1d": (18.7, 1.0, 15.5, 1.2),
        "depthwise_1d": (24, 4.9, 16, 4.7),
        "batch_matmul": (18, 0.9, 27, 1.1),
        "add": (6.6, 0, 14, 0),
        "sub": (7.8, 0, 18, 0),
        "mul": (9.8, 0, 9.8, 0),
        "mean": (118, 0, 109, 0),
        "softmax": (40, 0, 28, 0),
        "quantize": (12, 0, 6.9, 0),
        "concat": (1.0, 0, 1.5, 0),
        "transpose": (5.4, 0, 7.7, 0),
        ANOTHER: (6, 0, 88, 0),
    },
    "mve": {
        "fully_connected": (11, 0.11, 9.5, 0.27),
        "conv_1d": (11, 0.11, 9.5, 0.27),
        "depthwise_1d": (8.6, 1.2, 7.8, 1.1),
        "batch_matmul": (14, 0.2, 23, 0.2),
        "add": (2.1, 0, 7.9, 0),
        "sub": (3.2, 0, 11, 0),
        "mul": (3.2, 0, 3.9, 0),
        "mean": (105, 0, 100, 0),
        "softmax": (19, 0, 18, 0),
        "quantize": (4, 0, 5.0, 0),
        "concat": (0.9, 0, 1.5, 0),
        "transpose": (4.5, 0, 6.7, 0),
        ANOTHER: (1.5, 0, 102, 0),
    },
}


def instructions(graph: Graph, core: str) -> float:
    """Of one evaluation of ``graph``, whose activations have the types that they are computed in, on ``core``."""
    costs = COSTS.get(family(core), COSTS["dsp"])
    return sum(_of(graph, op, costs) for op in graph.ops if not is_view(graph, op))


def _of(graph: Graph, op: Op, costs: dict[str, Costs]) -> float:
    written = graph.tensors[op.outputs[0]]
    narrow_code, narrow_product, wide_code, wide_product = costs.get(op.kind, costs[ANOTHER])
    wide = "int16" in (graph.type_of(op), written.dtype if op.kind != "batch_matmul" else "")
    code, product = (wide_code, wide_product) if wide else (narrow_code, narrow_product)
    if not product:
        return code * written.size
    if op.signature.is_weighted:
        weight = graph.tensors[op.inputs[1]]
        inner = weight.size // weight.shape[0]
    else:
        inner = graph.tensors[op.inputs[0]].shape[-1]
    return written.size * (code + product * inner)
