/*
 * y = a b, where both are computed, for cores with NEON (Cortex-A). See tqs_matmul_chunks.h. Every shift -31 to -1; K *
 * 255 * 255 below 2^30.
 */
#include "tqs_matmul_chunks.h"
#include "tqs_neon_rows.h"

/* sums + the products of sixteen codes, in four lanes. Two products of -128 leave 16 bits. */
static inline int32x4_t add_products(int32x4_t sums, int8x16_t x, int8x16_t w) {
#if defined(__ARM_FEATURE_DOTPROD)
    return vdotq_s32(sums, x, w);
#else
    sums = vpadalq_s16(sums, vmull_s8(vget_low_s8(x), vget_low_s8(w)));
    return vpadalq_s16(sums, vmull_s8(vget_high_s8(x), vget_high_s8(w)));
#endif
}

/* Adds the products of sixteen codes to four lanes of each column, and the codes to the fifth; returns the weights
 * behind.
 */
static inline const int8_t *add_chunk(int32x4_t sums[5], const int8_t *w, int8x16_t values) {
    sums[0] = add_products(sums[0], values, vld1q_s8(w));
    sums[1] = add_products(sums[1], values, vld1q_s8(w + 16));
    sums[2] = add_products(sums[2], values, vld1q_s8(w + 32));
    sums[3] = add_products(sums[3], values, vld1q_s8(w + 48));
    sums[4] = vpadalq_s16(sums[4], vpaddlq_s8(values));
    return w + 64;
}

static inline void meet(const tqs_matmul_t *layer, const int8_t *a, uint32_t rows, const uint32_t *packed, int8_t *y,
                        uint32_t y_step) {
    const uint32_t inner = layer->inner;
    const int32_t b_zero_point = layer->b_zero_point;
    const int32x4_t constants = vld1q_s32((const int32_t *)packed);
    const int32x4_t multiplier = vdupq_n_s32(layer->multiplier);
    const int32x4_t shift = vdupq_n_s32(layer->shift);
    const int32x4_t y_zero_point = vdupq_n_s32(layer->y_zero_point);

    for (; rows > 0u; rows--) {
        const int8_t *w = (const int8_t *)(packed + TQS_CODES);
        const int8_t *end = a + (inner & ~15u);
        const uint32_t rest = inner & 15u;
        int32x4_t sums[5] = {vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0)};

        for (; a != end; a += 16) {
            w = add_chunk(sums, w, vld1q_s8(a));
        }
        if (rest > 0u) {
            int8_t last[16] = {0};

            memcpy(last, a, rest);
            add_chunk(sums, w, vld1q_s8(last));
            a += rest;
        }
        sums[0] = tqs_neon_pairs(tqs_neon_pairs(sums[0], sums[1]), tqs_neon_pairs(sums[2], sums[3]));
        sums[4] = tqs_neon_pairs(sums[4], sums[4]);
        sums[4] = tqs_neon_pairs(sums[4], sums[4]);
        sums[0] = vmlsq_n_s32(vaddq_s32(sums[0], constants), sums[4], b_zero_point);
        sums[0] = vaddq_s32(tqs_neon_rescale_four(sums[0], multiplier, shift), y_zero_point);
        tqs_neon_put(sums[0], -128, 127, y, 4);
        y += y_step;
    }
}

void tqs_matmul_s8_neon(const tqs_matmul_t *layer, const int8_t *a, const int8_t *b, int8_t *y, uint32_t *scratch) {
    tqs_matmul_blocks(layer, a, b, y, 1, scratch, tqs_pack_columns, meet);
}
