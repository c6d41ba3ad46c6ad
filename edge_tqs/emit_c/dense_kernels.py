"""Which kernel computes a dense layer or an element-wise operator on a core, and how its tables are laid out.

One row of DENSE_KERNELS or ELEMENTWISE_KERNELS a kernel: adding one is adding its C file and its row. The portable
ones take any layer; the others have limits, and a layer beyond them goes to the portable kernel, alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edge_tqs.errors import ModelError
from edge_tqs.graph.graph import Array, Graph, Op
from edge_tqs.operators.arithmetic import int8 as integer
from edge_tqs.operators.codes import SHIFTS

ROWS = 4  # rows that a dense kernel computes at a time
PORTABLE = "portable"
ACCUMULATOR_LIMIT = 1 << 30

_RowTables = Callable[[Array, Array, Array], tuple[Array, Array]]

_FAMILIES = {
    "v6m": r"cortex-m(0|0plus|1|23)",
    "v7m": r"cortex-m(3|33\+nodsp)",
    "dsp": r"cortex-m(4|7|33|35p)",
    "mve": r"cortex-m(52|55|85)",
    "neon": r"cortex-a(7|35|53|55|57|72|73|75|76|77|78)",
}


def family(core: str) -> str:
    """The kernels for a core as boards name it: "v6m", "v7m", "dsp", "mve", "neon"; PORTABLE for any other."""
    return next((name for name, form in _FAMILIES.items() if re.fullmatch(form, core)), PORTABLE)


@dataclass(frozen=True)
class DenseKernel:
    """A C function for dense layers.

    source: its file, relative to the template root. width: bits of a weight. families: where it runs. pack: codes
    (R, K), R a multiple of ROWS, to its weight table. c_type: of that table. rows: (R,) biases, multipliers and shifts
    to the biases and shifts of its rows. limit: every accumulator stays below it. most_inputs: 0 for any. scratch:
    words for K inputs.
    """

    name: str
    source: str
    width: int
    families: frozenset[str]
    pack: Callable[[Array], Array]
    c_type: str
    rows: _RowTables
    limit: int
    most_inputs: int
    scratch: Callable[[int], int]


def dense_kernel(graph: Graph, op: Op, core: str) -> DenseKernel:
    """The kernel for the fully_connected ``op`` on ``core``, or for the dense layer at each sample of a conv_1d."""
    weight = graph.tensors[op.inputs[1]]
    width = 4 if weight.dtype == "int4" else 8
    chosen = family(core)
    for kernel in DENSE_KERNELS:
        if kernel.width == width and chosen in kernel.families and _takes(kernel, graph, op):
            return kernel
    return next(kernel for kernel in DENSE_KERNELS if kernel.width == width and PORTABLE in kernel.families)


def _takes(kernel: DenseKernel, graph: Graph, op: Op) -> bool:
    params = integer.fully_connected_params(graph, op)
    codes = weight_codes(graph, op)
    if kernel.most_inputs and codes.shape[1] > kernel.most_inputs:
        return False
    bias = constant_codes(graph, op.inputs[2]) if len(op.inputs) == 3 else np.zeros(codes.shape[0], np.int64)
    # Of the whole sum, and of its parts, the folded bias and the products with codes.
    peak = np.abs(bias) + 256 * np.abs(codes).sum(axis=1)
    return bool(
        np.isin(params.shift[params.multiplier != 0], SHIFTS).all()
        and peak.max(initial=0) < kernel.limit
        and np.abs(codes).max(initial=0) <= integer.WEIGHT_LIMIT[kernel.width]
    )


def constant_codes(graph: Graph, name: str) -> npt.NDArray[np.int64]:
    """The codes of a constant. Raises ModelError for a tensor that is computed."""
    data = graph.tensors[name].data
    if data is None:
        raise ModelError(f"{graph.name}: {name} is computed: weights and biases must be constants")
    return data.astype(np.int64)


def weight_codes(graph: Graph, op: Op) -> npt.NDArray[np.int64]:
    """(M, K) codes of the weight of ``op``; the K of a conv_1d are the channels of each of its taps."""
    codes = constant_codes(graph, op.inputs[1])
    return codes.reshape(codes.shape[0], -1)


def pad_rows(values: Array) -> Array:
    """(M, ...) padded with zeros along the first axis to a multiple of ROWS."""
    return np.concatenate([values, np.zeros((-values.shape[0] % ROWS, *values.shape[1:]), values.dtype)])


#: tqs_rows_t
ROWS_TYPE = np.dtype([("bias", "<i4", ROWS), ("multiplier", "<i4", ROWS), ("shift", "i1", ROWS)])


def pack_rows(kernel: DenseKernel, bias: Array, multiplier: Array, shift: Array) -> Array:
    """(R / 4,) of ROWS_TYPE, from values for (M,) rows."""
    multiplier = pad_rows(multiplier)
    bias, shift = kernel.rows(pad_rows(bias), multiplier, pad_rows(shift))
    table = np.zeros(bias.size // ROWS, ROWS_TYPE)
    for name, values in (("bias", bias), ("multiplier", multiplier), ("shift", shift)):
        table[name] = values.reshape(-1, ROWS)
    return table


# --- what the rows hold -----------------------------------------------------------------------------------------------


def _as_given(bias: Array, _: Array, shift: Array) -> tuple[Array, Array]:
    return bias, shift


def _to_the_right(bias: Array, multiplier: Array, shift: Array) -> tuple[Array, Array]:
    """A dead row has multiplier 0 and any shift: one that a fast kernel can shift by instead."""
    return bias, np.where(multiplier == 0, -1, shift)


def _doubled(bias: Array, multiplier: Array, shift: Array) -> tuple[Array, Array]:
    """As tqs_rescale of tqs_arm.h reads them."""
    return 2 * bias, -1 - _to_the_right(bias, multiplier, shift)[1]


def _paired(bias: Array, multiplier: Array, shift: Array) -> tuple[Array, Array]:
    """As tqs_fc_s4_mve reads them: 16 * b0, 16 * b1 + b0."""
    added = np.zeros_like(bias)
    added[1::2] = bias[0::2]
    return 16 * bias + added, _to_the_right(bias, multiplier, shift)[1]


def _pad_inputs(codes: Array, multiple: int) -> Array:
    """(R, K) with zero weights for inputs that are not there."""
    return np.pad(codes, ((0, 0), (0, -codes.shape[1] % multiple)))


# --- layouts: each is described in its kernel's C file ----------------------------------------------------------------


def _side_by_side(codes: Array) -> Array:
    """(R / 4, K, 4): the four weights that meet an input."""
    return np.ascontiguousarray(codes.reshape(-1, ROWS, codes.shape[1]).transpose(0, 2, 1))


def pack_s8(codes: Array) -> Array:
    """(R, K) codes as tqs_fc_s8 reads them, a byte a weight."""
    return _side_by_side(codes).astype(np.int8).reshape(-1)


def pack_s4(codes: Array) -> Array:
    """(R, K) codes as tqs_fc_s4 reads them, two weights a byte."""
    return integer.pack_int4(_side_by_side(codes).astype(np.int8)).view(np.int8)


def _pack_s8_v6m(codes: Array) -> Array:
    return codes.astype(np.int8).reshape(-1)


def _fields(blocks: Array, shifts: tuple[int, ...]) -> Array:
    """Words of fields: ``blocks[..., i]``, not negative, shifted to the left by ``shifts[i]``."""
    words: Array = (blocks.astype(np.int64) << np.array(shifts)).sum(axis=-1).astype(np.uint32)
    return words.reshape(-1)


def _pack_s8_v7m(codes: Array) -> Array:
    row0, row1, row2, row3 = np.moveaxis(_side_by_side(codes), -1, 0)
    return _fields(np.stack([row0 + 128, row3 & 255, row2 + 128, row1 & 255], axis=-1), (0, 8, 16, 24))


def _pack_s4_lanes(codes: Array) -> Array:
    blocks = _side_by_side(_pad_inputs(codes, 2)) + 8
    return _fields(blocks.reshape(-1, 8), (0, 16, 4, 20, 8, 24, 12, 28))


def _pairs(codes: Array) -> Array:
    """(R / 4, K / 4, 2, 4, 2): of each four inputs the even pair, then the odd one; rows; the pair."""
    blocks = _side_by_side(_pad_inputs(codes, 4))
    return blocks.reshape(blocks.shape[0], -1, 2, 2, ROWS).transpose(0, 1, 3, 4, 2)


def _pack_s8_dsp(codes: Array) -> Array:
    pairs = _pairs(codes)
    halfwords = 256 * pairs[..., 1::2, :] + pairs[..., 0::2, :]  # (..., 2, 2): two rows in one number
    return _fields(halfwords & 0xFFFF, (0, 16))


def _pack_s4_dsp(codes: Array) -> Array:
    pairs = _pairs(codes)
    added = np.array([8, 8, 8, 0])[:, None]
    halfwords = ((pairs + added & 15) << np.array([0, 4, 8, 12])[:, None]).sum(axis=-2)
    return _fields(halfwords, (0, 16))


def _chunks(codes: Array, columns: Callable[[Array], Array]) -> Array:
    """(R, K) codes in blocks of four rows as tqs_mve_rows.h has them: the half chunk, then chunks of sixteen inputs.

    columns: (R / 4, ROWS, n) codes to the (R / 4, bytes) of n inputs.
    """
    inputs = codes.shape[1]
    half = inputs % 16 if inputs % 16 <= 8 else 0
    whole = _pad_inputs(codes[:, : inputs - half], 16)
    parts = [_pad_inputs(codes[:, inputs - half :], 8)] if half else []
    parts += [whole[:, at : at + 16] for at in range(0, whole.shape[1], 16)]
    return np.concatenate([columns(part.reshape(-1, ROWS, part.shape[1])) for part in parts], axis=1).reshape(-1)


def _pack_s8_chunks(codes: Array) -> Array:
    return _chunks(codes, lambda part: part.reshape(part.shape[0], -1)).astype(np.int8)


def _pack_s4_chunks(codes: Array) -> Array:
    def pairs(part: Array) -> Array:
        return (16 * part[:, 1::2] + part[:, 0::2]).reshape(part.shape[0], -1)

    return _chunks(codes, pairs).astype(np.int8)


def _words_of_four(codes: Array) -> Array:
    """(R, n) bytes of inputs to (R, n / 4) words of inputs 0, 2, 1 and 3."""
    blocks = codes.reshape(codes.shape[0], -1, 4)[..., [0, 2, 1, 3]] & 255
    words: Array = (blocks.astype(np.int64) << np.array([0, 8, 16, 24])).sum(axis=-1).astype(np.uint32)
    return words


def pack_s16w8_dsp(codes: Array) -> Array:
    """(R, K) codes as tqs_fc_s16w8_dsp reads them."""
    words = _words_of_four(_pad_inputs(codes, 4))
    return words.reshape(-1, ROWS, words.shape[1]).transpose(0, 2, 1).reshape(-1)


def pack_s16w4_dsp(codes: Array) -> Array:
    """(R, K) codes as tqs_fc_s16w4_dsp reads them."""
    padded = _pad_inputs(codes, 4)
    words = _words_of_four(16 * padded[1::2] + padded[0::2])
    return words.reshape(-1, ROWS // 2, words.shape[1]).transpose(0, 2, 1).reshape(-1)


def _none(_: int) -> int:
    return 0


def _halfwords(inputs: int) -> int:
    return -(-inputs // 4) * 2


def _arm(
    name: str,
    width: int,
    families: set[str],
    pack: Callable[[Array], Array],
    most_inputs: int = 0,
    scratch: Callable[[int], int] = _none,
    *,
    c_type: str = "uint32_t",
    rows: _RowTables = _doubled,
    limit: int = ACCUMULATOR_LIMIT,
) -> DenseKernel:
    source = f"kernels/arm/{name}.c"
    return DenseKernel(name, source, width, frozenset(families), pack, c_type, rows, limit, most_inputs, scratch)


def _portable(name: str, width: int, pack: Callable[[Array], Array]) -> DenseKernel:
    everywhere = frozenset({PORTABLE})
    return DenseKernel(name, f"kernels/{name}.c", width, everywhere, pack, "int8_t", _as_given, 1 << 31, 0, _none)


DENSE_KERNELS = (
    _arm("tqs_fc_s8_v6m", 8, {"v6m"}, _pack_s8_v6m, c_type="int8_t"),
    _arm("tqs_fc_s8_v7m", 8, {"v7m"}, _pack_s8_v7m, 512),
    _arm("tqs_fc_s8_dsp", 8, {"dsp"}, _pack_s8_dsp, 512, _halfwords),
    _arm("tqs_fc_s8_mve", 8, {"mve"}, _pack_s8_chunks, c_type="int8_t", rows=_to_the_right),
    _arm("tqs_fc_s4_lanes", 4, {"v6m", "v7m"}, _pack_s4_lanes),
    _arm("tqs_fc_s4_dsp", 4, {"dsp"}, _pack_s4_dsp, 512, _halfwords),
    _arm("tqs_fc_s4_mve", 4, {"mve"}, _pack_s4_chunks, c_type="int8_t", rows=_paired, limit=1 << 26),
    _arm("tqs_fc_s8_neon", 8, {"neon"}, _pack_s8_chunks, c_type="int8_t", rows=_to_the_right),
    _arm("tqs_fc_s4_neon", 4, {"neon"}, _pack_s4_chunks, c_type="int8_t", rows=_to_the_right, limit=1 << 26),
    _portable("tqs_fc_s8", 8, pack_s8),
    _portable("tqs_fc_s4", 4, pack_s4),
)

_ARM_ELEMENTWISE = {
    "sum": ("v6m", "v7m", "dsp"),
    "mul": ("v6m", "v7m"),
    "lut": ("v7m", "dsp"),
    "requant": ("v6m", "v7m", "dsp"),
}

#: (portable kernel of an element-wise operator, family) -> the one that computes the same bits there
ELEMENTWISE_KERNELS = {
    **{
        (f"tqs_{kind}_s8", cores): f"tqs_{kind}_s8_arm"
        for kind, families in _ARM_ELEMENTWISE.items()
        for cores in families
    },
    ("tqs_mul_s8", "dsp"): "tqs_mul_s8_dsp",
    **{(f"tqs_{kind}_s8", "mve"): f"tqs_{kind}_s8_mve" for kind in ("sum", "mul", "lut", "requant")},
}
