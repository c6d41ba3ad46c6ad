/* y = the largest of some samples of x, channel by channel. */
#include "tqs_pool.h"

void tqs_max_pool_s8(const tqs_pool_t *layer, const int8_t *x, int8_t *y) {
    const tqs_pool_t held = *layer; /* y may alias anything */
    const uint32_t channels = held.channels;
    uint32_t sample;

    for (sample = 0; sample < held.y_samples; sample++) {
        const tqs_window_t window = tqs_pool_window(&held, sample);
        const int8_t *from = x + window.first * channels;
        uint32_t channel;

        for (channel = 0; channel < channels; channel++) {
            const int8_t *in = from++;
            int32_t largest = -128;
            uint32_t left = window.count; /* at least one */

            do {
                const int32_t value = *in;

                largest = value > largest ? value : largest;
                in += channels;
            } while (--left > 0u);
            *y++ = (int8_t)largest;
        }
    }
}
