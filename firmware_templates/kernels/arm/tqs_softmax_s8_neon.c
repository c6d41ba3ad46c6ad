/*
 * y = exp(x) over its sum, row by row, for NEON (Cortex-A): eight shares at a time. VQRDMULH is gemmlowp's product,
 * VRSHL its division, for neither factor is negative. There is no gather: exponentials are looked up one by one, and
 * those of a row are kept on the stack, of which Linux has enough.
 */
#include <arm_neon.h>
#include <string.h>

#include "tqs_softmax.h"

#define COLUMNS 512u /* at most 511, to the next eight */

static inline int32_t largest_of(const int8_t *x, uint32_t columns) {
    int8x8_t most = vdup_n_s8(-128);
    int32_t largest;
    uint32_t k;

    for (k = 0; k + 8u <= columns; k += 8u) {
        most = vmax_s8(most, vld1_s8(x + k));
    }
    most = vpmax_s8(most, most);
    most = vpmax_s8(most, most);
    most = vpmax_s8(most, most);
    largest = vget_lane_s8(most, 0);
    for (; k < columns; k++) {
        largest = x[k] > largest ? x[k] : largest;
    }
    return largest;
}

/* The exponentials of a row, filled up with zeros, to powers: [columns to the next eight]. */
static inline void look_up(const tqs_softmax_t *layer, const int8_t *x, uint32_t columns, int32_t *powers) {
    const int32_t largest = largest_of(x, columns);
    const int32_t known = layer->known;
    const int32_t *table = layer->table;
    uint32_t k;

    for (k = 0; k < columns; k++) {
        const int32_t below = largest - x[k];

        powers[k] = below < known ? table[below] : 0;
    }
    for (; k % 8u != 0u; k++) {
        powers[k] = 0;
    }
}

static inline int8x8_t eight(const int32_t *powers, tqs_share_t share) {
    const int32x4_t shift = vdupq_n_s32(-share.shift);
    const int32x4_t low = vrshlq_s32(vqrdmulhq_n_s32(vld1q_s32(powers), share.scale), shift);
    const int32x4_t high = vrshlq_s32(vqrdmulhq_n_s32(vld1q_s32(powers + 4), share.scale), shift);

    return vqmovn_s16(vsubq_s16(vcombine_s16(vqmovn_s32(low), vqmovn_s32(high)), vdupq_n_s16(128)));
}

void tqs_softmax_s8_neon(const tqs_softmax_t *layer, const int8_t *x, int8_t *y) {
    const tqs_softmax_t held = *layer; /* y may alias anything */
    const uint32_t columns = held.columns;
    int32_t powers[COLUMNS];
    uint32_t row;

    for (row = held.rows; row > 0u; row--) {
        uint32x4_t sums = vdupq_n_u32(0);
        uint32x2_t pair;
        tqs_share_t share;
        uint32_t k;

        look_up(&held, x, columns, powers);
        for (k = 0; k < columns; k += 4u) {
            sums = vrsraq_n_u32(sums, vreinterpretq_u32_s32(vld1q_s32(powers + k)), 12);
        }
        pair = vadd_u32(vget_low_u32(sums), vget_high_u32(sums));
        share = tqs_share_of(vget_lane_u32(vpadd_u32(pair, pair), 0));
        for (k = 0; k + 8u <= columns; k += 8u) {
            vst1_s8(y + k, eight(powers + k, share));
        }
        if (k < columns) {
            int8_t last[8];

            vst1_s8(last, eight(powers + k, share));
            memcpy(y + k, last, columns - k);
        }
        x += columns;
        y += columns;
    }
}
