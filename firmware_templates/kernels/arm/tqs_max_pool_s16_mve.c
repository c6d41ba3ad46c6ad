/* y = the largest of some samples of x, channel by channel, for Helium (Cortex-M55): int16, eight channels at a time.
 */
#include <arm_mve.h>

#include "tqs_pool.h"

void tqs_max_pool_s16_mve(const tqs_pool_t *layer, const int16_t *x, int16_t *y) {
    const tqs_pool_t held = *layer; /* y may alias anything */
    const uint32_t channels = held.channels;
    uint32_t sample;

    for (sample = 0; sample < held.y_samples; sample++, y += channels) {
        const tqs_window_t window = tqs_pool_window(&held, sample);
        uint32_t channel;

        for (channel = 0; channel < channels; channel += 8u) {
            const mve_pred16_t here = vctp16q(channels - channel);
            const int16_t *in = x + window.first * channels + channel;
            int16x8_t largest = vdupq_n_s16(-32768);
            uint32_t left;

            for (left = window.count; left > 0u; left--) {
                largest = vmaxq_s16(largest, vldrhq_z_s16(in, here));
                in += channels;
            }
            vstrhq_p_s16(y + channel, largest, here);
        }
    }
}
