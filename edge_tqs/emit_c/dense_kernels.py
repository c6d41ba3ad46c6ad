"""Which kernel computes a dense layer or another operator on a core.

One row of DENSE_KERNELS or OPERATOR_KERNELS a kernel: adding one is adding its C file and its row. The portable
ones take any layer; the others have limits, and a layer beyond them goes to the portable kernel, alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edge_tqs.emit_c import packing
from edge_tqs.emit_c.packing import ROWS, pad_rows
from edge_tqs.graph.graph import Array
from edge_tqs.operators import DenseLayer
from edge_tqs.operators.arithmetic import int8 as integer
from edge_tqs.operators.codes import SHIFTS

PORTABLE = "portable"
#: (R,) biases, multipliers and shifts to the biases and shifts of the rows
Rows = Callable[[Array, Array, Array], tuple[Array, Array]]

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
class Limits:
    """What a kernel takes of a layer.

    accumulator: every one stays below it, as do ``times`` its sum of products alone. shifts: of its rescaling.
    most_inputs, row: 0 for any; else 128 times the weights of a row stay below ``row``.
    """

    accumulator: int
    shifts: range
    times: int = 1
    most_inputs: int = 0
    row: int = 0


@dataclass(frozen=True)
class DenseKernel:
    """A C function for dense layers.

    activations: "int8" or "int16". width: bits of a weight. families: where it runs; "portable" is everywhere. pack:
    codes (R, K), R a multiple of ROWS, to its weight table. limits: None takes any layer. rows: what its rows hold.
    scratch: words for K inputs and R rows. fewest: of a kernel that computes all output samples of a convolution in one
    call, how many there must be; 0: one sample a call. buffer: what such a kernel needs, bytes for K inputs that must
    be gathered or need not be.
    """

    name: str
    activations: str
    width: int
    families: frozenset[str]
    pack: Callable[[Array], Array]
    limits: Limits | None = None
    rows: Rows = packing.rows_as_given
    scratch: Callable[[int, int], int] | None = None
    fewest: int = 0
    buffer: Callable[[int, bool], int] | None = None

    @property
    def source(self) -> str:
        """Its file, relative to the template root."""
        return f"kernels/{'' if PORTABLE in self.families else 'arm/'}{self.name}.c"


@dataclass(frozen=True)
class RowsType:
    """The structs that the kernels of one type of activations read, and the shift of rows that are only padding."""

    layer: str
    rows: str
    dtype: np.dtype[np.void]
    padding_shift: int


ROWS_TYPES = {
    "int8": RowsType(
        "tqs_fc_t",
        "tqs_rows_t",
        np.dtype([("bias", "<i4", ROWS), ("multiplier", "<i4", ROWS), ("shift", "i1", ROWS)]),
        0,
    ),
    "int16": RowsType(
        "tqs_fc_s16_t",
        "tqs_rows_s16_t",
        np.dtype([("bias", "<i4", ROWS), ("multiplier", "<i2", ROWS), ("shift", "i1", ROWS)]),
        8,  # the least that any row may have
    ),
}
#: the most that a code can be away from 0, as the limits count it
_SPANS = {"int8": 256, "int16": 32768}


def dense_kernel(layer: DenseLayer, core: str, convolved: bool = False) -> DenseKernel:
    """The kernel for ``layer`` on ``core``: the first row of DENSE_KERNELS that runs there and takes it.

    convolved: whether its model has a convolution of many samples of the same types, whose kernel a dense layer then
    shares where it can: one function is smaller than two.
    """
    families = {family(core), PORTABLE}
    return next(
        kernel
        for kernel in DENSE_KERNELS
        if (kernel.activations, kernel.width) == (layer.activations, layer.width)
        and kernel.families & families
        and (not kernel.fewest or (convolved and layer.samples >= kernel.fewest))
        and (kernel.limits is None or _takes(kernel.limits, layer))
    )


def _takes(limits: Limits, layer: DenseLayer) -> bool:
    codes = np.abs(layer.codes)
    # Of the whole sum, and of its parts, the bias (folded or not) and the products with codes.
    products = _SPANS[layer.activations] * codes.sum(axis=1)
    return bool(
        (not limits.most_inputs or codes.shape[1] <= limits.most_inputs)
        and (not limits.row or 128 * codes.sum(axis=1).max() < limits.row)
        and np.isin(layer.shift[layer.multiplier != 0], limits.shifts).all()
        and limits.times * products.max(initial=0) < limits.accumulator
        and (np.abs(layer.bias) + products).max(initial=0) < limits.accumulator
        and codes.max(initial=0) <= integer.WEIGHT_LIMIT[layer.width]
    )


def pack_weights(kernel: DenseKernel, layer: DenseLayer) -> Array:
    """The weight table of ``kernel``, int8 or uint32."""
    return kernel.pack(pad_rows(layer.codes))


def pack_rows(kernel: DenseKernel, bias: Array, multiplier: Array, shift: Array) -> Array:
    """(R / 4,) of the kernel's rows, from values for (M,) rows."""
    form = ROWS_TYPES[kernel.activations]
    multiplier = pad_rows(multiplier)
    bias, shift = kernel.rows(pad_rows(bias), multiplier, pad_rows(shift, form.padding_shift))
    table = np.zeros(bias.size // ROWS, form.dtype)
    for name, values in (("bias", bias), ("multiplier", multiplier), ("shift", shift)):
        table[name] = values.reshape(-1, ROWS)
    return table


def fold_bias(bias: Array, codes: Array, zero_point: int) -> npt.NDArray[np.int64]:
    """(M,) bias less ``zero_point`` times each row's sum: sum(w (x - z)) + b = sum(w x) + (b - z sum(w)).

    integer.fully_connected_params has bounded |b| + 255 sum|w| below 2^31, so neither this nor any partial sum of the
    kernel overflows.
    """
    folded: npt.NDArray[np.int64] = bias.astype(np.int64) - zero_point * codes.astype(np.int64).sum(axis=1)
    return folded


def _halfwords(inputs: int, _: int) -> int:
    return -(-inputs // 4) * 2


def _piece(_: int, rows: int) -> int:
    return min(rows, packing.GROUP) + packing.PIECE // 2


def _four_samples(inputs: int, gathered: bool) -> int:
    return 4 * -(-inputs // 16) * 16 if gathered or inputs % 16 else 0


def _one_sample(inputs: int, gathered: bool) -> int:
    return inputs if gathered else 0


_RIGHT = Limits(1 << 30, SHIFTS)
_RIGHT_ROW = Limits(1 << 30, SHIFTS, row=1 << 23)
#: more inputs widened at once would take more scratch than a piece and the sums of a group
_RIGHT_SHORT = Limits(1 << 30, SHIFTS, most_inputs=packing.PIECE + 2 * packing.GROUP)
_NARROW = Limits(1 << 26, SHIFTS)
#: rescaling in 32 bits: 2^31 * 2^15 shifted by one less than the least of these is below 2^31
_LATE = range(17, 47)


def _portable(name: str, activations: str, width: int, pack: Callable[[Array], Array]) -> DenseKernel:
    return DenseKernel(name, activations, width, frozenset({PORTABLE}), pack)


def _arm(
    name: str,
    width: int,
    families: set[str],
    pack: Callable[[Array], Array],
    limits: Limits = _RIGHT,
    rows: Rows = packing.rows_doubled,
    scratch: Callable[[int, int], int] | None = None,
) -> DenseKernel:
    return DenseKernel(name, "int8", width, frozenset(families), pack, limits, rows, scratch)


def _arm16(
    name: str,
    width: int,
    families: set[str],
    pack: Callable[[Array], Array],
    times: int,
    rows: Rows = packing.rows_as_given,
) -> DenseKernel:
    return DenseKernel(name, "int16", width, frozenset(families), pack, Limits(1 << 31, _LATE, times), rows)


def _convolution(
    name: str,
    width: int,
    family: str,
    pack: Callable[[Array], Array],
    rows: Rows,
    fewest: int,
    buffer: Callable[[int, bool], int],
    limits: Limits = _RIGHT,
) -> DenseKernel:
    return DenseKernel(name, "int8", width, frozenset({family}), pack, limits, rows, None, fewest, buffer)


_TO_THE_RIGHT = packing.rows_to_the_right

#: a layer takes the first that runs on its core and has room for it
DENSE_KERNELS = (
    _convolution("tqs_conv_s8_mve", 8, "mve", packing.pack_s8_chunks, _TO_THE_RIGHT, 1, _one_sample),
    _convolution("tqs_conv_s4_mve", 4, "mve", packing.pack_s4_chunks, packing.rows_paired, 1, _one_sample, _NARROW),
    _convolution("tqs_conv_s8_neon", 8, "neon", packing.pack_s8_fours, _TO_THE_RIGHT, 4, _four_samples),
    _convolution("tqs_conv_s4_neon", 4, "neon", packing.pack_s4_fours, _TO_THE_RIGHT, 4, _four_samples),
    _arm("tqs_fc_s8_v6m", 8, {"v6m"}, packing.pack_s8_v6m),
    _arm("tqs_fc_s8_v7m", 8, {"v7m"}, packing.pack_s8_v7m, _RIGHT_ROW),
    _arm("tqs_fc_s8_v7m_pieces", 8, {"v7m"}, packing.pack_s8_v7m),
    _arm("tqs_fc_s8_dsp", 8, {"dsp"}, packing.pack_s8_dsp, _RIGHT_SHORT, scratch=_halfwords),
    _arm("tqs_fc_s8_dsp_pieces", 8, {"dsp"}, packing.pack_s8_pieces, scratch=_piece),
    _arm("tqs_fc_s8_mve", 8, {"mve"}, packing.pack_s8_chunks, rows=packing.rows_to_the_right),
    _arm("tqs_fc_s4_lanes", 4, {"v6m", "v7m"}, packing.pack_s4_lanes),
    _arm("tqs_fc_s4_dsp", 4, {"dsp"}, packing.pack_s4_dsp, _RIGHT_SHORT, scratch=_halfwords),
    _arm("tqs_fc_s4_dsp_pieces", 4, {"dsp"}, packing.pack_s4_pieces, scratch=_piece),
    _arm("tqs_fc_s4_mve", 4, {"mve"}, packing.pack_s4_chunks, _NARROW, packing.rows_paired),
    _arm("tqs_fc_s8_neon", 8, {"neon"}, packing.pack_s8_chunks, rows=packing.rows_to_the_right),
    _arm("tqs_fc_s4_neon", 4, {"neon"}, packing.pack_s4_chunks, _NARROW, packing.rows_to_the_right),
    _portable("tqs_fc_s8", "int8", 8, packing.pack_s8),
    _portable("tqs_fc_s4", "int8", 4, packing.pack_s4),
    _arm16("tqs_fc_s16w8_dsp", 8, {"dsp"}, packing.pack_s16w8_dsp, 1, packing.rows_late),
    _arm16("tqs_fc_s16w8_mve", 8, {"mve"}, packing.pack_s16w8_eights, 1),
    _arm16("tqs_fc_s16w8_neon", 8, {"neon"}, packing.pack_s16w8_eights, 1),
    _arm16("tqs_fc_s16w4_dsp", 4, {"dsp"}, packing.pack_s16w4_dsp, 17, packing.rows_late),
    _arm16("tqs_fc_s16w4_mve", 4, {"mve"}, packing.pack_s16w4_eights, 17),
    _arm16("tqs_fc_s16w4_neon", 4, {"neon"}, packing.pack_s16w4_eights, 17),
    _portable("tqs_fc_s16w8", "int16", 8, packing.pack_s8),
    _portable("tqs_fc_s16w4", "int16", 4, packing.pack_s4),
)

_ARM_OPERATORS = {
    "sum": ("v6m", "v7m", "dsp"),
    "mul": ("v6m", "v7m"),
    "lut": ("v7m", "dsp"),
    "requant": ("v6m", "v7m"),
}

#: (portable kernel of an operator that is no dense layer, family) -> the one that computes the same bits there
OPERATOR_KERNELS = {
    **{
        (f"tqs_{kind}_s8", cores): f"tqs_{kind}_s8_arm"
        for kind, families in _ARM_OPERATORS.items()
        for cores in families
    },
    **{(f"tqs_{kind}_s8", "dsp"): f"tqs_{kind}_s8_dsp" for kind in ("mul", "requant")},
    **{
        (f"tqs_{kind}_s8", cores): f"tqs_{kind}_s8_{cores}"
        for kind in ("sum", "mul", "lut", "requant", "avg_pool", "max_pool")
        for cores in ("mve", "neon")
    },
    **{
        (f"tqs_{kind}_s8", cores): f"tqs_{kind}_s8_{cores}"
        for kind in ("depthwise", "matmul")
        for cores in ("dsp", "mve", "neon")
    },
    **{
        (f"tqs_{kind}_s16", cores): f"tqs_{kind}_s16_{cores}"
        for kind in ("add", "mul", "depthwise", "matmul")
        for cores in ("dsp", "mve", "neon")
    },
    **{
        (f"tqs_{kind}_s16", cores): f"tqs_{kind}_s16_{cores}"
        for kind in ("avg_pool", "max_pool")
        for cores in ("mve", "neon")
    },
    **{
        (f"tqs_{kind}", cores): f"tqs_{kind}_{cores}"
        for kind in ("softmax_s16", "matmul_s8_s16", "requant_s8_s16", "requant_s16_s8")
        for cores in ("dsp", "mve")
    },
    ("tqs_sigmoid_s16", "mve"): "tqs_sigmoid_s16_mve",
    **{("tqs_softmax_s8", cores): f"tqs_softmax_s8_{cores}" for cores in ("dsp", "mve", "neon")},
    ("tqs_max_pool_s8", "dsp"): "tqs_max_pool_s8_dsp",
}
