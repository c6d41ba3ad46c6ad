/*
 * y = the mean of some samples of x, channel by channel, int16, for NEON (Cortex-A): eight channels at a time, of at
 * most 255 samples. At least eight channels; the last eight may have some in common with those before.
 *
 * Twice the sum of n codes and half of n is at most 65537 n; the quotient by 2 n is the high word of its product with
 * M = 2^31 / n, rounded up: M is less than one too large, the quotient by less than n / 2^16 + n / 2^32 < 1 / n.
 */
#include <arm_neon.h>

#include "tqs_pool.h"

static inline int16x4_t code(int32x4_t total, uint32_t half, uint32_t reciprocal) {
    const int32x4_t sign = vshrq_n_s32(total, 31);
    const uint32x4_t size = vaddq_u32(vreinterpretq_u32_s32(vabsq_s32(total)), vdupq_n_u32(half));
    const uint32x4_t twice = vshlq_n_u32(size, 1);
    const uint32x2_t low = vshrn_n_u64(vmull_n_u32(vget_low_u32(twice), reciprocal), 32);
    const uint32x2_t high = vshrn_n_u64(vmull_n_u32(vget_high_u32(twice), reciprocal), 32);
    const int32x4_t codes = vreinterpretq_s32_u32(vcombine_u32(low, high));

    return vmovn_s32(vsubq_s32(veorq_s32(codes, sign), sign));
}

void tqs_avg_pool_s16_neon(const tqs_pool_t *layer, const int16_t *x, int16_t *y) {
    const tqs_pool_t held = *layer; /* y may alias anything */
    const uint32_t channels = held.channels;
    uint32_t sample;

    for (sample = 0; sample < held.y_samples; sample++, y += channels) {
        const tqs_window_t window = tqs_pool_window(&held, sample);
        const uint32_t reciprocal = ((1u << 31) + window.count - 1u) / window.count;
        uint32_t channel;

        for (channel = 0; channel < channels; channel += 8u) {
            const int16_t *in;
            int32x4_t low = vdupq_n_s32(0);
            int32x4_t high = vdupq_n_s32(0);
            uint32_t left;

            channel = channels - channel < 8u ? channels - 8u : channel;
            in = x + window.first * channels + channel;
            for (left = window.count; left > 0u; left--) {
                const int16x8_t codes = vld1q_s16(in);

                low = vaddw_s16(low, vget_low_s16(codes));
                high = vaddw_s16(high, vget_high_s16(codes));
                in += channels;
            }
            vst1q_s16(y + channel, vcombine_s16(code(low, window.count / 2u, reciprocal),
                                                code(high, window.count / 2u, reciprocal)));
        }
    }
}
