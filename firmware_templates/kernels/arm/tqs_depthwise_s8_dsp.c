/*
 * Each channel convolved over time with filters of its own, for cores with the DSP extension (Cortex-M4, M7, M33): four
 * channels a load, x less its zero point in halfwords.
 *
 * At least four channels, one filter each, 8-bit weights, every shift -31 to -1; layers hold -1 - shift. The last four
 * channels may have some in common with those before.
 */
#include <string.h>

#include "tqs_arm.h"
#include "tqs_depthwise.h"

/* One tap of four channels. */
#define STEP                                                                                                           \
    __asm__ volatile("ldr %[odd], [%[in]]\n\t"                                                                         \
                     "ldr %[w_odd], [%[w]]\n\t"                                                                        \
                     "sxtab16 %[even], %[zeros], %[odd]\n\t"                                                           \
                     "sxtb16 %[w_even], %[w_odd]\n\t"                                                                  \
                     "sxtab16 %[odd], %[zeros], %[odd], ror #8\n\t"                                                    \
                     "sxtb16 %[w_odd], %[w_odd], ror #8\n\t"                                                           \
                     "smlabb %[s0], %[even], %[w_even], %[s0]\n\t"                                                     \
                     "smlabb %[s1], %[odd], %[w_odd], %[s1]\n\t"                                                       \
                     "smlatt %[s2], %[even], %[w_even], %[s2]\n\t"                                                     \
                     "smlatt %[s3], %[odd], %[w_odd], %[s3]\n\t"                                                       \
                     : [s0] "+r"(s0), [s1] "+r"(s1), [s2] "+r"(s2), [s3] "+r"(s3), [even] "=&r"(even),                 \
                       [odd] "=&r"(odd), [w_even] "=&r"(w_even), [w_odd] "=&r"(w_odd)                                  \
                     : [in] "r"(in), [w] "r"(w), [zeros] "r"(zeros)                                                    \
                     : "memory")

void tqs_depthwise_s8_dsp(const tqs_depthwise_t *layer, const int8_t *x, int8_t *y) {
    const tqs_depthwise_t held = *layer; /* y may alias anything */
    const uint32_t channels = held.channels;
    const uint32_t step = channels * held.dilation;
    const uint32_t zeros = ((uint32_t)-held.x_zero_point & 0xFFFFu) * 0x10001u;
    const int32_t offset = 2 * held.y_zero_point + 1;
    int8_t *to = y;
    uint32_t sample;

    for (sample = 0; sample < held.y_samples; sample++, to += channels) {
        const tqs_reach_t reach = tqs_depthwise_reach(&held, sample);
        const int8_t *from = x + reach.at * channels;
        const int8_t *weights = held.weights + reach.tap * channels;
        uint32_t row = 0;

        for (;;) {
            const int8_t *in = from + row;
            const int8_t *w = weights + row;
            int32_t s0 = held.bias[row];
            int32_t s1 = held.bias[row + 1u];
            int32_t s2 = held.bias[row + 2u];
            int32_t s3 = held.bias[row + 3u];
            uint32_t tap;
            uint32_t even;
            uint32_t odd;
            uint32_t w_even;
            uint32_t w_odd;

            for (tap = reach.taps; tap > 0u; tap--) {
                STEP;
                in += step;
                w += channels;
            }
            to[row] = (int8_t)tqs_rescale(2 * s0, held.multiplier[row], held.shift[row], offset);
            to[row + 1u] = (int8_t)tqs_rescale(2 * s1, held.multiplier[row + 1u], held.shift[row + 1u], offset);
            to[row + 2u] = (int8_t)tqs_rescale(2 * s2, held.multiplier[row + 2u], held.shift[row + 2u], offset);
            to[row + 3u] = (int8_t)tqs_rescale(2 * s3, held.multiplier[row + 3u], held.shift[row + 3u], offset);
            if (row + 4u == channels) {
                break;
            }
            row = row + 8u <= channels ? row + 4u : channels - 4u;
        }
    }
    tqs_clamp(y, (uint32_t)(to - y), held.low, held.high);
}
