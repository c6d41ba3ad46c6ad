/* y = a * b, for NEON (Cortex-A): sixteen at a time, then eight. Every shift -31 to -1. */
#include "tqs_neon_rows.h"

static inline int8x8_t eight(const tqs_mul_t *layer, int8x8_t a, int8x8_t b) {
    const int16x8_t codes_a = vsubl_s8(a, vdup_n_s8(layer->a_zero_point));
    const int16x8_t codes_b = vsubl_s8(b, vdup_n_s8(layer->b_zero_point));
    const int32x4_t multipliers = vdupq_n_s32(layer->multiplier);
    const int32x4_t shifts = vdupq_n_s32(layer->shift);
    int32x4_t low = vmull_s16(vget_low_s16(codes_a), vget_low_s16(codes_b));
    int32x4_t high = vmull_s16(vget_high_s16(codes_a), vget_high_s16(codes_b));

    low = tqs_neon_rescale_four(low, multipliers, shifts);
    high = tqs_neon_rescale_four(high, multipliers, shifts);
    return vqmovn_s16(vqaddq_s16(vcombine_s16(vqmovn_s32(low), vqmovn_s32(high)), vdupq_n_s16(layer->y_zero_point)));
}

void tqs_mul_s8_neon(const tqs_mul_t *layer, const int8_t *a, const int8_t *b, int8_t *y) {
    const tqs_mul_t held = *layer; /* y may alias anything */
    const uint32_t rest = held.size % 8u;
    const int8_t *end = a + (held.size & ~15u);

    for (; a != end; a += 16, b += 16, y += 16) {
        const int8x16_t codes_a = vld1q_s8(a);
        const int8x16_t codes_b = vld1q_s8(b);

        vst1q_s8(y, vcombine_s8(eight(&held, vget_low_s8(codes_a), vget_low_s8(codes_b)),
                                eight(&held, vget_high_s8(codes_a), vget_high_s8(codes_b))));
    }
    if ((held.size & 8u) != 0u) {
        vst1_s8(y, eight(&held, vld1_s8(a), vld1_s8(b)));
        a += 8;
        b += 8;
        y += 8;
    }
    if (rest > 0u) {
        int8_t last[2][8] = {{0}, {0}};

        memcpy(last[0], a, rest);
        memcpy(last[1], b, rest);
        vst1_s8(last[0], eight(&held, vld1_s8(last[0]), vld1_s8(last[1])));
        memcpy(y, last[0], rest);
    }
}
