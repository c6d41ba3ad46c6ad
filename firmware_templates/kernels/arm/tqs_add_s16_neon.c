/*
 * y = a + b or a - b, int16, for NEON (Cortex-A): four at a time. Every shift -31 to 0. See tqs_neon_rows.h for the
 * rounding; a shift by 0 rounds nothing.
 */
#include "tqs_kernels_s16.h"
#include "tqs_neon_rows.h"

static inline int32x4_t rescale(int32x4_t values, int32_t multiplier, int32_t shift) {
    const int32x4_t high = vqrdmulhq_n_s32(values, multiplier);
    const int32x4_t shifts = vdupq_n_s32(shift);

    return vrshlq_s32(vaddq_s32(high, vandq_s32(vshrq_n_s32(high, 31), vshrq_n_s32(shifts, 31))), shifts);
}

static inline int16x4_t four(const tqs_add_s16_t *layer, int16x4_t a, int16x4_t b) {
    const int32x4_t from_a = rescale(vshll_n_s16(a, 15), layer->a_multiplier, layer->a_shift);
    const int32x4_t from_b = rescale(vshll_n_s16(b, 15), layer->b_multiplier, layer->b_shift);
    const int32x4_t sum = vmlaq_n_s32(from_a, from_b, layer->subtract != 0u ? -1 : 1);

    return vqmovn_s32(rescale(sum, layer->y_multiplier, layer->y_shift));
}

void tqs_add_s16_neon(const tqs_add_s16_t *layer, const int16_t *a, const int16_t *b, int16_t *y) {
    const tqs_add_s16_t held = *layer; /* y may alias it */
    const uint32_t rest = held.size % 4u;
    const int16_t *end = a + (held.size - rest);

    for (; a != end; a += 4, b += 4, y += 4) {
        vst1_s16(y, four(&held, vld1_s16(a), vld1_s16(b)));
    }
    if (rest > 0u) {
        int16_t last[2][4] = {{0}, {0}};

        memcpy(last[0], a, rest * sizeof *a);
        memcpy(last[1], b, rest * sizeof *b);
        vst1_s16(last[0], four(&held, vld1_s16(last[0]), vld1_s16(last[1])));
        memcpy(y, last[0], rest * sizeof *y);
    }
}
