/*
 * y = x in another scale, int16 codes to int8 ones, for cores with the DSP extension (Cortex-M4, M7, M33): two codes a
 * load. Every shift -22 to -1. Half a code and the zero point are in the high product, as in tqs_mul_s8_dsp.
 */
#include "tqs_arm.h"
#include "tqs_kernels.h"
#include "tqs_kernels_s16.h"

/* Writes the code of a half of p: t and u to work in. */
#define CODE(half)                                                                                                     \
    "smul" half "b %[t], %[p], %[two]\n\t"                                                                             \
    "add %[u], %[offset], %[t], asr #31\n\t"                                                                           \
    "smmlar %[t], %[t], %[multiplier], %[u]\n\t"                                                                       \
    "asr %[t], %[t], %[shift]\n\t"                                                                                     \
    "ssat %[t], #8, %[t]\n\t"                                                                                          \
    "strb %[t], [%[y]], #1\n\t"
#define OPERANDS [two] "r"(2), [offset] "r"(offset), [multiplier] "r"(multiplier), [shift] "r"(shift)

void tqs_requant_s16_s8_dsp(const tqs_requant_t *layer, const int16_t *x, int8_t *y) {
    const int32_t shift = -layer->shift;
    const int32_t offset = (2 * layer->y_zero_point + 1) * (1 << (shift - 1));
    const int32_t multiplier = layer->multiplier;
    const int16_t *end = x + layer->size;
    int32_t p;
    int32_t t;
    int32_t u;

    if ((layer->size & 1u) != 0u) {
        p = *x++;
        __asm__ volatile(CODE("b") : [y] "+r"(y), [t] "=&r"(t), [u] "=&r"(u) : [p] "r"(p), OPERANDS : "memory");
    }
    while (x != end) {
        __asm__ volatile("ldr %[p], [%[x]], #4\n\t" CODE("b") CODE("t")
                         : [x] "+r"(x), [y] "+r"(y), [p] "=&r"(p), [t] "=&r"(t), [u] "=&r"(u)
                         : OPERANDS
                         : "memory");
    }
}
