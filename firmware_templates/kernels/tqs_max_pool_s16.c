/* y = the largest of some samples of x, channel by channel, int16. */
#include "tqs_pool.h"

void tqs_max_pool_s16(const tqs_pool_t *layer, const int16_t *x, int16_t *y) {
    const tqs_pool_t held = *layer; /* y may alias anything */
    const uint32_t channels = held.channels;
    uint32_t sample;

    for (sample = 0; sample < held.y_samples; sample++) {
        const tqs_window_t window = tqs_pool_window(&held, sample);
        const int16_t *from = x + window.first * channels;
        uint32_t channel;

        for (channel = 0; channel < channels; channel++) {
            const int16_t *in = from++;
            int32_t largest = -32768;
            uint32_t left = window.count; /* at least one */

            do {
                const int32_t value = *in;

                largest = value > largest ? value : largest;
                in += channels;
            } while (--left > 0u);
            *y++ = (int16_t)largest;
        }
    }
}
