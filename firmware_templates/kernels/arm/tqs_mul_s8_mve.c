/* y = a * b, for Helium (Cortex-M55): eight at a time, the products in words. See tqs_mve_rows.h for the rounding. */
#include <arm_mve.h>

#include "tqs_kernels.h"

#define EIGHT                                                                                                          \
    "vadd.i16 %q[a0], %q[a0], %[a_zero]\n\t"                                                                           \
    "vadd.i16 %q[b0], %q[b0], %[b_zero]\n\t"                                                                           \
    "vmullb.s16 %q[p0], %q[a0], %q[b0]\n\t" /* of even elements */                                                     \
    "vmullt.s16 %q[p1], %q[a0], %q[b0]\n\t" /* of odd ones */                                                          \
    "vqrdmulh.s32 %q[p0], %q[p0], %[multiplier]\n\t"                                                                   \
    "vqrdmulh.s32 %q[p1], %q[p1], %[multiplier]\n\t"                                                                   \
    "vqdmlah.s32 %q[p0], %q[p0], %[one]\n\t"                                                                           \
    "vqdmlah.s32 %q[p1], %q[p1], %[one]\n\t"                                                                           \
    "vrshl.s32 %q[p0], %[shift]\n\t"                                                                                   \
    "vrshl.s32 %q[p1], %[shift]\n\t"                                                                                   \
    "vqmovnb.s32 %q[a0], %q[p0]\n\t"                                                                                   \
    "vqmovnt.s32 %q[a0], %q[p1]\n\t"                                                                                   \
    "vqadd.s16 %q[a0], %q[a0], %[y_zero]\n\t"                                                                          \
    "vqmovnb.s16 %q[a0], %q[a0]\n\t"

void tqs_mul_s8_mve(const tqs_mul_t *layer, const int8_t *a, const int8_t *b, int8_t *y) {
    int16x8_t a0;
    int16x8_t b0;
    int32x4_t p0;
    int32x4_t p1;

    /* The rest is loaded and stored under a predicate; under a loop's, half a product would be written. */
    __asm__ volatile(
        "wls lr, %[eights], 2f\n\t"
        "1:\n\t"
        "vldrb.s16 %q[a0], [%[a]], #8\n\t"
        "vldrb.s16 %q[b0], [%[b]], #8\n\t" EIGHT "vstrb.16 %q[a0], [%[y]], #8\n\t"
        "le lr, 1b\n\t"
        "2:\n\t"
        "cbz %[rest], 3f\n\t"
        "vctp.16 %[rest]\n\t"
        "vpstt\n\t"
        "vldrbt.s16 %q[a0], [%[a]]\n\t"
        "vldrbt.s16 %q[b0], [%[b]]\n\t" EIGHT "vpst\n\t"
        "vstrbt.16 %q[a0], [%[y]]\n\t"
        "3:\n\t"
        : [a] "+l"(a), [b] "+l"(b), [y] "+l"(y), [a0] "=&w"(a0), [b0] "=&w"(b0), [p0] "=&w"(p0), [p1] "=&w"(p1)
        : [eights] "r"((uint32_t)layer->size / 8u), [rest] "l"((uint32_t)layer->size % 8u),
          [a_zero] "r"(-layer->a_zero_point), [b_zero] "r"(-layer->b_zero_point),
          [y_zero] "r"((int32_t)layer->y_zero_point), [multiplier] "r"(layer->multiplier),
          [shift] "r"((int32_t)layer->shift), [one] "r"(1)
        : "lr", "p0", "memory");
}
