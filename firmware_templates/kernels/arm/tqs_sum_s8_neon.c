/*
 * y = a + b or a - b in one step, for NEON (Cortex-A): sixteen at a time, then eight. A shift by 22 in two, of which
 * each saturates.
 */
#include "tqs_neon_rows.h"

static inline int8x8_t eight(const tqs_sum_t *layer, int8x8_t a, int8x8_t b) {
    const int16x8_t codes_a = vmovl_s8(a);
    const int16x8_t codes_b = vmovl_s8(b);
    int32x4_t low = vdupq_n_s32(layer->offset);
    int32x4_t high = low;

    low = vmlaq_n_s32(low, vmovl_s16(vget_low_s16(codes_a)), layer->a_factor);
    high = vmlaq_n_s32(high, vmovl_s16(vget_high_s16(codes_a)), layer->a_factor);
    low = vmlaq_n_s32(low, vmovl_s16(vget_low_s16(codes_b)), layer->b_factor);
    high = vmlaq_n_s32(high, vmovl_s16(vget_high_s16(codes_b)), layer->b_factor);
    return vqshrn_n_s16(vcombine_s16(vshrn_n_s32(low, 16), vshrn_n_s32(high, 16)), 6);
}

void tqs_sum_s8_neon(const tqs_sum_t *layer, const int8_t *a, const int8_t *b, int8_t *y) {
    const tqs_sum_t held = *layer; /* y may alias anything */
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
