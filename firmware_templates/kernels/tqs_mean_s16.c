/* y = the mean of x over time, channel by channel, int16. */
#include "tqs_kernels_s16.h"
#include "tqs_requantize.h"
#include "tqs_rescale_s16.h"

void tqs_mean_s16(const tqs_mean_s16_t *layer, const int16_t *x, int16_t *y) {
    const uint32_t channels = layer->channels;
    uint32_t channel;

    for (channel = 0; channel < channels; channel++) {
        const int16_t *in = x + channel;
        int32_t sum = 0;
        uint32_t sample;

        for (sample = layer->samples; sample > 0u; sample--) {
            sum += *in;
            in += channels;
        }
        y[channel] = tqs_saturate_s16(tqs_requantize(sum, layer->multiplier, layer->shift));
    }
}
