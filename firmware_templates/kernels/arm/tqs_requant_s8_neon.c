/* y = x in another scale and zero point, for NEON (Cortex-A): eight at a time. */
#include "tqs_neon_rows.h"

/* A shift by 0 or to the left rounds nothing after the product. */
static inline int32x4_t rescale(const tqs_requant_t *layer, int32x4_t values) {
    const int32x4_t shift = vdupq_n_s32(layer->shift);
    const int32x4_t high =
        vqrdmulhq_s32(vshlq_s32(values, vmaxq_s32(shift, vdupq_n_s32(0))), vdupq_n_s32(layer->multiplier));
    const int32x4_t below = vandq_s32(vshrq_n_s32(high, 31), vshrq_n_s32(shift, 31));

    return vrshlq_s32(vaddq_s32(high, below), vminq_s32(shift, vdupq_n_s32(0)));
}

static inline int8x8_t eight(const tqs_requant_t *layer, int8x8_t x) {
    const int16x8_t codes = vsubl_s8(x, vdup_n_s8(layer->x_zero_point));
    const int32x4_t low = rescale(layer, vmovl_s16(vget_low_s16(codes)));
    const int32x4_t high = rescale(layer, vmovl_s16(vget_high_s16(codes)));

    return vqmovn_s16(vqaddq_s16(vcombine_s16(vqmovn_s32(low), vqmovn_s32(high)), vdupq_n_s16(layer->y_zero_point)));
}

void tqs_requant_s8_neon(const tqs_requant_t *layer, const int8_t *x, int8_t *y) {
    const tqs_requant_t held = *layer; /* y may alias anything */
    const uint32_t rest = held.size % 8u;
    const int8_t *end = x + (held.size - rest);

    while (x != end) {
        vst1_s8(y, eight(&held, vld1_s8(x)));
        x += 8;
        y += 8;
    }
    if (rest > 0u) {
        int8_t last[8] = {0};

        memcpy(last, x, rest);
        vst1_s8(last, eight(&held, vld1_s8(last)));
        memcpy(y, last, rest);
    }
}
