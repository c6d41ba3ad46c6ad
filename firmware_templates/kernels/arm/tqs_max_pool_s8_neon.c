/*
 * y = the largest of some samples of x, channel by channel, for NEON (Cortex-A): sixteen channels at a time, or eight.
 * At least eight channels; the last eight may have some in common with those before.
 */
#include <arm_neon.h>

#include "tqs_pool.h"

void tqs_max_pool_s8_neon(const tqs_pool_t *layer, const int8_t *x, int8_t *y) {
    const tqs_pool_t held = *layer; /* y may alias anything */
    const uint32_t channels = held.channels;
    uint32_t sample;

    for (sample = 0; sample < held.y_samples; sample++, y += channels) {
        const tqs_window_t window = tqs_pool_window(&held, sample);
        const int8_t *from = x + window.first * channels;
        uint32_t channel = 0;
        uint32_t left;

        for (; channel + 16u <= channels; channel += 16u) {
            const int8_t *in = from + channel;
            int8x16_t largest = vdupq_n_s8(-128);

            for (left = window.count; left > 0u; left--) {
                largest = vmaxq_s8(largest, vld1q_s8(in));
                in += channels;
            }
            vst1q_s8(y + channel, largest);
        }
        while (channel < channels) {
            const int8_t *in;
            int8x8_t largest = vdup_n_s8(-128);

            channel = channels - channel < 8u ? channels - 8u : channel;
            in = from + channel;
            for (left = window.count; left > 0u; left--) {
                largest = vmax_s8(largest, vld1_s8(in));
                in += channels;
            }
            vst1_s8(y + channel, largest);
            channel += 8u;
        }
    }
}
