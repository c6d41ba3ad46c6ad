/*
 * A convolution over time, or a dense layer at each sample, int4 weights, for cores with NEON (Cortex-A). See
 * tqs_conv_neon.h.
 *
 * weights: as those of tqs_conv_s8_neon, two vectors in one: a byte holds the number 16 * second + first. buffer: as
 * there.
 */
#include "tqs_conv_neon.h"
#include "tqs_kernels.h"

static inline void take_apart(int8x16_t both, int8x16_t *w) {
    w[0] = vshrq_n_s8(vshlq_n_s8(both, 4), 4);
    w[1] = vshrq_n_s8(vsubq_s8(both, w[0]), 4);
}

static inline const int8_t *load(const int8_t *from, int8x16_t *w) {
    take_apart(vld1q_s8(from), w);
    take_apart(vld1q_s8(from + 16), w + 2);
    return from + 32;
}

void tqs_conv_s4_neon(const tqs_fc_t *layer, const tqs_taps_t *taps, const int8_t *x, uint32_t samples, int8_t *y,
                      int8_t *buffer) {
    tqs_conv_neon(layer, taps, x, samples, y, buffer, load, 32);
}
