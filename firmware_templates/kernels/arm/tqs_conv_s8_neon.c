/*
 * A convolution over time, or a dense layer at each sample, int8 weights, for cores with NEON (Cortex-A). See
 * tqs_conv_neon.h.
 *
 * weights: [R / 4][K / 4][4][4] bytes, K rounded up to a multiple of sixteen. buffer: four times as many bytes.
 */
#include "tqs_conv_neon.h"
#include "tqs_kernels.h"

static inline const int8_t *load(const int8_t *from, int8x16_t *w) {
#if defined(__aarch64__)
    const int8x16x4_t four = vld1q_s8_x4(from);

    w[0] = four.val[0];
    w[1] = four.val[1];
    w[2] = four.val[2];
    w[3] = four.val[3];
#else
    w[0] = vld1q_s8(from);
    w[1] = vld1q_s8(from + 16);
    w[2] = vld1q_s8(from + 32);
    w[3] = vld1q_s8(from + 48);
#endif
    return from + 64;
}

void tqs_conv_s8_neon(const tqs_fc_t *layer, const tqs_taps_t *taps, const int8_t *x, uint32_t samples, int8_t *y,
                      int8_t *buffer) {
    tqs_conv_neon(layer, taps, x, samples, y, buffer, load, 64);
}
