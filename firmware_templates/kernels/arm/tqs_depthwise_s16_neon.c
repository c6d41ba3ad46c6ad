/*
 * Each channel convolved over time with filters of its own, int16, for cores with NEON (Cortex-A): eight channels at a
 * time.
 *
 * At least eight channels, one filter each, 8-bit weights, sums below 2^31. The last eight channels may have some in
 * common with those before.
 */
#include "tqs_depthwise.h"
#include "tqs_fc_s16_neon.h"

/* Codes of four channels, from row on, from their sums. */
static inline int16x4_t code(const tqs_depthwise_t *layer, uint32_t row, int32x4_t sums, int16x4_t shift) {
    const int32x4_t multipliers = vld1q_s32(layer->multiplier + row);
    const int32x4_t shifts = vnegq_s32(vmovl_s16(shift));

    sums = vcombine_s32(tqs_neon_rescale_s16(vget_low_s32(sums), vget_low_s32(multipliers), vget_low_s32(shifts)),
                        tqs_neon_rescale_s16(vget_high_s32(sums), vget_high_s32(multipliers), vget_high_s32(shifts)));
    return vmin_s16(vmax_s16(vqmovn_s32(sums), vdup_n_s16(layer->low)), vdup_n_s16(layer->high));
}

void tqs_depthwise_s16_neon(const tqs_depthwise_t *layer, const int16_t *x, int16_t *y) {
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
            const int16_t *in;
            const int8_t *w;
            int32x4_t low;
            int32x4_t high;
            int16x8_t shifts;
            uint32_t tap;

            row = channels - row < 8u ? channels - 8u : row;
            in = from + row;
            w = weights + row;
            low = vld1q_s32(held.bias + row);
            high = vld1q_s32(held.bias + row + 4u);
            for (tap = reach.taps; tap > 0u; tap--) {
                const int16x8_t values = vld1q_s16(in);
                const int16x8_t factors = vmovl_s8(vld1_s8(w));

                low = vmlal_s16(low, vget_low_s16(values), vget_low_s16(factors));
                high = vmlal_s16(high, vget_high_s16(values), vget_high_s16(factors));
                in += step;
                w += channels;
            }
            shifts = vmovl_s8(vld1_s8(held.shift + row));
            vst1_s16(y + row, code(&held, row, low, vget_low_s16(shifts)));
            vst1_s16(y + row + 4u, code(&held, row + 4u, high, vget_high_s16(shifts)));
        }
    }
}
