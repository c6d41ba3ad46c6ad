/*
 * y = the largest of some samples of x, channel by channel, int16, for NEON (Cortex-A): eight channels at a time. At
 * least eight channels; the last eight may have some in common with those before.
 */
#include <arm_neon.h>

#include "tqs_pool.h"

void tqs_max_pool_s16_neon(const tqs_pool_t *layer, const int16_t *x, int16_t *y) {
    const tqs_pool_t held = *layer; /* y may alias anything */
    const uint32_t channels = held.channels;
    uint32_t sample;

    for (sample = 0; sample < held.y_samples; sample++, y += channels) {
        const tqs_window_t window = tqs_pool_window(&held, sample);
        uint32_t channel;

        for (channel = 0; channel < channels; channel += 8u) {
            const int16_t *in;
            int16x8_t largest = vdupq_n_s16(-32768);
            uint32_t left;

            channel = channels - channel < 8u ? channels - 8u : channel;
            in = x + window.first * channels + channel;
            for (left = window.count; left > 0u; left--) {
                largest = vmaxq_s16(largest, vld1q_s16(in));
                in += channels;
            }
            vst1q_s16(y + channel, largest);
        }
    }
}
