/*
 * Each channel convolved over time with filters of its own, for cores with NEON (Cortex-A): sixteen channels at a time,
 * or eight.
 *
 * At least eight channels, one filter each, 8-bit weights, every shift -31 to -1. The last eight channels may have some
 * in common with those before.
 */
#include "tqs_depthwise.h"
#include "tqs_neon_rows.h"

/* Codes of eight channels, from row on, from their sums. */
static inline int8x8_t code(const tqs_depthwise_t *layer, uint32_t row, int32x4_t sums0, int32x4_t sums1) {
    const int16x8_t shifts = vmovl_s8(vld1_s8(layer->shift + row));
    const int16x8_t codes = tqs_neon_rescale(sums0, sums1, layer->multiplier + row, shifts);
    const int8x8_t narrow = vqmovn_s16(vqaddq_s16(codes, vdupq_n_s16(layer->y_zero_point)));

    return vmin_s8(vmax_s8(narrow, vdup_n_s8((int8_t)layer->low)), vdup_n_s8((int8_t)layer->high));
}

static inline void add_eight(int32x4_t sums[2], int8x8_t x, int8x8_t x_zero_point, int8x8_t w) {
    const int16x8_t values = vsubl_s8(x, x_zero_point);
    const int16x8_t factors = vmovl_s8(w);

    sums[0] = vmlal_s16(sums[0], vget_low_s16(values), vget_low_s16(factors));
    sums[1] = vmlal_s16(sums[1], vget_high_s16(values), vget_high_s16(factors));
}

void tqs_depthwise_s8_neon(const tqs_depthwise_t *layer, const int8_t *x, int8_t *y) {
    const tqs_depthwise_t held = *layer; /* y may alias anything */
    const uint32_t channels = held.channels;
    const uint32_t step = channels * held.dilation;
    const int8x8_t x_zero_point = vdup_n_s8((int8_t)held.x_zero_point);
    uint32_t sample;

    for (sample = 0; sample < held.y_samples; sample++, y += channels) {
        const tqs_reach_t reach = tqs_depthwise_reach(&held, sample);
        const int8_t *from = x + reach.at * channels;
        const int8_t *weights = held.weights + reach.tap * channels;
        uint32_t row = 0;

        while (row < channels) {
            const uint32_t count = channels - row < 16u ? 8u : 16u;
            const int8_t *in;
            const int8_t *w;
            uint32_t tap;

            row = channels - row < 8u ? channels - 8u : row;
            in = from + row;
            w = weights + row;
            if (count == 16u) {
                int32x4_t sums[4] = {vld1q_s32(held.bias + row), vld1q_s32(held.bias + row + 4u),
                                     vld1q_s32(held.bias + row + 8u), vld1q_s32(held.bias + row + 12u)};
                int8x8_t low;

                for (tap = reach.taps; tap > 0u; tap--) {
                    const int8x16_t values = vld1q_s8(in);
                    const int8x16_t factors = vld1q_s8(w);

                    add_eight(sums, vget_low_s8(values), x_zero_point, vget_low_s8(factors));
                    add_eight(sums + 2, vget_high_s8(values), x_zero_point, vget_high_s8(factors));
                    in += step;
                    w += channels;
                }
                low = code(&held, row, sums[0], sums[1]);
                vst1q_s8(y + row, vcombine_s8(low, code(&held, row + 8u, sums[2], sums[3])));
            } else {
                int32x4_t sums[2] = {vld1q_s32(held.bias + row), vld1q_s32(held.bias + row + 4u)};

                for (tap = reach.taps; tap > 0u; tap--) {
                    add_eight(sums, vld1_s8(in), x_zero_point, vld1_s8(w));
                    in += step;
                    w += channels;
                }
                vst1_s8(y + row, code(&held, row, sums[0], sums[1]));
            }
            row += count;
        }
    }
}
