/* y = the mean of some samples of x, channel by channel. */
#include "tqs_pool.h"

void tqs_avg_pool_s8(const tqs_pool_t *layer, const int8_t *x, int8_t *y) {
    const uint32_t channels = layer->channels;
    uint32_t sample;

    for (sample = 0; sample < layer->y_samples; sample++) {
        const uint32_t from = sample * layer->stride; /* counted from the places before the window on */
        const uint32_t first = from > layer->left ? from - layer->left : 0u;
        const uint32_t end = from + layer->size - layer->left;
        const uint32_t last = end < layer->samples ? end : layer->samples;
        uint32_t channel;

        for (channel = 0; channel < channels; channel++) {
            int32_t total = 0;
            uint32_t at;

            for (at = first; at < last; at++) {
                const int32_t value = x[at * channels + channel];

                total += value;
            }
            *y++ = (int8_t)((total + (total > 0 ? 1 : -1) * (int32_t)((last - first) / 2u)) / (int32_t)(last - first));
        }
    }
}
