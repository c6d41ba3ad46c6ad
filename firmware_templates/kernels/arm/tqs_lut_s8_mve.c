/* y = table[x], for Helium (Cortex-M55): sixteen at a time. */
#include <arm_mve.h>

#include "tqs_kernels.h"

void tqs_lut_s8_mve(const tqs_lut_t *layer, const int8_t *x, int8_t *y) {
    const uint8x16_t first = vdupq_n_u8(0x80); /* a code with its sign changed is an index */
    uint8x16_t value;
    uint8x16_t index;

    __asm__ volatile("wlstp.8 lr, %[size], 2f\n\t"
                     "1:\n\t"
                     "vldrb.8 %q[index], [%[x]], #16\n\t"
                     "veor %q[index], %q[index], %q[first]\n\t"
                     "vldrb.u8 %q[value], [%[table], %q[index]]\n\t"
                     "vstrb.8 %q[value], [%[y]], #16\n\t"
                     "letp lr, 1b\n\t"
                     "2:\n\t"
                     : [x] "+r"(x), [y] "+r"(y), [value] "=&w"(value), [index] "=&w"(index)
                     : [size] "r"((uint32_t)layer->size), [table] "r"(layer->table), [first] "w"(first)
                     : "lr", "memory");
}
