/*
 * y = a + b or a - b in one step, for Helium (Cortex-M55): four at a time, in words.
 *
 * No one shift by 22 saturates to eight bits, but two do, by 16 and by 6. They round, which ROUNDING takes off before:
 * GNU as 2.40 makes VQRSHRN of VQSHRN, which would not. The sum stays above -2^31 + 2^22.
 */
#include <arm_mve.h>

#include "tqs_kernels.h"

#define ROUNDING ((1 << 15) + (1 << 21))

void tqs_sum_s8_mve(const tqs_sum_t *layer, const int8_t *a, const int8_t *b, int8_t *y) {
    const int32x4_t a_factor = vdupq_n_s32(layer->a_factor);
    int32x4_t sum;
    int32x4_t other;

    __asm__ volatile("wlstp.32 lr, %[size], 2f\n\t"
                     "1:\n\t"
                     "vldrb.s32 %q[sum], [%[a]], #4\n\t"
                     "vldrb.s32 %q[other], [%[b]], #4\n\t"
                     "vmlas.s32 %q[sum], %q[a_factor], %[offset]\n\t"
                     "vmla.s32 %q[sum], %q[other], %[b_factor]\n\t"
                     "vqrshrnb.s32 %q[sum], %q[sum], #16\n\t"
                     "vqrshrnb.s16 %q[sum], %q[sum], #6\n\t"
                     "vstrb.32 %q[sum], [%[y]], #4\n\t"
                     "letp lr, 1b\n\t"
                     "2:\n\t"
                     : [a] "+l"(a), [b] "+l"(b), [y] "+l"(y), [sum] "=&w"(sum), [other] "=&w"(other)
                     : [size] "r"((uint32_t)layer->size), [a_factor] "w"(a_factor), [b_factor] "r"(layer->b_factor),
                       [offset] "r"(layer->offset - ROUNDING)
                     : "lr", "memory");
}
