/* y = a * b, int16, for NEON (Cortex-A): eight at a time. Every shift -31 to -1. See tqs_neon_rows.h for the rounding.
 */
#include "tqs_kernels_s16.h"
#include "tqs_neon_rows.h"

static inline int16x8_t eight(int16x8_t a, int16x8_t b, int32x4_t multiplier, int32x4_t shift) {
    const int32x4_t low = vmull_s16(vget_low_s16(a), vget_low_s16(b));
    const int32x4_t high = vmull_s16(vget_high_s16(a), vget_high_s16(b));

    return vcombine_s16(vqmovn_s32(tqs_neon_rescale_four(low, multiplier, shift)),
                        vqmovn_s32(tqs_neon_rescale_four(high, multiplier, shift)));
}

void tqs_mul_s16_neon(const tqs_scale_s16_t *layer, const int16_t *a, const int16_t *b, int16_t *y) {
    const int32x4_t multiplier = vdupq_n_s32(layer->multiplier);
    const int32x4_t shift = vdupq_n_s32(layer->shift);
    const uint32_t rest = layer->size % 8u;
    const int16_t *end = a + (layer->size - rest);

    for (; a != end; a += 8, b += 8, y += 8) {
        vst1q_s16(y, eight(vld1q_s16(a), vld1q_s16(b), multiplier, shift));
    }
    if (rest > 0u) {
        int16_t last[2][8] = {{0}, {0}};

        memcpy(last[0], a, rest * sizeof *a);
        memcpy(last[1], b, rest * sizeof *b);
        vst1q_s16(last[0], eight(vld1q_s16(last[0]), vld1q_s16(last[1]), multiplier, shift));
        memcpy(y, last[0], rest * sizeof *y);
    }
}
