/*
 * y = x in another scale, int8 codes to int16 ones, for cores with the DSP extension (Cortex-M4, M7, M33): four codes a
 * load. Every shift 0 to 13, so that nothing is rounded but by SMMULR, of what is doubled.
 */
#include "tqs_arm.h"
#include "tqs_kernels.h"
#include "tqs_kernels_s16.h"

/* The code of the ``half`` of a pair in r. */
#define CODE(r, pair, half)                                                                                            \
    "smul" half "b " r ", " pair ", %[unit]\n\t"                                                                       \
    "smmulr " r ", " r ", %[multiplier]\n\t"                                                                           \
    "ssat " r ", #16, " r "\n\t"

void tqs_requant_s8_s16_dsp(const tqs_requant_t *layer, const int8_t *x, int16_t *y) {
    const int32_t unit = 2 << layer->shift;
    const int32_t multiplier = layer->multiplier;
    const uint32_t zeros = ((uint32_t)-layer->x_zero_point & 0xFFFFu) * 0x10001u;
    const int8_t *end = x + layer->size;
    uint32_t rest;
    uint32_t odd;
    uint32_t even;
    uint32_t t;

    for (rest = layer->size & 3u; rest > 0u; rest--) {
        const int32_t value = *x++ - layer->x_zero_point;

        __asm__(CODE("%[t]", "%[pair]", "b")
                : [t] "=&r"(t)
                : [pair] "r"(value), [unit] "r"(unit), [multiplier] "r"(multiplier));
        *y++ = (int16_t)t;
    }
    while (x != end) {
        __asm__ volatile(
            "ldr %[odd], [%[x]], #4\n\t"
            "sxtab16 %[even], %[zeros], %[odd]\n\t"
            "sxtab16 %[odd], %[zeros], %[odd], ror #8\n\t" CODE("%[t]", "%[odd]", "b") CODE("%[odd]", "%[odd]", "t")
                CODE("%[rest]", "%[even]", "b")
                    CODE("%[even]", "%[even]", "t") "pkhbt %[t], %[rest], %[t], lsl #16\n\t"
                                                    "pkhbt %[odd], %[even], %[odd], lsl #16\n\t"
                                                    "str %[t], [%[y]], #4\n\t"
                                                    "str %[odd], [%[y]], #4\n\t"
            : [x] "+r"(x), [y] "+r"(y), [even] "=&r"(even), [odd] "=&r"(odd), [t] "=&r"(t), [rest] "=&r"(rest)
            : [zeros] "r"(zeros), [unit] "r"(unit), [multiplier] "r"(multiplier)
            : "memory");
    }
}
