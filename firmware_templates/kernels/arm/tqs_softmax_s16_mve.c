/*
 * y = exp(x) over its sum, row by row, int16, for Helium (Cortex-M55): four at a time. See tqs_mve_rows.h for the
 * rounding of differences; a shift by 0 rounds nothing.
 */
#include <arm_mve.h>

#include "tqs_attention.h"
#include "tqs_requantize.h" /* for its check of >> */

/* Between two entries of a table; x: -32768 to 32767, the whole of it. */
static inline int32_t look_up(const int16_t *table, int32_t x) {
    const int16_t *entry = table + 256 + (x >> 7);

    return entry[0] + (((entry[1] - entry[0]) * (x & 127) + 64) >> 7);
}

static inline int32x4_t look_up_four(const int16_t *table, int32x4_t x, mve_pred16_t here) {
    const uint32x4_t entry = (uint32x4_t)vaddq_n_s32(vshrq_n_s32(x, 7), 256);
    const int32x4_t low = vldrhq_gather_shifted_offset_z_s32(table, entry, here);
    const int32x4_t rise = vsubq_s32(vldrhq_gather_shifted_offset_z_s32(table + 1, entry, here), low);

    return vaddq_s32(low, vrshrq_n_s32(vmulq_s32(rise, vandq_s32(x, vdupq_n_s32(127))), 7));
}

void tqs_softmax_s16_mve(const tqs_softmax_s16_t *layer, const int16_t *x, int16_t *y) {
    const uint32_t columns = layer->columns;
    const int32_t multiplier = layer->multiplier;
    const int32_t up = layer->shift > 0 ? layer->shift : 0;
    const int32_t down = layer->shift < 0 ? layer->shift : 0;
    const int32_t rounds = layer->shift < 0 ? 1 : 0;
    const int16_t *exponentials = layer->exponentials;
    const int16_t *reciprocals = layer->reciprocals;
    uint32_t row;

    for (row = layer->rows; row > 0u; row--) {
        int16_t largest = -32768;
        int32_t sum = 0;
        int32_t shift;
        int32_t scale;
        int32_t left;

        for (left = (int32_t)columns; left > 0; left -= 8) {
            const mve_pred16_t here = vctp16q((uint32_t)left);

            largest = vmaxvq_p_s16(largest, vldrhq_z_s16(x + columns - left, here), here);
        }
        for (left = (int32_t)columns; left > 0; left -= 4) {
            const mve_pred16_t here = vctp32q((uint32_t)left);
            int32x4_t below = vsubq_n_s32(vldrhq_z_s32(x + columns - left, here), largest);
            int32x4_t powers;

            below = vqrdmulhq_n_s32(vshlq_r_s32(below, up), multiplier);
            below = vrshlq_n_s32(vqdmlahq_n_s32(below, below, rounds), down);
            below = vmaxq_s32(vaddq_n_s32(below, 32767), vdupq_n_s32(-32768));
            powers = look_up_four(exponentials, below, here);
            sum = vaddvaq_p_s32(sum, powers, here);
            vstrhq_p_s32(y + columns - left, powers, here);
        }
        /* sum = (1 + a) 2^shift; the table wants a in the codes of int16. */
        shift = 31 - __builtin_clz((uint32_t)sum);
        scale = (int32_t)((((uint32_t)sum << (30 - shift)) + (1u << 13)) >> 14) - 3 * 32768;
        scale = look_up(reciprocals, scale > 32767 ? 32767 : scale);
        for (left = (int32_t)columns; left > 0; left -= 4) {
            const mve_pred16_t here = vctp32q((uint32_t)left);
            int32x4_t codes = vmulq_n_s32(vldrhq_z_s32(y + columns - left, here), scale);

            codes = vrshlq_n_s32(codes, -shift);
            vstrhq_p_s32(y + columns - left, vminq_s32(codes, vdupq_n_s32(32767)), here);
        }
        x += columns;
        y += columns;
    }
}
