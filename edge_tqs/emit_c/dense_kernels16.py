"""The kernels and layer structs of tqs_kernels_s16.h: what c_tables asks for in a graph with int16 activations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from edge_tqs.emit_c.dense_kernels import (
    PORTABLE,
    ROWS,
    constant_codes,
    family,
    pack_s4,
    pack_s8,
    pack_s16w4_dsp,
    pack_s16w8_dsp,
    pad_rows,
    weight_codes,
)
from edge_tqs.errors import ModelError
from edge_tqs.graph.graph import Array, Graph, Op
from edge_tqs.operators.arithmetic import int8 as integer
from edge_tqs.operators.arithmetic import int16 as integer16

HEADER = "tqs_kernels_s16.h"
#: tqs_rows_s16_t
ROWS_TYPE = np.dtype([("bias", "<i4", ROWS), ("multiplier", "<i2", ROWS), ("shift", "i1", ROWS)])


@dataclass(frozen=True, eq=False)
class Layer:
    """A struct: its C type and fields; for a dense layer also its weight table and its (R / 4,) rows."""

    c_type: str
    fields: Mapping[str, object]
    weights: Array | None = None
    rows: Array | None = None


@dataclass(frozen=True)
class DenseKernel:
    """A C function for dense layers: ``pack`` makes its weight table of (R, K) codes.

    scaled: how many times each sum of products must fit in 32 bits, and once with the bias; 0: any layer will do.
    families: where it runs, in the words of c_dense.
    """

    name: str
    source: str
    width: int
    families: frozenset[str]
    pack: Callable[[Array], Array]
    scaled: int


LEAST_SHIFT = 17  # 2^31 * 2^15 shifted by one less than this is below 2^31
_DSP = frozenset({"dsp", "mve"})
DENSE_KERNELS = (
    DenseKernel("tqs_fc_s16w8_dsp", "kernels/arm/tqs_fc_s16w8_dsp.c", 8, _DSP, pack_s16w8_dsp, 1),
    DenseKernel("tqs_fc_s16w4_dsp", "kernels/arm/tqs_fc_s16w4_dsp.c", 4, _DSP, pack_s16w4_dsp, 17),
    DenseKernel("tqs_fc_s16w8", "kernels/tqs_fc_s16w8.c", 8, frozenset({PORTABLE}), pack_s8, 0),
    DenseKernel("tqs_fc_s16w4", "kernels/tqs_fc_s16w4.c", 4, frozenset({PORTABLE}), pack_s4, 0),
)


def dense_kernel(graph: Graph, op: Op, core: str) -> DenseKernel:
    """The kernel for a weighted ``op`` on ``core``: the first of its width that runs there and can hold its sums."""
    width = 4 if graph.tensors[op.inputs[1]].dtype == "int4" else 8
    families = {family(core), PORTABLE}
    return next(
        kernel
        for kernel in DENSE_KERNELS
        if kernel.width == width and kernel.families & families and (not kernel.scaled or _fits(kernel, graph, op))
    )


def _fits(kernel: DenseKernel, graph: Graph, op: Op) -> bool:
    """Whether the 32 bits of ``kernel`` hold the layer's sums and what is left of them after LEAST_SHIFT - 1."""
    params = integer16.fully_connected_params(graph, op)
    codes = np.abs(weight_codes(graph, op))
    bias = constant_codes(graph, op.inputs[2]) if len(op.inputs) == 3 else np.zeros(codes.shape[0], np.int64)
    peak = -integer16.LOW * codes.sum(axis=1)
    return bool(
        kernel.scaled * peak.max(initial=0) < 1 << 31
        and (peak + np.abs(bias)).max(initial=0) < 1 << 31
        and params.shift[params.multiplier != 0].min(initial=LEAST_SHIFT) >= LEAST_SHIFT
    )


def pack_rows(bias: Array, multiplier: Array, shift: Array) -> Array:
    """(R / 4,) of ROWS_TYPE, from values for (M,) rows; padding rows shift by 8, as any row may."""
    table = np.zeros(-(-bias.size // ROWS), ROWS_TYPE)
    for name, values in (("bias", bias), ("multiplier", multiplier), ("shift", shift - 8)):
        table[name] = pad_rows(values).reshape(-1, ROWS)
    table["shift"] += 8
    return table


def layer(graph: Graph, op: Op, core: str = PORTABLE) -> Layer:
    """The struct of a dense layer or a convolution. Raises ModelError for parameters that no kernel takes."""
    params = integer16.fully_connected_params(graph, op)
    codes = weight_codes(graph, op)
    rows, inputs = codes.shape
    bias = constant_codes(graph, op.inputs[2]) if len(op.inputs) == 3 else np.zeros(rows, np.int64)
    width = 4 if graph.tensors[op.inputs[1]].dtype == "int4" else 8
    if np.abs(bias).max(initial=0) > integer.BIAS_LIMIT or np.abs(codes).max(initial=0) > integer.WEIGHT_LIMIT[width]:
        raise ModelError(
            f"{graph.name}: a bias or weight of the layer {op.outputs[0]} is larger than the C kernels take",
            hint="Build the model again from its .keras file.",
        )
    packed = dense_kernel(graph, op, core).pack(pad_rows(codes))
    fields = {"inputs": inputs, "outputs": rows, "low": params.low, "high": params.high}
    return Layer("tqs_fc_s16_t", fields, packed, pack_rows(bias, params.multiplier, params.shift))
