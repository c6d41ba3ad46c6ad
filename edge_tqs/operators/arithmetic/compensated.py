"""Weights to codes such that the errors of a row cancel in what it computes: error-compensated rounding.

A row w of a layer, rounded to s q, errs by e = s q - w, and its output by e'x. Over the inputs x that the layer reads,
with second moments H, that is e'He in the mean square. Rounding to nearest knows no H; this does (OBQ of Frantar and
Alistarh, arXiv 2208.11580, in the order and with the damping of GPTQ, arXiv 2210.17323):

- The scale s of a row is that of CLIPS, shares of its largest magnitude, whose rounding to nearest has least e'He.
- H = M D M' with M unit upper triangular, so e'He = sum_k D_k (e_k + sum_{i<k} M_ik e_i)^2. Columns are rounded one
  after the other, largest H_kk first, each with what the errors before it left: w_k - sum_{i<k} M_ik e_i.
- PASSES times: s = w'Hq / q'Hq, then each code anew to where it is best given all others.
- Of rows that have one scale, the sums over all of them decide on it in place of each row's.
- Rounding to nearest at the first and at the last scale is kept where it has less e'He.

The codes do not depend on the BLAS, its threads or its blocks. H is put on a grid of GRID_BITS, codes are whole, and
weights are split into halves of HALF_BITS: every matrix product here is a sum of whole numbers below 2^53, exact in any
order. All else is done element by element, in the order of the columns.
"""

from __future__ import annotations

import numpy as np

from edge_tqs.graph.graph import Array
from edge_tqs.operators.arithmetic.int8 import WEIGHT_LIMIT, round_away

#: Shares of a row's largest magnitude that its codes may reach.
CLIPS = tuple(1 - 0.05 * step for step in range(13))
#: Times that the scale is fitted and each code is looked at again.
PASSES = 3
#: Bits of the moments' grid, and of each half of a weight; with 2^14 columns their products stay below 2^53.
GRID_BITS, HALF_BITS = 28, 11
#: Columns that are compensated together: the factor of more takes their cube in time.
TOGETHER = 1024
#: R K^2 of a group beyond which fewer clips are tried and each code is looked at once: seconds would be minutes.
HEAVY = 1 << 31


def compensated(
    rows: Array, moments: Array, width: int, damping: float, one_scale: bool = False
) -> tuple[Array, Array]:
    """Codes (G, R, K) int8 and scales (G, R) float32 of the weights ``rows`` (G, R, K).

    Args:
        rows: G groups of R rows of K weights.
        moments: (G, K, K), second moments of the inputs that the rows of a group read; symmetric, not negative.
        width: bits of a code.
        damping: share of the mean of the diagonal that is added to it.
        one_scale: whether all rows have the same.
    """
    limit = WEIGHT_LIMIT[width]
    h = damped(moments, damping)
    w = rows.astype(np.float64)
    hw = _of_weights(w, h)
    peak = np.abs(w).max(axis=2)
    peak = np.full_like(peak, peak.max()) if one_scale else peak
    peak = np.where(peak < np.finfo(np.float32).tiny, 1.0, peak)
    scale, least = peak / limit, np.full(peak.shape, np.inf)
    heavy = rows[0].size * rows.shape[2] > HEAVY
    for clip in CLIPS[::4] if heavy else CLIPS:
        tried = clip * peak / limit
        lost = _of_scales(_loss(_nearest(w, tried, limit), tried, h, hw), one_scale)
        scale, least = np.where(lost < least, tried, scale), np.minimum(lost, least)
    first = scale
    codes = _in_turn(w, h, scale, limit)
    codes, scale = _settled(codes, scale, h, hw, limit, 0 if heavy else PASSES, one_scale)
    for tried in (scale, first):
        nearest = _nearest(w, tried, limit)
        more, less = _loss(codes, scale, h, hw), _loss(nearest, tried, h, hw)
        better = _of_scales(less, one_scale) < _of_scales(more, one_scale)
        codes, scale = np.where(better[..., None], nearest, codes), np.where(better, tried, scale)
    return codes.astype(np.int8), scale.astype(np.float32)


def damped(moments: Array, damping: float) -> Array:
    """H (G, K, K): ``moments`` with ``damping`` of its mean diagonal added to the diagonal, on the grid.

    The unit matrix where a group reads nothing but zeros.
    """
    size = moments.shape[-1]
    mean = np.trace(moments, axis1=1, axis2=2)[:, None, None] / size
    h = (moments + moments.swapaxes(1, 2)) / 2 + damping * mean * np.eye(size)
    h = np.where(mean > 0, h, np.eye(size))
    step = np.exp2(np.frexp(np.abs(h).max(axis=(1, 2)))[1] - GRID_BITS)[:, None, None]
    on_grid: Array = np.rint(h / step) * step
    return on_grid


def _of_scales(values: Array, one_scale: bool) -> Array:
    """(G, R): ``values`` of the rows, or their sum for each where they have one scale."""
    return np.full_like(values, values.sum()) if one_scale else values


def _of_weights(w: Array, h: Array) -> Array:
    """w H (G, R, K), of the weights to 2 HALF_BITS bits of the largest of their row."""
    step = np.exp2(np.frexp(np.abs(w).max(axis=2))[1] - HALF_BITS)[..., None]
    high = np.rint(w / step)
    low = np.rint((w / step - high) * 2**HALF_BITS)
    product: Array = ((high @ h) + (low @ h) / 2**HALF_BITS) * step
    return product


def _nearest(w: Array, scale: Array, limit: int) -> Array:
    return np.clip(round_away(w / scale[..., None]), -limit, limit)


def _loss(codes: Array, scale: Array, h: Array, hw: Array) -> Array:
    """(G, R): e'He, less w'Hw, which no code changes."""
    lost: Array = scale * (scale * ((codes @ h) * codes).sum(axis=2) - 2 * (codes * hw).sum(axis=2))
    return lost


def _in_turn(w: Array, h: Array, scale: Array, limit: int) -> Array:
    """Codes (G, R, K), each column with what the errors of those before it left."""
    codes = np.empty_like(w)
    for group in range(len(w)):
        order = np.argsort(-np.diagonal(h[group]), kind="stable")
        for start in range(0, len(order), TOGETHER):
            columns = order[start : start + TOGETHER]
            factor = _factor(h[group][np.ix_(columns, columns)])
            wanted, s = w[group][:, columns].copy(), scale[group]
            for k, column in enumerate(columns):
                code = np.clip(round_away(wanted[:, k] / s), -limit, limit)
                codes[group, :, column] = code
                wanted[:, k + 1 :] -= (s * code - w[group, :, column])[:, None] * factor[k, k + 1 :]
    return codes


def _factor(h: Array) -> Array:
    """M (K, K), unit upper triangular, of ``h`` = M D M'; element by element from the last column on."""
    left, factor = h.copy(), np.eye(len(h))
    least = np.finfo(np.float64).eps * np.abs(np.diagonal(h)).max()
    for k in range(len(h) - 1, 0, -1):
        pivot = max(left[k, k], least)
        column = left[:k, k] / pivot
        factor[:k, k] = column
        left[:k, :k] -= (column * pivot)[:, None] * column
    return factor


def _settled(
    codes: Array, scale: Array, h: Array, hw: Array, limit: int, passes: int, one_scale: bool
) -> tuple[Array, Array]:
    """Codes and scales after ``passes`` of both, and a last fit of the scale."""
    diagonal = np.diagonal(h, axis1=1, axis2=2)
    hq = codes @ h
    for _ in range(passes):
        scale = _fitted(codes, scale, hq, hw, one_scale)
        settled = True
        for k in range(codes.shape[2]):
            away = (scale * hq[:, :, k] - hw[:, :, k]) / (diagonal[:, None, k] * scale)
            change = np.clip(round_away(codes[:, :, k] - away), -limit, limit) - codes[:, :, k]
            if change.any():
                settled = False
                codes[:, :, k] += change
                hq += change[:, :, None] * h[:, None, k]
        if settled:
            return codes, scale
    return codes, _fitted(codes, scale, hq, hw, one_scale)


def _fitted(codes: Array, scale: Array, hq: Array, hw: Array, one_scale: bool) -> Array:
    """The scale of least e'He for the codes, as far as it is positive."""
    above, below = (_of_scales((codes * of).sum(axis=2), one_scale) for of in (hw, hq))
    good = (above > 0) & (below > 0)
    fitted: Array = np.where(good, above / np.where(good, below, 1.0), scale)
    return fitted
