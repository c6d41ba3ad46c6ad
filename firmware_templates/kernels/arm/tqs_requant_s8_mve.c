/* y = x in another scale and zero point, for Helium (Cortex-M55): four at a time, for any shift. */
#include <arm_mve.h>

#include "tqs_kernels.h"

void tqs_requant_s8_mve(const tqs_requant_t *layer, const int8_t *x, int8_t *y) {
    const int32_t shift = layer->shift;
    const int32_t left = shift > 0 ? shift : 0;
    const int32_t right = shift < 0 ? shift : 0;
    const int32_t rounds = shift < 0 ? 1 : 0; /* a shift by 0 rounds nothing */
    int32x4_t value;

    /* The rounding of tqs_mve_rows.h. */
    __asm__ volatile(
        "wlstp.32 lr, %[size], 2f\n\t"
        "1:\n\t"
        "vldrb.s32 %q[value], [%[x]], #4\n\t"
        "vadd.i32 %q[value], %q[value], %[x_zero]\n\t"
        "vshl.s32 %q[value], %[left]\n\t"
        "vqrdmulh.s32 %q[value], %q[value], %[multiplier]\n\t"
        "vqdmlah.s32 %q[value], %q[value], %[rounds]\n\t"
        "vrshl.s32 %q[value], %[right]\n\t"
        "vqmovnb.s32 %q[value], %q[value]\n\t"
        "vqadd.s16 %q[value], %q[value], %[y_zero]\n\t"
        "vqmovnb.s16 %q[value], %q[value]\n\t"
        "vstrb.32 %q[value], [%[y]], #4\n\t"
        "letp lr, 1b\n\t"
        "2:\n\t"
        : [x] "+l"(x), [y] "+l"(y), [value] "=&w"(value)
        : [size] "r"((uint32_t)layer->size), [x_zero] "r"(-layer->x_zero_point), [left] "r"(left), [right] "r"(right),
          [multiplier] "r"(layer->multiplier), [y_zero] "r"((int32_t)layer->y_zero_point), [rounds] "r"(rounds)
        : "lr", "memory");
}
