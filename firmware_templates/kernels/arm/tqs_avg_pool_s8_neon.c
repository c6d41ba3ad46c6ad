/*
 * y = the mean of some samples of x, channel by channel, for NEON (Cortex-A): sixteen channels at a time, then eight,
 * of at most 255 samples. At least eight channels; the last eight may have some in common with those before.
 *
 * A sum of n codes and half of n are at most 129 n; the quotient by n is their product with M = 2^24 / n, rounded up,
 * less 24 bits: M is less than one too large, the product less than 2^32, and too large by less than 2^24 / n.
 */
#include <arm_neon.h>

#include "tqs_pool.h"

static inline int8x8_t mean(int16x8_t total, uint32_t count, uint32_t reciprocal) {
    const int16x8_t half = vdupq_n_s16((int16_t)(count / 2u));
    const int16x8_t sign = vshrq_n_s16(total, 15);
    const uint16x8_t size = vreinterpretq_u16_s16(vaddq_s16(vabsq_s16(total), half));
    const uint32x4_t low = vshrq_n_u32(vmulq_n_u32(vmovl_u16(vget_low_u16(size)), reciprocal), 24);
    const uint32x4_t high = vshrq_n_u32(vmulq_n_u32(vmovl_u16(vget_high_u16(size)), reciprocal), 24);
    const int16x8_t code = vreinterpretq_s16_u16(vcombine_u16(vmovn_u32(low), vmovn_u32(high)));

    return vmovn_s16(vsubq_s16(veorq_s16(code, sign), sign));
}

void tqs_avg_pool_s8_neon(const tqs_pool_t *layer, const int8_t *x, int8_t *y) {
    const tqs_pool_t held = *layer; /* y may alias anything */
    const uint32_t channels = held.channels;
    uint32_t sample;

    for (sample = 0; sample < held.y_samples; sample++, y += channels) {
        const tqs_window_t window = tqs_pool_window(&held, sample);
        const uint32_t reciprocal = ((1u << 24) + window.count - 1u) / window.count;
        const int8_t *first = x + window.first * channels;
        uint32_t channel;

        for (channel = 0; channels - channel >= 16u; channel += 16u) {
            const int8_t *in = first + channel;
            int16x8_t low = vdupq_n_s16(0);
            int16x8_t high = low;
            uint32_t left = window.count; /* at least one */

            do {
                const int8x16_t codes = vld1q_s8(in);

                low = vaddw_s8(low, vget_low_s8(codes));
                high = vaddw_s8(high, vget_high_s8(codes));
                in += channels;
            } while (--left > 0u);
            vst1q_s8(y + channel,
                     vcombine_s8(mean(low, window.count, reciprocal), mean(high, window.count, reciprocal)));
        }
        while (channel < channels) {
            const int8_t *in;
            int16x8_t total = vdupq_n_s16(0);
            uint32_t left = window.count;

            channel = channels - channel < 8u ? channels - 8u : channel;
            in = first + channel;
            do {
                total = vaddw_s8(total, vld1_s8(in));
                in += channels;
            } while (--left > 0u);
            vst1_s8(y + channel, mean(total, window.count, reciprocal));
            channel += 8u;
        }
    }
}
