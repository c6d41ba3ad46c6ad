"""Fixed-point tanh and logistic, bit for bit as gemmlowp computes them on int32.

gemmlowp, fixedpoint/fixedpoint.h (Apache-2.0, https://github.com/google/gemmlowp). A raw value r with i integer bits
stands for r / 2^(31 - i). Here raw values are held in int64 arrays, so that no step wraps.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Raw = npt.NDArray[np.int64]

_MAX = (1 << 31) - 1
_ONE_F0 = _MAX  # 1.0 does not fit 0 integer bits: gemmlowp takes the largest value
_ONE_F2 = 1 << 29

#: exp(-2^k) for k = -2 .. 4, with 0 integer bits
_EXP_MULTIPLIERS = (
    (-2, 1672461947),
    (-1, 1302514674),
    (0, 790015084),
    (1, 290630308),
    (2, 39332535),
    (3, 720401),
    (4, 242),
)


def multiply_high(a: Raw, b: Raw | int) -> Raw:
    """SaturatingRoundingDoublingHighMul: round(a * b / 2^31), ties towards plus infinity.

    gemmlowp rounds by sign and then truncates, which comes to the same. Only -2^31 times -2^31 would saturate; no
    caller has it.
    """
    return (a * b + (1 << 30)) >> 31


def divide_by_power(x: Raw, exponent: int | Raw) -> Raw:
    """RoundingDivideByPOT: round(x / 2^exponent), ties away from zero; exponent from 0 to 31."""
    half = (np.int64(1) << np.asarray(exponent, np.int64)) >> 1
    return (x + half - ((x < 0) & (half > 0))) >> exponent


def _multiply_by_power(x: Raw, exponent: int) -> Raw:
    """SaturatingRoundingMultiplyByPOT for a positive exponent."""
    saturated: Raw = np.clip(x << exponent, -_MAX - 1, _MAX)
    return saturated


def _half_sum(a: Raw, b: int) -> Raw:
    """RoundingHalfSum of values whose sum is not negative."""
    return (a + b + 1) >> 1


def _exp_between_minus_quarter_and_0(a: Raw) -> Raw:
    x = a + (1 << 28)
    x2 = multiply_high(x, x)
    x3 = multiply_high(x2, x)
    x4_over_4 = divide_by_power(multiply_high(x2, x2), 2)
    tail = divide_by_power(multiply_high(x4_over_4 + x3, 715827883) + x2, 1)
    return 1895147668 + multiply_high(x + tail, 1895147668)


def exp_on_negative_values(a: Raw, integer_bits: int) -> Raw:
    """exp(a), 0 integer bits, for a <= 0 with ``integer_bits`` (at most 5)."""
    quarter = 1 << (31 - integer_bits - 2)
    a_mod_quarter = (a & (quarter - 1)) - quarter
    result = _exp_between_minus_quarter_and_0(_multiply_by_power(a_mod_quarter, integer_bits))
    remainder = a_mod_quarter - a
    for exponent, multiplier in _EXP_MULTIPLIERS:
        if integer_bits > exponent:
            bit = 1 << (31 - integer_bits + exponent)
            result = np.where(remainder & bit, multiply_high(result, multiplier), result)
    return np.where(a == 0, _ONE_F0, result)


def _reciprocal_of_half_denominator(a: Raw) -> Raw:
    """2 / (1 + a), 2 integer bits, for a in (0, 1) with none; three Newton-Raphson steps."""
    half_denominator = _half_sum(a, _ONE_F0)
    x = 1515870810 + multiply_high(half_denominator, -1010580540)
    for _ in range(3):
        error = _ONE_F2 - multiply_high(half_denominator, x)
        x = x + _multiply_by_power(multiply_high(x, error), 2)
    return x


def one_over_one_plus(a: Raw) -> Raw:
    """1 / (1 + a) with 0 integer bits, for a in [0, 1) with none."""
    return _multiply_by_power(_reciprocal_of_half_denominator(a), 1)  # halved (2 to 1 integer bits), rescaled to 0


def tanh(a: Raw) -> Raw:
    """tanh(a) with 0 integer bits, a with 4."""
    magnitude_exp = exp_on_negative_values(-np.abs(a), 5)  # exp(-2|a|): one more integer bit doubles the value
    t = _multiply_by_power(_reciprocal_of_half_denominator(magnitude_exp) - _ONE_F2, 2)
    return np.where(a == 0, 0, np.where(a < 0, -t, t))


def logistic(a: Raw) -> Raw:
    """1 / (1 + exp(-a)) with 0 integer bits, a with 4."""
    positive = one_over_one_plus(exp_on_negative_values(-np.abs(a), 4))
    return np.where(a == 0, 1 << 30, np.where(a > 0, positive, _ONE_F0 - positive))
