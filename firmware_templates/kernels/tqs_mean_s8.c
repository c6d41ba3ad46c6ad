/* y = the mean of x over time, channel by channel. */
#include "tqs_kernels.h"
#include "tqs_requantize.h"

void tqs_mean_s8(const tqs_mean_t *layer, const int8_t *x, int8_t *y) {
    const uint32_t channels = layer->channels;
    uint32_t channel;

    for (channel = 0; channel < channels; channel++) {
        const int8_t *in = x + channel;
        int32_t sum = layer->offset;
        uint32_t sample;

        for (sample = layer->samples; sample > 0u; sample--) {
            sum += *in;
            in += channels;
        }
        y[channel] = tqs_saturate(tqs_requantize(sum, layer->multiplier, layer->shift), layer->y_zero_point, -128, 127);
    }
}
