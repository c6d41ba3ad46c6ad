/*
 * y = the mean of some samples of x, channel by channel, int16, for Helium (Cortex-M55): four channels at a time, of at
 * most 255 samples.
 *
 * Twice the sum of n codes and half of n is at most 65537 n; the quotient by 2 n is the high word of its product with
 * M = 2^31 / n, rounded up: M is less than one too large, the quotient by less than n / 2^16 + n / 2^32 < 1 / n.
 */
#include <arm_mve.h>

#include "tqs_pool.h"

void tqs_avg_pool_s16_mve(const tqs_pool_t *layer, const int16_t *x, int16_t *y) {
    const tqs_pool_t held = *layer; /* y may alias anything */
    const uint32_t channels = held.channels;
    uint32_t sample;

    for (sample = 0; sample < held.y_samples; sample++, y += channels) {
        const tqs_window_t window = tqs_pool_window(&held, sample);
        const uint32x4_t reciprocal = vdupq_n_u32(((1u << 31) + window.count - 1u) / window.count);
        const int32_t half = (int32_t)(window.count / 2u);
        uint32_t channel;

        for (channel = 0; channel < channels; channel += 4u) {
            const mve_pred16_t here = vctp32q(channels - channel);
            const int16_t *in = x + window.first * channels + channel;
            int32x4_t total = vdupq_n_s32(0);
            uint32x4_t size;
            int32x4_t code;
            uint32_t left;

            for (left = window.count; left > 0u; left--) {
                total = vaddq_s32(total, vldrhq_z_s32(in, here));
                in += channels;
            }
            size = (uint32x4_t)vshlq_n_s32(vaddq_n_s32(vabsq_s32(total), half), 1);
            code = (int32x4_t)vmulhq_u32(size, reciprocal);
            code = vnegq_m_s32(code, code, vcmpltq_n_s32(total, 0));
            vstrhq_p_s32(y + channel, code, here);
        }
    }
}
