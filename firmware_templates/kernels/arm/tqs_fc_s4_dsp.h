/*
 * What the dense kernels for int4 weights share on cores with the DSP extension (Cortex-M4, M7, M33).
 *
 * A halfword holds four rows of one input: the nibbles of rows 0, 1 and 2 with 8 added, that of row 3 signed, lowest
 * first. As a number it is 4096 * w3 + 256 * w2 + 16 * w1 + w0, so four SMLADs with ever less of it give all sums, and
 * seven instructions eight products:
 *
 *     a = 4096 * s3 + 256 * s2 + 16 * s1 + s0     (the halfword)        b = 16 * s1 + s0     (its low byte)
 *     c = s0     (its lowest nibble)                                    d = s2     (its third nibble)
 *
 * The 8 that was added is taken off beforehand, with the sum of the inputs. Exact for up to 512 inputs: 32767 * 128 *
 * 512 < 2^31.
 *
 * weights: [R / 4][K / 4][2] words, K rounded up to a multiple of four: of each four inputs the even, then the odd
 * pair.
 */
#ifndef TQS_FC_S4_DSP_H
#define TQS_FC_S4_DSP_H

#include <string.h>

#include "tqs_arm.h"
#include "tqs_kernels.h"

/* Four codes to pairs (x0, x2), (x1, x3) at to. Returns sum and theirs. */
static inline int32_t tqs_widen_four_s4(uint32_t four, int32_t sum, uint32_t **to) {
    const uint32_t ones = 0x00010001u;
    uint32_t odd;

    __asm__ volatile("sxtb16 %1, %0, ror #8\n\tsxtb16 %0, %0\n\tsmlad %2, %0, %4, %2\n\tsmlad %2, %1, %4, %2\n\t"
                     "strd %0, %1, [%3], #8"
                     : "+r"(four), "=&r"(odd), "+r"(sum), "+r"(*to)
                     : "r"(ones)
                     : "memory");
    return sum;
}

/* x: [size] to pairs, filled up with zeros to a multiple of four, at *to, which moves on. Returns the sum of x. */
static inline int32_t tqs_widen_s4(const int8_t *x, uint32_t size, uint32_t **to) {
    int32_t sum = 0;
    uint32_t k;

    for (k = size >> 2; k > 0u; k--) {
        uint32_t four;

        memcpy(&four, x, 4);
        x += 4;
        sum = tqs_widen_four_s4(four, sum, to);
    }
    return (size & 3u) != 0u ? tqs_widen_four_s4(tqs_last_codes(x, size), sum, to) : sum;
}

/* Two inputs, four rows. */
#define TQS_PAIR_S4(word, pair)                                                                                        \
    "smlad %[a], " word ", " pair ", %[a]\n\t"                                                                         \
    "uxtb16 %[p], " word "\n\t"                                                                                        \
    "smlad %[b], %[p], " pair ", %[b]\n\t"                                                                             \
    "and %[p], %[mask], " word ", lsr #8\n\t"                                                                          \
    "smlad %[d], %[p], " pair ", %[d]\n\t"                                                                             \
    "and %[p], %[mask], " word "\n\t"                                                                                  \
    "smlad %[c], %[p], " pair ", %[c]\n\t"

#define TQS_STEP_S4                                                                                                    \
    "ldrd r4, r5, [%[in]], #8\n\t"                                                                                     \
    "ldrd r6, r8, [%[w]], #8\n\t" TQS_PAIR_S4("r6", "r4") TQS_PAIR_S4("r8", "r5")

/* What a block's sums a to d begin with: less the products of the 8 that was added. sum: of the inputs. */
typedef struct tqs_added {
    int32_t ab[2];
    int32_t cd[2];
} tqs_added_t;

static inline tqs_added_t tqs_added_s4(int32_t sum) {
    const int32_t added = -8 * sum;
    const int32_t added_b = 16 * added + added;
    const tqs_added_t all = {{256 * added + added_b, added_b}, {added, added}};

    return all;
}

/* Sums a to d to those of rows 3, 1, 0 and 2, of which rows 3 and 1 are times 2^4. */
#define TQS_SUMS_S4                                                                                                    \
    "sub %[a], %[a], %[b]\n\t"                                                                                         \
    "sub %[b], %[b], %[c]\n\t"                                                                                         \
    "rsb %[a], %[d], %[a], asr #8\n\t"

#endif
