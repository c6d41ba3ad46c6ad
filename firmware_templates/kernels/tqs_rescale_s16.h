/* What the kernels for int16 activations share. */
#ifndef TQS_RESCALE_S16_H
#define TQS_RESCALE_S16_H

#include <stdint.h>

/*
 * Inputs whose products fit a sum of 32 bits whatever they are: 512 * 32768 * 127 < 2^31. A dense layer adds blocks of
 * as many in 32 bits, and the blocks in 64.
 */
#define TQS_BLOCK_S16 512u

/*
 * sum * multiplier * 2^-shift, half rounds up, within [low, high]: tensorflow/lite/kernels/internal/common.cc,
 * MultiplyByQuantizedMultiplier(int64_t, ...). |sum| < 2^47, multiplier < 2^15, shift from 1 to 62.
 */
static inline int16_t tqs_rescale_s16(int64_t sum, int32_t multiplier, int32_t shift, int32_t low, int32_t high) {
    const int64_t value = (sum * multiplier + ((int64_t)1 << (shift - 1))) >> shift;

    return (int16_t)(value < low ? low : value > high ? high : value);
}

/* value within int16. */
static inline int16_t tqs_saturate_s16(int32_t value) {
    return (int16_t)(value < -32768 ? -32768 : value > 32767 ? 32767 : value);
}

#endif
