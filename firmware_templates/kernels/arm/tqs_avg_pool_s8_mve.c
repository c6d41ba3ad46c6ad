/*
 * y = the mean of some samples of x, channel by channel, for Helium (Cortex-M55): four channels at a time, of at most
 * 255 samples.
 *
 * A sum of n codes and half of n are at most 129 n; the quotient by n is their product with M = 2^24 / n, rounded up,
 * less 24 bits: M is less than one too large, the product less than 2^32, and too large by less than 2^24 / n.
 */
#include <arm_mve.h>

#include "tqs_pool.h"

void tqs_avg_pool_s8_mve(const tqs_pool_t *layer, const int8_t *x, int8_t *y) {
    const tqs_pool_t held = *layer; /* y may alias anything */
    const uint32_t channels = held.channels;
    uint32_t sample;

    for (sample = 0; sample < held.y_samples; sample++, y += channels) {
        const tqs_window_t window = tqs_pool_window(&held, sample);
        const uint32_t reciprocal = ((1u << 24) + window.count - 1u) / window.count;
        const int32_t half = (int32_t)(window.count / 2u);
        uint32_t channel;

        for (channel = 0; channel < channels; channel += 4u) {
            const mve_pred16_t here = vctp32q(channels - channel);
            const int8_t *in = x + window.first * channels + channel;
            int32x4_t total = vdupq_n_s32(0);
            uint32x4_t size;
            int32x4_t code;
            uint32_t left;

            for (left = window.count; left > 0u; left--) {
                total = vaddq_s32(total, vldrbq_z_s32(in, here));
                in += channels;
            }
            size = (uint32x4_t)vaddq_n_s32(vabsq_s32(total), half);
            code = (int32x4_t)vshrq_n_u32(vmulq_n_u32(size, reciprocal), 24);
            code = vnegq_m_s32(code, code, vcmpltq_n_s32(total, 0));
            vstrbq_p_s32(y + channel, code, here);
        }
    }
}
