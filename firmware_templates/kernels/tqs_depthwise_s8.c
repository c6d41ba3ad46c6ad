/* Each channel convolved over time with filters of its own. */
#include "tqs_depthwise.h"
#include "tqs_requantize.h"

void tqs_depthwise_s8(const tqs_depthwise_t *layer, const int8_t *x, int8_t *y) {
    const tqs_depthwise_t held = *layer; /* y may alias anything */
    const uint32_t channels = held.channels;
    const uint32_t outputs = channels * held.multiplicity;
    const uint32_t step = channels * held.dilation;
    const int32_t x_zero_point = held.x_zero_point;
    uint32_t sample;

    for (sample = 0; sample < held.y_samples; sample++) {
        const tqs_reach_t reach = tqs_depthwise_reach(&held, sample);
        const int8_t *from = x + reach.at * channels;
        uint32_t filter = 0;
        uint32_t row;

        for (row = 0; row < outputs; row++) {
            const int8_t *in = from;
            uint32_t number = reach.tap * outputs + row;
            int32_t sum = held.bias[row];
            uint32_t tap;

            if (held.width == 8u) {
                const int8_t *w = held.weights + number;

                for (tap = reach.taps; tap > 0u; tap--) {
                    const int32_t value = *in - x_zero_point;

                    sum += value * *w;
                    in += step;
                    w += outputs;
                }
            } else {
                for (tap = reach.taps; tap > 0u; tap--) {
                    const int32_t value = *in - x_zero_point;

                    sum += value * tqs_depthwise_nibble(held.weights, number);
                    in += step;
                    number += outputs;
                }
            }
            *y++ = tqs_saturate(tqs_requantize(sum, held.multiplier[row], held.shift[row]), held.y_zero_point, held.low,
                                held.high);
            filter++;
            if (filter == held.multiplicity) {
                filter = 0;
                from++;
            }
        }
    }
}
