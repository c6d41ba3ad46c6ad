/*
 * What the dense kernels for int8 weights share on cores with the DSP extension (Cortex-M4, M7, M33).
 *
 * A halfword holds 256 * w[r + 1][k] + w[r][k], a word two k. One SMLAD with two inputs sums 256 * s1 + s0, another
 * with the sign-extended low bytes s0 alone: nine instructions give eight products. Exact for up to 512 inputs and |w|
 * <= 127: 127 * 257 * 128 * 512 < 2^31.
 *
 * weights: [R / 4][K / 4][2][2] words, K rounded up to a multiple of four: of each four inputs the even, then the odd
 * pair, each with rows 0 and 1, then rows 2 and 3.
 */
#ifndef TQS_FC_S8_DSP_H
#define TQS_FC_S8_DSP_H

#include <string.h>

#include "tqs_arm.h"
#include "tqs_kernels.h"

/* Four codes to pairs (x0, x2), (x1, x3) at to. Returns what is behind them. */
static inline uint32_t *tqs_widen_four_s8(uint32_t four, uint32_t *to) {
    uint32_t odd;

    __asm__ volatile("sxtb16 %1, %0, ror #8\n\tsxtb16 %0, %0\n\tstrd %0, %1, [%2], #8"
                     : "+r"(four), "=&r"(odd), "+r"(to)
                     :
                     : "memory");
    return to;
}

/* x: [size] to pairs, filled up with zeros to a multiple of four. Returns the end of scratch. */
static inline const uint32_t *tqs_widen_s8(const int8_t *x, uint32_t size, uint32_t *scratch) {
    uint32_t k;

    for (k = size >> 2; k > 0u; k--) {
        uint32_t four;

        memcpy(&four, x, 4);
        x += 4;
        scratch = tqs_widen_four_s8(four, scratch);
    }
    return (size & 3u) != 0u ? tqs_widen_four_s8(tqs_last_codes(x, size), scratch) : scratch;
}

/* Four inputs, four rows. */
#define TQS_STEP_S8                                                                                                    \
    "ldrd %[p], %[q], [%[in]], #8\n\t"                                                                                 \
    "ldmia %[w]!, {r4, r5, r6, r8}\n\t"                                                                                \
    "smlad %[a0], r4, %[p], %[a0]\n\t"                                                                                 \
    "sxtb16 r4, r4\n\t"                                                                                                \
    "smlad %[a1], r5, %[p], %[a1]\n\t"                                                                                 \
    "sxtb16 r5, r5\n\t"                                                                                                \
    "smlad %[b0], r4, %[p], %[b0]\n\t"                                                                                 \
    "smlad %[b1], r5, %[p], %[b1]\n\t"                                                                                 \
    "smlad %[a0], r6, %[q], %[a0]\n\t"                                                                                 \
    "sxtb16 r6, r6\n\t"                                                                                                \
    "smlad %[a1], r8, %[q], %[a1]\n\t"                                                                                 \
    "sxtb16 r8, r8\n\t"                                                                                                \
    "smlad %[b0], r6, %[q], %[b0]\n\t"                                                                                 \
    "smlad %[b1], r8, %[q], %[b1]\n\t"

#endif
