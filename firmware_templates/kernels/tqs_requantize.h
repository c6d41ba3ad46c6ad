/*
 * The one rounding of every kernel: tflite-micro's double rounding (MultiplyByQuantizedMultiplier without
 * TFLITE_SINGLE_ROUNDING, tensorflow/lite/kernels/internal/common.h), that is SaturatingRoundingDoublingHighMul, then
 * RoundingDivideByPOT (gemmlowp, fixedpoint.h).
 */
#ifndef TQS_REQUANTIZE_H
#define TQS_REQUANTIZE_H

#include <stdint.h>

/* The one thing asked of a compiler beyond C99: >> of a negative number is arithmetic (GCC, Clang, Arm, IAR: all do).
 */
typedef char tqs_check_arithmetic_shift[((-5) >> 1) == -3 ? 1 : -1];

/*
 * Returns value * multiplier * 2^(shift - 31), rounded twice.
 *
 * multiplier: 0, or 2^30 to 2^31 - 1 (2^29 and more for means). shift: -31 to 30; positive shifts to the left before
 * the product. The caller keeps |value| * 2^max(shift, 0) below 2^31; for dense layers, sums and products the code
 * generator has proved it.
 */
static inline int32_t tqs_requantize(int32_t value, int32_t multiplier, int32_t shift) {
    int32_t high;
    int32_t mask;
    int32_t rest;
    int32_t half;

    if (shift > 0) {
        value *= (int32_t)1 << shift;
        shift = 0;
    }
    /* Half rounds up here; equal to gemmlowp's nudge by sign and division that truncates. */
    high = (int32_t)(((int64_t)value * multiplier + ((int64_t)1 << 30)) >> 31);
    /* Half rounds away from zero here. */
    mask = (int32_t)(((uint32_t)1 << -shift) - 1u);
    rest = high & mask;
    half = (mask >> 1) + (high < 0 ? 1 : 0);
    return (high >> -shift) + (rest > half ? 1 : 0);
}

/* value * 2^-shift, half away from zero. |value| <= 2^30, shift: 0 to 31. */
static inline int32_t tqs_shift_right(int32_t value, int32_t shift) {
    const int32_t half = (int32_t)(((uint32_t)1 << shift) >> 1);

    return (value + half + ((value >> 31) & -(int32_t)(half != 0))) >> shift;
}

/* tqs_requantize of |value| <= 2^30, its shift in two: 0 to 31 each, one of them 0. */
static inline int32_t tqs_scaled(int32_t value, int32_t multiplier, int32_t left, int32_t right) {
    const int64_t product = (int64_t)(value * ((int32_t)1 << left)) * multiplier;

    return tqs_shift_right((int32_t)((product + ((int64_t)1 << 30)) >> 31), right);
}

/* value + zero_point within [low, high]; clamped before the sum, which would otherwise overflow for extreme values. */
static inline int8_t tqs_saturate(int32_t value, int32_t zero_point, int32_t low, int32_t high) {
    if (value < low - zero_point) {
        return (int8_t)low;
    }
    if (value > high - zero_point) {
        return (int8_t)high;
    }
    return (int8_t)(value + zero_point);
}

#endif
