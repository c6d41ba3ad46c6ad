/*
 * y = a + b or a - b in one step, for Helium (Cortex-M55): four at a time, in words.
 *
 * A shift to the left by two saturates: the highest byte is then the code, rounded down.
 */
#include <arm_mve.h>

#include "tqs_kernels.h"

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
                     "vqshl.s32 %q[sum], %q[sum], #2\n\t"
                     "vshr.s32 %q[sum], %q[sum], #24\n\t"
                     "vstrb.32 %q[sum], [%[y]], #4\n\t"
                     "letp lr, 1b\n\t"
                     "2:\n\t"
                     : [a] "+l"(a), [b] "+l"(b), [y] "+l"(y), [sum] "=&w"(sum), [other] "=&w"(other)
                     : [size] "r"((uint32_t)layer->size), [a_factor] "w"(a_factor), [b_factor] "r"(layer->b_factor),
                       [offset] "r"(layer->offset)
                     : "lr", "memory");
}
