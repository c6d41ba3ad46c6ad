/*
 * y = a b, where both are computed, for cores with the DSP extension (Cortex-M4, M7, M33): two products an instruction.
 *
 * b is doubled, as the rounding wants it, which is that of tqs_mul_s8_dsp: the high products stay below 2^30, so shift
 * is -22 to -1. K at least 4, K * 255 * 255 below 2^30. scratch: [K / 4][2][4] words, K rounded up to a multiple of
 * four: for each four inputs the even pair of each column less b's zero point, then the odd ones.
 */
#include "tqs_arm.h"
#include "tqs_matmul_blocks.h"

static inline int16_t next(const int8_t **in, uint32_t step, int32_t doubled) {
    const int16_t value = (int16_t)(2 * **in - doubled);

    *in += step;
    return value;
}

static inline void pack(const tqs_matmul_t *layer, const int8_t *b, uint32_t count, uint32_t *packed) {
    const uint32_t inner = layer->inner;
    const uint32_t step = layer->inner_step;
    const int32_t doubled = 2 * layer->b_zero_point;
    int16_t *column = (int16_t *)packed;

    if (count < 4u || (inner & 3u) != 0u) {
        memset(packed, 0, (inner + 3u) / 4u * 32u);
    }
    for (; count > 0u; count--, column += 2) {
        const int8_t *in = b;
        int16_t *to = column;
        uint32_t k;

        for (k = inner / 4u; k > 0u; k--, to += 16) {
            to[0] = next(&in, step, doubled);
            to[8] = next(&in, step, doubled);
            to[1] = next(&in, step, doubled);
            to[9] = next(&in, step, doubled);
        }
        for (k = 0; k < (inner & 3u); k++) {
            to[(k & 1u) * 8u + (k >> 1)] = next(&in, step, doubled);
        }
        b += layer->column_step;
    }
}

/* Four inputs, %[four], four columns. */
#define STEP                                                                                                           \
    "sxtab16 %[even], %[zeros], %[four]\n\t"                                                                           \
    "ldmia %[w]!, {r4, r5, r6, r8}\n\t"                                                                                \
    "smlad %[s0], %[even], r4, %[s0]\n\t"                                                                              \
    "smlad %[s1], %[even], r5, %[s1]\n\t"                                                                              \
    "smlad %[s2], %[even], r6, %[s2]\n\t"                                                                              \
    "smlad %[s3], %[even], r8, %[s3]\n\t"                                                                              \
    "sxtab16 %[even], %[zeros], %[four], ror #8\n\t"                                                                   \
    "ldmia %[w]!, {r4, r5, r6, r8}\n\t"                                                                                \
    "smlad %[s0], %[even], r4, %[s0]\n\t"                                                                              \
    "smlad %[s1], %[even], r5, %[s1]\n\t"                                                                              \
    "smlad %[s2], %[even], r6, %[s2]\n\t"                                                                              \
    "smlad %[s3], %[even], r8, %[s3]\n\t"
#define NEXT "ldr %[four], [%[a]], #4\n\t" STEP
#define CODE(sum, at)                                                                                                  \
    "add %[even], r5, %[" sum "], asr #31\n\t"                                                                         \
    "smmlar %[" sum "], %[" sum "], r4, %[even]\n\t"                                                                   \
    "asr %[" sum "], %[" sum "], r6\n\t"                                                                               \
    "ssat %[" sum "], #8, %[" sum "]\n\t"                                                                              \
    "strb %[" sum "], [r8, #" at "]\n\t"

/* What the code below finds in memory, in pairs. */
typedef struct part {
    int32_t multiplier;
    int32_t offset; /* half a code, and y's zero point, times 2^shift */
    uint32_t shift; /* to the right */
    int8_t *to;
    uint32_t left; /* rows */
    uint32_t y_step;
    const uint32_t *packed;
    uint32_t whole; /* inputs, a multiple of four */
    uint32_t rest;  /* behind them */
    uint32_t bits;  /* of a word that ends with them and are not theirs */
} part_t;

static void meet(const tqs_matmul_t *layer, const int8_t *a, uint32_t rows, const uint32_t *packed, int8_t *y,
                 uint32_t y_step) {
    const uint32_t shift = (uint32_t)-layer->shift;
    const uint32_t rest = layer->inner & 3u;
    part_t part = {layer->multiplier,
                   (2 * layer->y_zero_point + 1) * (1 << (shift - 1u)),
                   shift,
                   y,
                   rows,
                   y_step,
                   packed,
                   layer->inner & ~3u,
                   rest,
                   32u - 8u * rest};
    int32_t s0;
    int32_t s1;
    int32_t s2;
    int32_t s3;
    const uint32_t *w;
    const int8_t *end;
    uint32_t four;
    uint32_t even;

    __asm__ volatile(
        "8: ldrd %[w], %[even], %[packed]\n\t"
        "mov %[s0], #0\n\t"
        "mov %[s1], #0\n\t"
        "mov %[s2], #0\n\t"
        "mov %[s3], #0\n\t"
        "add %[end], %[a], %[even]\n\t"
        "tst %[even], #4\n\t"
        "bne 2f\n\t"
        "1:\n\t" NEXT "2:\n\t" NEXT "cmp %[a], %[end]\n\t"
        "bne 1b\n\t"
        "ldrd r4, r5, %[rest]\n\t"
        "cmp r4, #0\n\tbeq 3f\n\t"
        "add %[a], %[a], r4\n\t"
        "ldr %[four], [%[a], #-4]\n\t"
        "lsr %[four], %[four], r5\n\t" STEP "3:\n\t"
        "ldrd r4, r5, %[multiplier]\n\t"
        "ldrd r6, r8, %[shift]\n\t" CODE("s0", "0") CODE("s1", "1") CODE("s2", "2")
            CODE("s3", "3") "ldrd r4, r5, %[left]\n\t"
                            "add r8, r8, r5\n\t"
                            "str r8, %[to]\n\t"
                            "subs r4, #1\n\t"
                            "str r4, %[left]\n\t"
                            "bne 8b\n\t"
        : [s0] "=&r"(s0), [s1] "=&r"(s1), [s2] "=&r"(s2), [s3] "=&r"(s3), [even] "=&r"(even), [four] "=&r"(four),
          [w] "=&r"(w), [end] "=&r"(end), [a] "+r"(a), [left] "+m"(part.left), [to] "+m"(part.to)
        : [zeros] "r"(((uint32_t)-layer->a_zero_point & 0xFFFFu) * 0x10001u), [packed] "m"(part.packed),
          [rest] "m"(part.rest), [multiplier] "m"(part.multiplier), [shift] "m"(part.shift), "m"(part)
        : "r4", "r5", "r6", "r8", "cc", "memory");
}

void tqs_matmul_s8_dsp(const tqs_matmul_t *layer, const int8_t *a, const int8_t *b, int8_t *y, uint32_t *scratch) {
    tqs_matmul_blocks(layer, a, b, y, 1, scratch, pack, meet);
}
