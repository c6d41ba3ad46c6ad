/*
 * What the dense kernels for int16 activations share on cores with NEON (Cortex-A): eight inputs at a time, in weights
 * as those of Helium have them, and how sums become codes. The code generator has checked that sums stay below 2^31.
 */
#ifndef TQS_FC_S16_NEON_H
#define TQS_FC_S16_NEON_H

#include <string.h>

#include "tqs_kernels_s16.h"
#include "tqs_neon_rows.h"

/* sums + the products of eight values, in four lanes. */
static inline int32x4_t tqs_neon_dot_s16(int32x4_t sums, int16x8_t w, int16x8_t x) {
    sums = vmlal_s16(sums, vget_low_s16(w), vget_low_s16(x));
    return vmlal_s16(sums, vget_high_s16(w), vget_high_s16(x));
}

/* The sums of the lanes of four rows. */
static inline int32x4_t tqs_neon_rows(const int32x4_t lanes[4]) {
    return tqs_neon_pairs(tqs_neon_pairs(lanes[0], lanes[1]), tqs_neon_pairs(lanes[2], lanes[3]));
}

/* The inputs behind the last eight, filled up with zeros. */
static inline int16x8_t tqs_neon_last(const int16_t *x, uint32_t rest) {
    int16_t last[8] = {0};

    memcpy(last, x, rest * sizeof *last);
    return vld1q_s16(last);
}

/* Two sums times their multipliers in 64 bits, shifted to the right with half rounded up. */
static inline int32x2_t tqs_neon_rescale_s16(int32x2_t sums, int32x2_t multipliers, int32x2_t shifts) {
    return vqmovn_s64(vrshlq_s64(vmull_s32(sums, multipliers), vmovl_s32(shifts)));
}

/* Four outputs, or as many as are left, from the sums of the products. */
static inline void tqs_neon_write_s16(const tqs_fc_s16_t *layer, const tqs_rows_s16_t *rows, int32x4_t sums, int16_t *y,
                                      uint32_t left) {
    const int32x4_t multipliers = vmovl_s16(vld1_s16(rows->multiplier));
    int32x4_t shifts;
    int16x4_t codes;
    uint32_t four;

    memcpy(&four, rows->shift, 4);
    shifts = vnegq_s32(vmovl_s16(vget_low_s16(vmovl_s8(vreinterpret_s8_u32(vdup_n_u32(four))))));
    sums = vaddq_s32(sums, vld1q_s32(rows->bias));
    sums = vcombine_s32(tqs_neon_rescale_s16(vget_low_s32(sums), vget_low_s32(multipliers), vget_low_s32(shifts)),
                        tqs_neon_rescale_s16(vget_high_s32(sums), vget_high_s32(multipliers), vget_high_s32(shifts)));
    codes = vmin_s16(vmax_s16(vqmovn_s32(sums), vdup_n_s16(layer->low)), vdup_n_s16(layer->high));
    if (left >= 4u) {
        vst1_s16(y, codes);
    } else {
        int16_t part[4];

        vst1_s16(part, codes);
        memcpy(y, part, left * sizeof *part);
    }
}

#endif
