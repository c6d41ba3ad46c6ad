/*
 * What the dense kernels for int8 weights share on Cortex-M3: two products an instruction with SMLAL.
 *
 * A word holds four rows of one input: bytes 0 and 2 are rows 0 and 2 with 128 added, bytes 3 and 1 rows 1 and 3,
 * signed. Masked with 0xFF0000FF it is the number w1 * 2^24 + w0, and rotated by half a word w3 * 2^24 + w2; a 64-bit
 * sum of such numbers times x holds s1 * 2^24 + s0. The 128 that was added is taken off with the sum of the inputs.
 *
 * weights: [R / 4][K] words. scratch: none.
 */
#ifndef TQS_FC_S8_V7M_H
#define TQS_FC_S8_V7M_H

#include "tqs_arm.h"
#include "tqs_kernels.h"

/* One input, four rows. */
#define TQS_ONE_V7M(four)                                                                                              \
    "ldrsb %[value], [%[in]], #1\n\t"                                                                                  \
    "and %[pair], %[mask], " four "\n\t"                                                                               \
    "smlal %[a0], %[a1], %[pair], %[value]\n\t"                                                                        \
    "and %[pair], %[mask], " four ", ror #16\n\t"                                                                      \
    "smlal %[b0], %[b1], %[pair], %[value]\n\t"
#define TQS_STEPS_V7M(code)                                                                                            \
    __asm__ volatile(code                                                                                              \
                     : [a0] "+r"(a0), [a1] "+r"(a1), [b0] "+r"(b0), [b1] "+r"(b1), [in] "+r"(in), [w] "+r"(w),         \
                       [u] "=&r"(u), [v] "=&r"(v), [value] "=&r"(value), [pair] "=&r"(pair)                            \
                     : [mask] "r"(mask)                                                                                \
                     : "memory")
#define TQS_STEP1_V7M TQS_STEPS_V7M("ldr %[u], [%[w]], #4\n\t" TQS_ONE_V7M("%[u]"))
#define TQS_STEP2_V7M TQS_STEPS_V7M("ldrd %[u], %[v], [%[w]], #8\n\t" TQS_ONE_V7M("%[u]") TQS_ONE_V7M("%[v]"))

/* The two sums of a pair, doubled. */
static inline int32_t tqs_lower_sum(int32_t low) {
    return (int32_t)((uint32_t)low << 8) >> 7;
}

static inline int32_t tqs_upper_sum(int32_t low, int32_t high) {
    /* What is above 24 bits, and the bit that a negative lower sum has borrowed. */
    return (int32_t)((((uint32_t)high << 8 | (uint32_t)low >> 24) + ((uint32_t)low >> 23 & 1u)) << 1);
}

/* -128 times the sum of x: [size] */
static inline int32_t tqs_added_v7m(const int8_t *x, uint32_t size) {
    int32_t added = 0;

    for (; size > 0u; size--) {
        added -= *x++;
    }
    return added * 128;
}

#endif
