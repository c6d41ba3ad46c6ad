/* y = table[a + b], for Helium (Cortex-M55): tqs_sum_s8_mve, whose words are the distances from the table's middle. */
#include <arm_mve.h>

#include "tqs_kernels.h"

void tqs_sum_lut_s8_mve(const tqs_sum_t *sum, const tqs_lut_t *lut, const int8_t *a, const int8_t *b, int8_t *y) {
    const int32x4_t a_factor = vdupq_n_s32(sum->a_factor);
    int32x4_t value;
    int32x4_t other;

    __asm__ volatile("wlstp.32 lr, %[size], 2f\n\t"
                     "1:\n\t"
                     "vldrb.s32 %q[other], [%[a]], #4\n\t"
                     "vldrb.s32 %q[value], [%[b]], #4\n\t"
                     "vmlas.s32 %q[other], %q[a_factor], %[offset]\n\t"
                     "vmla.s32 %q[other], %q[value], %[b_factor]\n\t"
                     "vqshl.s32 %q[other], %q[other], #2\n\t"
                     "vshr.s32 %q[other], %q[other], #24\n\t"
                     "vldrb.u32 %q[value], [%[table], %q[other]]\n\t"
                     "vstrb.32 %q[value], [%[y]], #4\n\t"
                     "letp lr, 1b\n\t"
                     "2:\n\t"
                     : [a] "+l"(a), [b] "+l"(b), [y] "+l"(y), [value] "=&w"(value), [other] "=&w"(other)
                     : [size] "r"((uint32_t)lut->size), [table] "r"(lut->table + 128), [a_factor] "w"(a_factor),
                       [b_factor] "r"(sum->b_factor), [offset] "r"(sum->offset)
                     : "lr", "memory");
}
