/*
 * Each channel convolved over time with filters of its own, int16, for Helium (Cortex-M55): eight channels at a time,
 * the sums of the even ones in one vector, of the odd ones in another. See tqs_fc_s16_mve.h for the rounding.
 *
 * One filter each, 8-bit weights, sums below 2^31, every shift at least 17. bias, multiplier, shift: of each eight
 * channels the even, then the odd ones, zeros where there are fewer; multipliers times 2^16, and 16 - shift.
 */
#include <arm_mve.h>

#include "tqs_depthwise.h"

static inline int32x4_t rescale(const tqs_depthwise_t *layer, int32x4_t sums, uint32_t at) {
    return vrshlq_s32(vmulhq_s32(sums, vldrwq_s32(layer->multiplier + at)), vldrbq_s32(layer->shift + at));
}

void tqs_depthwise_s16_mve(const tqs_depthwise_t *layer, const int16_t *x, int16_t *y) {
    const tqs_depthwise_t held = *layer; /* y may alias anything */
    const uint32_t channels = held.channels;
    const uint32_t step = channels * held.dilation;
    uint32_t sample;

    for (sample = 0; sample < held.y_samples; sample++, y += channels) {
        const tqs_reach_t reach = tqs_depthwise_reach(&held, sample);
        const int16_t *from = x + reach.at * channels;
        const int8_t *weights = held.weights + reach.tap * channels;
        uint32_t row;

        for (row = 0; row < channels; row += 8u) {
            const mve_pred16_t here = vctp16q(channels - row);
            const int16_t *in = from + row;
            const int8_t *w = weights + row;
            int32x4_t even = vldrwq_s32(held.bias + row);
            int32x4_t odd = vldrwq_s32(held.bias + row + 4);
            int16x8_t codes;
            uint32_t tap;

            for (tap = reach.taps; tap > 0u; tap--) {
                const int16x8_t values = vldrhq_z_s16(in, here);
                const int16x8_t factors = vldrbq_z_s16(w, here);

                even = vaddq_s32(even, vmullbq_int_s16(values, factors));
                odd = vaddq_s32(odd, vmulltq_int_s16(values, factors));
                in += step;
                w += channels;
            }
            even = rescale(&held, even, row);
            odd = rescale(&held, odd, row + 4u);
            codes = vqmovntq_s32(vqmovnbq_s32(vuninitializedq_s16(), even), odd);
            codes = vminq_s16(vmaxq_s16(codes, vdupq_n_s16(held.low)), vdupq_n_s16(held.high));
            vstrhq_p_s16(y + row, codes, here);
        }
    }
}
