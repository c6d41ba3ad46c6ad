/* Each channel convolved over time with filters of its own. */
#include "tqs_depthwise.h"
#include "tqs_requantize.h"

void tqs_depthwise_s8(const tqs_depthwise_t *layer, const int8_t *x, int8_t *y) {
    const uint32_t channels = layer->channels;
    const uint32_t outputs = channels * layer->multiplicity;
    uint32_t sample;

    for (sample = 0; sample < layer->y_samples; sample++) {
        const int32_t first = (int32_t)(sample * layer->stride) - layer->left;
        uint32_t channel = 0;
        uint32_t filter = 0;
        uint32_t row;

        for (row = 0; row < outputs; row++) {
            int32_t sum = layer->bias[row];
            uint32_t tap;

            for (tap = 0; tap < layer->taps; tap++) {
                const int32_t at = first + (int32_t)(tap * layer->dilation);

                if (at >= 0 && at < layer->samples) {
                    const int32_t value = x[(uint32_t)at * channels + channel] - layer->x_zero_point;

                    sum += value * tqs_depthwise_weight(layer, tap * outputs + row);
                }
            }
            *y++ = tqs_saturate(tqs_requantize(sum, layer->multiplier[row], layer->shift[row]), layer->y_zero_point,
                                layer->low, layer->high);
            filter++;
            if (filter == layer->multiplicity) {
                filter = 0;
                channel++;
            }
        }
    }
}
