/*
 * What the kernels for Cortex-M share: tflite-micro's double rounding in as few instructions as each core has for it.
 *
 * The layer structs are those of tqs_kernels.h, but for what is said of each kernel in edge_tqs/c_dense.py: weights lie
 * in the kernel's own order, biases are doubled, and shifts are kept as -1 - shift. The code generator gives a layer to
 * these kernels only where every shift is -31 to -1 and every accumulator stays below 2^30.
 */
#ifndef TQS_ARM_H
#define TQS_ARM_H

#include <stdint.h>

/* (a * b + 2^31) >> 32. With a doubled value it is gemmlowp's SaturatingRoundingDoublingHighMul. |a| < 2^31. */
static inline int32_t tqs_high_half(int32_t a, int32_t b) {
#if defined(__ARM_FEATURE_DSP)
    int32_t high;

    __asm__("smmulr %0, %1, %2" : "=r"(high) : "r"(a), "r"(b));
    return high;
#elif defined(__ARM_ARCH_6M__) || defined(__ARM_ARCH_8M_BASE__)
    /* These cores multiply to 32 bits. Four products of halves; b is not negative. */
    const int32_t a_high = a >> 16;
    const uint32_t a_low = (uint32_t)a & 0xFFFFu;
    const int32_t b_high = b >> 16;
    const uint32_t b_low = (uint32_t)b & 0xFFFFu;
    const uint32_t middle = a_low * (uint32_t)b_high + ((a_low * b_low) >> 16); /* below 2^31 + 2^16 */
    const int32_t other = a_high * (int32_t)b_low + (int32_t)((middle & 0xFFFFu) + 0x8000u);

    return a_high * b_high + (int32_t)(middle >> 16) + (other >> 16);
#else
    const int64_t product = (int64_t)a * b;

    return (int32_t)(product >> 32) + (int32_t)((uint32_t)product >> 31);
#endif
}

/* value within [-128, 127]. */
static inline int32_t tqs_saturate_s8(int32_t value) {
#if defined(__ARM_FEATURE_SAT)
    int32_t result;

    __asm__("ssat %0, #8, %1" : "=r"(result) : "r"(value));
    return result;
#else
    if ((uint32_t)(value + 128) > 255u) {
        value = (value >> 31) ^ 127;
    }
    return value;
#endif
}

/*
 * The code of doubled / 2 * multiplier * 2^-(shift + 32), rounded twice, with the zero point in offset = 2 * zero_point
 * + 1.
 *
 * RoundingDivideByPOT(h, e) for e > 0 is (h - (h < 0) + 2^(e - 1)) >> e; shifting by e - 1 first, then adding 1 and
 * shifting once more, gives the same and needs no power of two. shift: e - 1.
 */
static inline int32_t tqs_rescale(int32_t doubled, int32_t multiplier, int32_t shift, int32_t offset) {
    int32_t high = tqs_high_half(doubled, multiplier);

    high += high >> 31;
    high = (high >> shift) + offset;
#if defined(__ARM_FEATURE_SAT)
    __asm__("ssat %0, #8, %0, asr #1" : "+r"(high));
    return high;
#else
    return tqs_saturate_s8(high >> 1);
#endif
}

/* y within [low, high]; most layers need no more than what saturation does. */
static inline void tqs_clamp(int8_t *y, uint32_t size, int32_t low, int32_t high) {
    uint32_t i;

    if (low > -128 || high < 127) {
        for (i = 0; i < size; i++) {
            const int32_t value = y[i];

            y[i] = (int8_t)(value < low ? low : value > high ? high : value);
        }
    }
}

#endif
