/*
 * What the dense kernels for NEON (Cortex-A) share: the inputs behind the last whole chunk, and how sums become codes.
 *
 * Sixteen inputs are a chunk. Weights lie in blocks of four rows as tqs_mve_rows.h has them: the half chunk, if the
 * last inputs are one to eight more than whole chunks, then the chunks, the last of them filled up with zeros. Where
 * the compiler is told of a core with SDOT (Cortex-A55, A76 and later), it is used; the weights are the same.
 */
#ifndef TQS_NEON_ROWS_H
#define TQS_NEON_ROWS_H

#include <arm_neon.h>
#include <string.h>

#include "tqs_kernels.h"

/* The inputs of a layer: whole chunks in x, and what is left over. */
typedef struct tqs_neon_inputs {
    uint32_t whole; /* chunks */
    uint32_t half;  /* 1: rest is the half chunk, twice */
    uint32_t more;  /* 1: rest is a chunk, filled up with zeros */
    int8x16_t rest;
} tqs_neon_inputs_t;

static inline tqs_neon_inputs_t tqs_neon_inputs(const int8_t *x, uint32_t inputs) {
    const uint32_t rest = inputs % 16u;
    tqs_neon_inputs_t in = {inputs / 16u, rest > 0u && rest <= 8u ? 1u : 0u, rest > 8u ? 1u : 0u, vdupq_n_s8(0)};
    int8_t last[16] = {0};

    if (rest > 0u) {
        memcpy(last, x + (inputs - rest), rest);
        if (in.half != 0u) {
            memcpy(last + 8, last, 8);
        }
        in.rest = vld1q_s8(last);
    }
    return in;
}

/* sums + the products of each four values side by side; |w| <= 127, so that two products fit 16 bits. */
static inline int32x4_t tqs_neon_dot(int32x4_t sums, int8x16_t w, int8x16_t x) {
#if defined(__ARM_FEATURE_DOTPROD)
    return vdotq_s32(sums, w, x);
#else
    const int16x8_t products = vmull_s8(vget_low_s8(w), vget_low_s8(x));

    return vpadalq_s16(sums, vmlal_s8(products, vget_high_s8(w), vget_high_s8(x)));
#endif
}

/* [a0 + a1, a2 + a3, b0 + b1, b2 + b3] */
static inline int32x4_t tqs_neon_pairs(int32x4_t a, int32x4_t b) {
#if defined(__aarch64__)
    return vpaddq_s32(a, b);
#else
    return vcombine_s32(vpadd_s32(vget_low_s32(a), vget_high_s32(a)), vpadd_s32(vget_low_s32(b), vget_high_s32(b)));
#endif
}

/* The products of a half chunk: two lanes of the first row, two of the second. */
static inline int32x4_t tqs_neon_half(int8x16_t w, int8x16_t twice) {
#if defined(__ARM_FEATURE_DOTPROD)
    return vdotq_s32(vdupq_n_s32(0), w, twice);
#else
    const int32x4_t first = vpaddlq_s16(vmull_s8(vget_low_s8(w), vget_low_s8(twice)));
    const int32x4_t second = vpaddlq_s16(vmull_s8(vget_high_s8(w), vget_high_s8(twice)));

    return tqs_neon_pairs(first, second);
#endif
}

/*
 * Rounded twice: VQRDMULH is SaturatingRoundingDoublingHighMul; RoundingDivideByPOT(h, e) for e > 0 is (h - (h < 0) +
 * 2^(e - 1)) >> e, that is VRSHL of h + (h >> 31). Shifts are -31 to -1.
 */
static inline int32x4_t tqs_neon_rescale_four(int32x4_t sums, int32x4_t multipliers, int32x4_t shifts) {
    const int32x4_t high = vqrdmulhq_s32(sums, multipliers);

    return vrshlq_s32(vsraq_n_s32(high, high, 31), shifts);
}

/* The same of eight, within 16 bits. multipliers: [8] */
static inline int16x8_t tqs_neon_rescale(int32x4_t sums0, int32x4_t sums1, const int32_t *multipliers,
                                         int16x8_t shifts) {
    sums0 = tqs_neon_rescale_four(sums0, vld1q_s32(multipliers), vmovl_s16(vget_low_s16(shifts)));
    sums1 = tqs_neon_rescale_four(sums1, vld1q_s32(multipliers + 4), vmovl_s16(vget_high_s16(shifts)));
    return vcombine_s16(vqmovn_s32(sums0), vqmovn_s32(sums1));
}

/* Four codes, or as many as are left, within [low, high]. */
static inline void tqs_neon_put(int32x4_t codes, int8_t low, int8_t high, int8_t *y, uint32_t left) {
    int8x8_t narrow = vqmovn_s16(vcombine_s16(vqmovn_s32(codes), vdup_n_s16(0)));
    uint32_t four;

    narrow = vmin_s8(vmax_s8(narrow, vdup_n_s8(low)), vdup_n_s8(high));
    four = vget_lane_u32(vreinterpret_u32_s8(narrow), 0);
    if (left >= 4u) {
        memcpy(y, &four, 4);
    } else {
        memcpy(y, &four, left);
    }
}

/* Four outputs, or as many as are left, from their sums. */
static inline void tqs_neon_write(const tqs_fc_t *layer, const tqs_rows_t *rows, int32x4_t sums, int8_t *y,
                                  uint32_t left) {
    int32x4_t shifts;
    uint32_t four;

    memcpy(&four, rows->shift, 4);
    shifts = vmovl_s16(vget_low_s16(vmovl_s8(vreinterpret_s8_u32(vdup_n_u32(four)))));
    sums = tqs_neon_rescale_four(sums, vld1q_s32(rows->multiplier), shifts);
    tqs_neon_put(vaddq_s32(sums, vdupq_n_s32(layer->zero_point)), layer->low, layer->high, y, left);
}

#endif
