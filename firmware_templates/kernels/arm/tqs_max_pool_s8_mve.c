/* y = the largest of some samples of x, channel by channel, for Helium (Cortex-M55): sixteen channels at a time. */
#include <arm_mve.h>

#include "tqs_pool.h"

void tqs_max_pool_s8_mve(const tqs_pool_t *layer, const int8_t *x, int8_t *y) {
    const tqs_pool_t held = *layer; /* y may alias anything */
    const uint32_t channels = held.channels;
    uint32_t sample;

    for (sample = 0; sample < held.y_samples; sample++, y += channels) {
        const tqs_window_t window = tqs_pool_window(&held, sample);
        uint32_t channel;

        for (channel = 0; channel < channels; channel += 16u) {
            const mve_pred16_t here = vctp8q(channels - channel);
            const int8_t *in = x + window.first * channels + channel;
            int8x16_t largest = vdupq_n_s8(-128);
            uint32_t left;

            for (left = window.count; left > 0u; left--) {
                largest = vmaxq_s8(largest, vldrbq_z_s8(in, here));
                in += channels;
            }
            vstrbq_p_s8(y + channel, largest, here);
        }
    }
}
