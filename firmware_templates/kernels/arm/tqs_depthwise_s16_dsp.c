/*
 * Each channel convolved over time with filters of its own, int16, for cores with the DSP extension (Cortex-M4, M7,
 * M33): four channels at a time.
 *
 * At least four channels, one filter each, 8-bit weights, sums below 2^31, every shift at least 17; layers hold shift -
 * 17. The rounding is that of tqs_fc_s16_dsp.h. The last four channels may have some in common with those before.
 */
#include "tqs_arm.h"
#include "tqs_depthwise.h"
#include "tqs_fc_s16_dsp.h"

/* One tap of four channels. */
#define STEP                                                                                                           \
    __asm__ volatile("ldr %[p], [%[in]]\n\t"                                                                           \
                     "ldr %[odd], [%[w]]\n\t"                                                                          \
                     "ldr %[q], [%[in], #4]\n\t"                                                                       \
                     "sxtb16 %[even], %[odd]\n\t"                                                                      \
                     "sxtb16 %[odd], %[odd], ror #8\n\t"                                                               \
                     "smlabb %[s0], %[p], %[even], %[s0]\n\t"                                                          \
                     "smlatb %[s1], %[p], %[odd], %[s1]\n\t"                                                           \
                     "smlabt %[s2], %[q], %[even], %[s2]\n\t"                                                          \
                     "smlatt %[s3], %[q], %[odd], %[s3]\n\t"                                                           \
                     : [s0] "+r"(s0), [s1] "+r"(s1), [s2] "+r"(s2), [s3] "+r"(s3), [p] "=&r"(p), [q] "=&r"(q),         \
                       [even] "=&r"(even), [odd] "=&r"(odd)                                                            \
                     : [in] "r"(in), [w] "r"(w)                                                                        \
                     : "memory")

static inline int16_t code_of(int32_t sum, int32_t multiplier, int32_t shift) {
    __asm__("smulwb %0, %0, %1\n\t"
            "asr %0, %0, %2\n\t"
            "add %0, %0, #1\n\t"
            "ssat %0, #16, %0, asr #1"
            : "+r"(sum)
            : "r"(multiplier), "r"(shift));
    return (int16_t)sum;
}

void tqs_depthwise_s16_dsp(const tqs_depthwise_t *layer, const int16_t *x, int16_t *y) {
    const tqs_depthwise_t held = *layer; /* y may alias anything */
    const uint32_t channels = held.channels;
    const uint32_t step = channels * held.dilation;
    int16_t *to = y;
    uint32_t sample;

    for (sample = 0; sample < held.y_samples; sample++, to += channels) {
        const tqs_reach_t reach = tqs_depthwise_reach(&held, sample);
        const int16_t *from = x + reach.at * channels;
        const int8_t *weights = held.weights + reach.tap * channels;
        uint32_t row = 0;

        for (;;) {
            const int16_t *in = from + row;
            const int8_t *w = weights + row;
            const int32_t *bias = held.bias + row;
            const int32_t *multiplier = held.multiplier + row;
            const int8_t *shift = held.shift + row;
            int16_t *out = to + row;
            int32_t s0 = bias[0];
            int32_t s1 = bias[1];
            int32_t s2 = bias[2];
            int32_t s3 = bias[3];
            uint32_t tap;
            uint32_t p;
            uint32_t q;
            uint32_t even;
            uint32_t odd;

            for (tap = reach.taps; tap > 0u; tap--) {
                STEP;
                in += step;
                w += channels;
            }
            out[0] = code_of(s0, multiplier[0], shift[0]);
            out[1] = code_of(s1, multiplier[1], shift[1]);
            out[2] = code_of(s2, multiplier[2], shift[2]);
            out[3] = code_of(s3, multiplier[3], shift[3]);
            if (row + 4u == channels) {
                break;
            }
            row = row + 8u <= channels ? row + 4u : channels - 4u;
        }
    }
    tqs_clamp_s16(y, (uint32_t)(to - y), held.low, held.high);
}
