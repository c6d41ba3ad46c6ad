/*
 * y = a * b, int16, for cores with the DSP extension (Cortex-M4, M7, M33): two codes a load. Every shift -30 to -1.
 *
 * SMMLSR is the first rounding, of the product doubled and negated, for -32768 times itself doubled leaves 32 bits;
 * half and the one less of negative products that the second rounding adds go into its sum, as in tqs_mul_s8_dsp.
 */
#include "tqs_arm.h"
#include "tqs_kernels_s16.h"

/* The code of the product t, with u to work in. */
#define CODE(t)                                                                                                        \
    "add %[u], %[half], " t ", asr #31\n\t"                                                                            \
    "sub " t ", %[zero], " t ", lsl #1\n\t"                                                                            \
    "smmlsr " t ", " t ", %[multiplier], %[u]\n\t"                                                                     \
    "asr " t ", " t ", %[shift]\n\t"                                                                                   \
    "ssat " t ", #16, " t "\n\t"

void tqs_mul_s16_dsp(const tqs_scale_s16_t *layer, const int16_t *a, const int16_t *b, int16_t *y) {
    const int32_t multiplier = layer->multiplier;
    const int32_t shift = -layer->shift;
    const int32_t half = 1 << (shift - 1);
    const int16_t *end = a + layer->size;
    int32_t p;
    uint32_t q;
    uint32_t t;
    uint32_t u;

    if ((layer->size & 1u) != 0u) {
        p = *a++ * *b++;
        __asm__(CODE("%[p]")
                : [p] "+r"(p), [u] "=&r"(u)
                : [half] "r"(half), [zero] "r"(0), [multiplier] "r"(multiplier), [shift] "r"(shift));
        *y++ = (int16_t)p;
    }
    while (a != end) {
        __asm__ volatile("ldr %[p], [%[a]], #4\n\t"
                         "ldr %[q], [%[b]], #4\n\t"
                         "smulbb %[t], %[p], %[q]\n\t"
                         "smultt %[p], %[p], %[q]\n\t" CODE("%[t]") CODE("%[p]") "pkhbt %[t], %[t], %[p], lsl #16\n\t"
                                                                                 "str %[t], [%[y]], #4\n\t"
                         : [a] "+r"(a), [b] "+r"(b), [y] "+r"(y), [p] "=&r"(p), [q] "=&r"(q), [t] "=&r"(t), [u] "=&r"(u)
                         : [half] "r"(half), [zero] "r"(0), [multiplier] "r"(multiplier), [shift] "r"(shift)
                         : "memory");
    }
}
