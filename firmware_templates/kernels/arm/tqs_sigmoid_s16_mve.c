/*
 * y = logistic(x) or tanh(x), int16, for Helium (Cortex-M55): four at a time.
 *
 * What lies beyond the table is taken for the last that lies in it, which gives the same codes. Of negative x the value
 * is mirrored at the middle, -v - 1 where v is that of -x: its half is less by one.
 */
#include <arm_mve.h>

#include "tqs_requantize.h" /* for its check of >> */
#include "tqs_sigmoid.h"

void tqs_sigmoid_s16_mve(const tqs_sigmoid_s16_t *layer, const int16_t *x, int16_t *y) {
    const int32_t bits = layer->tanh != 0u ? 8 : 9;
    const int32x4_t most = vdupq_n_s32((255 << bits) - 1);
    const int32x4_t rest_of = vdupq_n_s32((1 << bits) - 1);
    const int32_t middle = layer->tanh != 0u ? 1 << 23 : 1 << 24;
    const int32_t added = layer->tanh != 0u ? 0 : 1 << 24;
    const int32_t shift = layer->tanh != 0u ? -8 : -10;
    const int32_t multiplier = layer->multiplier;
    const int32_t down = -layer->shift;
    int32_t left;

    for (left = layer->size; left > 0; left -= 4) {
        const mve_pred16_t here = vctp32q((uint32_t)left);
        const int32x4_t value = vrshlq_n_s32(vmulq_n_s32(vldrhq_z_s32(x, here), multiplier), down);
        const int32x4_t size = vminq_s32(vabsq_s32(value), most);
        const uint32x4_t entry = (uint32x4_t)vshlq_r_s32(size, -bits);
        const int32x4_t low = (int32x4_t)vldrhq_gather_shifted_offset_z_u32(tqs_sigmoid_table, entry, here);
        const int32x4_t next = (int32x4_t)vldrhq_gather_shifted_offset_z_u32(tqs_sigmoid_table + 1, entry, here);
        int32x4_t found = vmulq_s32(vandq_s32(size, rest_of), vsubq_s32(next, low));

        found = vsubq_n_s32(vaddq_s32(found, vshlq_r_s32(low, bits)), middle);
        found = vaddq_n_s32(veorq_s32(found, vshrq_n_s32(value, 31)), added);
        vstrhq_p_s32(y, vrshlq_n_s32(found, shift), here);
        x += 4;
        y += 4;
    }
}
