"""How the kernels of dense layers have their weights and rows: each layout is described in its kernel's C file."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edge_tqs.graph.graph import Array
from edge_tqs.operators.arithmetic import int8 as integer

ROWS = 4  # rows that a dense kernel computes at a time
PIECE, GROUP = 256, 32  # inputs and rows of tqs_dsp_pieces.h


def pad_rows(values: Array, fill: int = 0) -> Array:
    """(M, ...) padded with ``fill`` along the first axis to a multiple of ROWS."""
    missing = (-values.shape[0] % ROWS, *values.shape[1:])
    return np.concatenate([values, np.full(missing, fill, values.dtype)])


# --- what the rows hold: (R,) biases, multipliers and shifts to the biases and shifts of the table --------------------


def rows_as_given(bias: Array, _: Array, shift: Array) -> tuple[Array, Array]:
    """As the portable kernels read them."""
    return bias, shift


def rows_to_the_right(bias: Array, multiplier: Array, shift: Array) -> tuple[Array, Array]:
    """A dead row has multiplier 0 and any shift: one that a fast kernel can shift by instead."""
    return bias, np.where(multiplier == 0, -1, shift)


def rows_doubled(bias: Array, multiplier: Array, shift: Array) -> tuple[Array, Array]:
    """As tqs_rescale of tqs_arm.h reads them."""
    return 2 * bias, -1 - rows_to_the_right(bias, multiplier, shift)[1]


def rows_late(bias: Array, multiplier: Array, shift: Array) -> tuple[Array, Array]:
    """As tqs_fc_s16_dsp.h reads them: what is shifted by after the first 17."""
    return bias, np.where(multiplier == 0, 0, shift - 17)


def rows_paired(bias: Array, multiplier: Array, shift: Array) -> tuple[Array, Array]:
    """As tqs_fc_s4_mve reads them: 16 * b0, 16 * b1 + b0."""
    added = np.zeros_like(bias)
    added[1::2] = bias[0::2]
    return 16 * bias + added, rows_to_the_right(bias, multiplier, shift)[1]


# --- weights: (R, K) codes, R a multiple of ROWS, to a table ----------------------------------------------------------


def _pad_inputs(codes: Array, multiple: int) -> Array:
    """(R, K) with zero weights for inputs that are not there."""
    return np.pad(codes, ((0, 0), (0, -codes.shape[1] % multiple)))


def _side_by_side(codes: Array) -> Array:
    """(R / 4, K, 4): the four weights that meet an input."""
    return np.ascontiguousarray(codes.reshape(-1, ROWS, codes.shape[1]).transpose(0, 2, 1))


def pack_s8(codes: Array) -> Array:
    """(R, K) codes as tqs_fc_s8 reads them, a byte a weight."""
    return _side_by_side(codes).astype(np.int8).reshape(-1)


def pack_s4(codes: Array) -> Array:
    """(R, K) codes as tqs_fc_s4 reads them, two weights a byte."""
    return integer.pack_int4(_side_by_side(codes).astype(np.int8)).view(np.int8)


def pack_s8_v6m(codes: Array) -> Array:
    """(R, K) codes as tqs_fc_s8_v6m reads them: row by row."""
    return codes.astype(np.int8).reshape(-1)


def _fields(blocks: Array, shifts: tuple[int, ...]) -> Array:
    """Words of fields: ``blocks[..., i]``, not negative, shifted to the left by ``shifts[i]``."""
    words: Array = (blocks.astype(np.int64) << np.array(shifts)).sum(axis=-1).astype(np.uint32)
    return words.reshape(-1)


def pack_s8_v7m(codes: Array) -> Array:
    """(R, K) codes as tqs_fc_s8_v7m reads them: the four of an input in a word."""
    row0, row1, row2, row3 = np.moveaxis(_side_by_side(codes), -1, 0)
    return _fields(np.stack([row0 + 128, row3 & 255, row2 + 128, row1 & 255], axis=-1), (0, 8, 16, 24))


def pack_s4_lanes(codes: Array) -> Array:
    """(R, K) codes as tqs_fc_s4_lanes reads them: eight of two inputs in a word."""
    blocks = _side_by_side(_pad_inputs(codes, 2)) + 8
    return _fields(blocks.reshape(-1, 8), (0, 16, 4, 20, 8, 24, 12, 28))


def _pairs(codes: Array) -> Array:
    """(R / 4, K / 4, 2, 4, 2): of each four inputs the even pair, then the odd one; rows; the pair."""
    blocks = _side_by_side(_pad_inputs(codes, 4))
    return blocks.reshape(blocks.shape[0], -1, 2, 2, ROWS).transpose(0, 1, 3, 4, 2)


def pack_s8_dsp(codes: Array) -> Array:
    """(R, K) codes as tqs_fc_s8_dsp reads them."""
    pairs = _pairs(codes)
    halfwords = 256 * pairs[..., 1::2, :] + pairs[..., 0::2, :]  # (..., 2, 2): two rows in one number
    return _fields(halfwords & 0xFFFF, (0, 16))


def pack_s4_dsp(codes: Array) -> Array:
    """(R, K) codes as tqs_fc_s4_dsp reads them."""
    pairs = _pairs(codes)
    added = np.array([8, 8, 8, 0])[:, None]
    halfwords = ((pairs + added & 15) << np.array([0, 4, 8, 12])[:, None]).sum(axis=-2)
    return _fields(halfwords, (0, 16))


def _in_pieces(pack: Callable[[Array], Array], codes: Array) -> Array:
    """(R, K) codes as tqs_dsp_pieces.h has them, each piece of a group packed by ``pack``."""
    groups = [codes[row : row + GROUP] for row in range(0, codes.shape[0], GROUP)]
    return np.concatenate(
        [pack(group[:, at : at + PIECE]) for group in groups for at in range(0, codes.shape[1], PIECE)]
    )


def pack_s8_pieces(codes: Array) -> Array:
    """(R, K) codes as tqs_fc_s8_dsp_pieces reads them."""
    return _in_pieces(pack_s8_dsp, codes)


def pack_s4_pieces(codes: Array) -> Array:
    """(R, K) codes as tqs_fc_s4_dsp_pieces reads them."""
    return _in_pieces(pack_s4_dsp, codes)


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


def pack_s8_chunks(codes: Array) -> Array:
    """(R, K) codes as tqs_fc_s8_mve and tqs_fc_s8_neon read them."""
    return _chunks(codes, lambda part: part.reshape(part.shape[0], -1)).astype(np.int8)


def pack_s4_chunks(codes: Array) -> Array:
    """(R, K) codes as tqs_fc_s4_mve and tqs_fc_s4_neon read them: two rows in a byte."""

    def pairs(part: Array) -> Array:
        return (16 * part[:, 1::2] + part[:, 0::2]).reshape(part.shape[0], -1)

    return _chunks(codes, pairs).astype(np.int8)


def pack_s8_fours(codes: Array) -> Array:
    """(R, K) codes as tqs_conv_s8_neon reads them: for each four inputs those of four rows."""
    padded = _pad_inputs(codes, 16)
    return padded.reshape(-1, ROWS, padded.shape[1] // 4, 4).transpose(0, 2, 1, 3).reshape(-1).astype(np.int8)


def pack_s4_fours(codes: Array) -> Array:
    """(R, K) codes as tqs_conv_s4_neon reads them: two vectors of sixteen in one."""
    vectors = pack_s8_fours(codes).reshape(-1, 2, 16)
    return (16 * vectors[:, 1] + vectors[:, 0]).reshape(-1)


def _words_of_four(codes: Array) -> Array:
    """(R, n) bytes of inputs to (R, n / 4) words of inputs 0, 2, 1 and 3."""
    blocks = codes.reshape(codes.shape[0], -1, 4)[..., [0, 2, 1, 3]] & 255
    words: Array = (blocks.astype(np.int64) << np.array([0, 8, 16, 24])).sum(axis=-1).astype(np.uint32)
    return words


def _pad_first(codes: Array) -> Array:
    """(R, K) filled up to a multiple of four behind the first K % 4."""
    return np.insert(codes, [codes.shape[1] % 4] * (-codes.shape[1] % 4), 0, axis=1)


def pack_s16w8_dsp(codes: Array) -> Array:
    """(R, K) codes as tqs_fc_s16w8_dsp reads them."""
    words = _words_of_four(_pad_first(codes))
    return words.reshape(-1, ROWS, words.shape[1]).transpose(0, 2, 1).reshape(-1)


def pack_s16w4_dsp(codes: Array) -> Array:
    """(R, K) codes as tqs_fc_s16w4_dsp reads them."""
    padded = _pad_first(codes)
    words = _words_of_four(16 * padded[1::2] + padded[0::2])
    return words.reshape(-1, ROWS // 2, words.shape[1]).transpose(0, 2, 1).reshape(-1)


def _eights(codes: Array, rows: int) -> Array:
    """(R, K) bytes, ``rows`` of a block, as [block][K / 8][rows][8]."""
    padded = _pad_inputs(codes, 8)
    return padded.reshape(-1, rows, padded.shape[1] // 8, 8).transpose(0, 2, 1, 3).reshape(-1).astype(np.int8)


def pack_s16w8_eights(codes: Array) -> Array:
    """(R, K) codes as tqs_fc_s16w8_mve and tqs_fc_s16w8_neon read them."""
    return _eights(codes, ROWS)


def pack_s16w4_eights(codes: Array) -> Array:
    """(R, K) codes as tqs_fc_s16w4_mve and tqs_fc_s16w4_neon read them: two rows in a byte."""
    return _eights(16 * codes[1::2] + codes[0::2], ROWS // 2)
