/*
 * y = the mean of some samples of x, channel by channel, for NEON (Cortex-A): eight channels at a time, of at most 255
 * samples. At least eight channels; the last eight may have some in common with those before.
 *
 * A sum of n codes and half of n are at most 129 n; the quotient by n is their product with M = 2^24 / n, rounded up,
 * less 24 bits: M is less than one too large, the product less than 2^32, and too large by less than 2^24 / n.
 */
#include <arm_neon.h>

#include "tqs_pool.h"

void tqs_avg_pool_s8_neon(const tqs_pool_t *layer, const int8_t *x, int8_t *y) {
    const tqs_pool_t held = *layer; /* y may alias anything */
    const uint32_t channels = held.channels;
    uint32_t sample;

    for (sample = 0; sample < held.y_samples; sample++, y += channels) {
        const tqs_window_t window = tqs_pool_window(&held, sample);
        const uint32_t reciprocal = ((1u << 24) + window.count - 1u) / window.count;
        const int16x8_t half = vdupq_n_s16((int16_t)(window.count / 2u));
        uint32_t channel = 0;

        while (channel < channels) {
            const int8_t *in;
            int16x8_t total = vdupq_n_s16(0);
            int16x8_t sign;
            uint16x8_t size;
            uint32x4_t low;
            uint32x4_t high;
            int16x8_t code;
            uint32_t left;

            channel = channels - channel < 8u ? channels - 8u : channel;
            in = x + window.first * channels + channel;
            for (left = window.count; left > 0u; left--) {
                total = vaddw_s8(total, vld1_s8(in));
                in += channels;
            }
            sign = vshrq_n_s16(total, 15);
            size = vreinterpretq_u16_s16(vaddq_s16(vabsq_s16(total), half));
            low = vshrq_n_u32(vmulq_n_u32(vmovl_u16(vget_low_u16(size)), reciprocal), 24);
            high = vshrq_n_u32(vmulq_n_u32(vmovl_u16(vget_high_u16(size)), reciprocal), 24);
            code = vreinterpretq_s16_u16(vcombine_u16(vmovn_u32(low), vmovn_u32(high)));
            vst1_s8(y + channel, vmovn_s16(vsubq_s16(veorq_s16(code, sign), sign)));
            channel += 8u;
        }
    }
}
