/*
 * y = exp(x) over its sum, row by row, for Helium (Cortex-M55): four at a time. VQRDMULH is gemmlowp's product, VRSHL
 * its division, for neither factor is negative.
 */
#include <arm_mve.h>

#include "tqs_softmax.h"

void tqs_softmax_s8_mve(const tqs_softmax_t *layer, const int8_t *x, int8_t *y) {
    const uint32_t columns = layer->columns;
    const int32_t *table = layer->table;
    const uint32x4_t known = vdupq_n_u32(layer->known);
    uint32_t row;

    for (row = layer->rows; row > 0u; row--) {
        int8_t largest = -128;
        uint32_t sum = 0;
        tqs_share_t share;
        int32x4_t most;
        int32_t left;

        for (left = (int32_t)columns; left > 0; left -= 16) {
            largest =
                vmaxvq_p_s8(largest, vldrbq_z_s8(x + columns - left, vctp8q((uint32_t)left)), vctp8q((uint32_t)left));
        }
        most = vdupq_n_s32(largest);
        for (left = (int32_t)columns; left > 0; left -= 4) {
            const mve_pred16_t here = vctp32q((uint32_t)left);
            const uint32x4_t below = (uint32x4_t)vsubq_s32(most, vldrbq_z_s32(x + columns - left, here));
            const int32x4_t powers =
                vldrwq_gather_shifted_offset_z_s32(table, below, vcmphiq_m_u32(known, below, here));

            sum = vaddvaq_u32(sum, vrshrq_n_u32((uint32x4_t)powers, 12));
        }
        share = tqs_share_of(sum);
        for (left = (int32_t)columns; left > 0; left -= 4) {
            const mve_pred16_t here = vctp32q((uint32_t)left);
            const uint32x4_t below = (uint32x4_t)vsubq_s32(most, vldrbq_z_s32(x + columns - left, here));
            int32x4_t codes = vldrwq_gather_shifted_offset_z_s32(table, below, vcmphiq_m_u32(known, below, here));

            codes = vrshlq_n_s32(vqrdmulhq_n_s32(codes, share.scale), -share.shift);
            codes = vsubq_n_s32(vminq_s32(codes, vdupq_n_s32(255)), 128);
            vstrbq_p_s32(y + columns - left, codes, here);
        }
        x += columns;
        y += columns;
    }
}
