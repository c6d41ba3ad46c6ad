/*
 * What the dense kernels for int16 activations share on cores with Helium (Cortex-M55): eight inputs at a time, and how
 * sums become codes. Weights are those of four rows for each eight inputs, filled up with zeros.
 */
#ifndef TQS_FC_S16_MVE_H
#define TQS_FC_S16_MVE_H

#include <arm_mve.h>
#include <string.h>

#include "tqs_kernels_s16.h"

/* Adds the products of x: [inputs] to the sums of four rows: STEP multiplies %q[x] with the next weights. */
#define TQS_MVE_SUMS(STEP)                                                                                             \
    __asm__ volatile("wlstp.16 lr, %[inputs], 2f\n\t"                                                                  \
                     "1:\n\t"                                                                                          \
                     "vldrh.16 %q[x], [%[in]], #16\n\t" STEP "letp lr, 1b\n\t"                                         \
                     "2:\n\t"                                                                                          \
                     : [in] "+r"(in), [w] "+r"(w), [a0] "+r"(a0), [a1] "+r"(a1), [a2] "+r"(a2), [a3] "+r"(a3),         \
                       [x] "=&w"(values), [t] "=&w"(t), [u] "=&w"(u)                                                   \
                     : [inputs] "r"(inputs)                                                                            \
                     : "lr", "memory")

/* Four sums as a vector. */
static inline int32x4_t tqs_mve_vector(int32_t a0, int32_t a1, int32_t a2, int32_t a3) {
    int32x4_t sums;

    __asm__("vmov %q[s][2], %q[s][0], %[a0], %[a2]\n\tvmov %q[s][3], %q[s][1], %[a1], %[a3]"
            : [s] "=&w"(sums)
            : [a0] "r"(a0), [a1] "r"(a1), [a2] "r"(a2), [a3] "r"(a3));
    return sums;
}

/*
 * Four outputs, or as many as are left, of sums with their bias: tqs_rescale_s16 in 32 bits. The code generator has
 * checked that each is below 2^31, and that shifts are at least 17 or the multiplier 0: 16 of the bits that are shifted
 * out can be left out before the half is added.
 */
static inline void tqs_mve_write_s16(const tqs_fc_s16_t *layer, const tqs_rows_s16_t *rows, int32x4_t sums, int16_t *y,
                                     uint32_t left) {
    const int32x4_t multipliers = vshlq_n_s32(vldrhq_s32(rows->multiplier), 16);
    const int32x4_t shifts = vsubq_s32(vdupq_n_s32(16), vldrbq_s32(rows->shift));

    sums = vmulhq_s32(sums, multipliers);
    sums = vrshlq_s32(sums, shifts);
    sums = vminq_s32(vmaxq_s32(sums, vdupq_n_s32(layer->low)), vdupq_n_s32(layer->high));
    __asm__ volatile("vctp.32 %[left]\n\tvpst\n\tvstrht.32 %q[sums], [%[y]]"
                     :
                     : [left] "r"(left), [sums] "w"(sums), [y] "l"(y)
                     : "p0", "memory");
}

#endif
