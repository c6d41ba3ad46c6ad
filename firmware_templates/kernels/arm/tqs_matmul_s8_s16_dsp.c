/*
 * y = a b, where both are computed, of int8 codes to int16 ones, for cores with the DSP extension (Cortex-M4, M7, M33):
 * two products an instruction. Two columns of b at a time: there is less room beside codes of int16.
 *
 * K at least 4, at least two columns, K * 255 * 255 below 2^29, every shift at least 15; the rounding is that of
 * tqs_fc_s16_dsp.h. scratch: [K / 4][2][2] words, K rounded up to a multiple of four: for each four inputs the even
 * pair of either column less b's zero point, times four, then the odd ones.
 */
#include "tqs_arm.h"
#include "tqs_attention.h"

static inline void pack(const tqs_matmul_t *layer, const int8_t *b, int16_t *to) {
    const uint32_t step = layer->inner_step;
    const int32_t zero_point = layer->b_zero_point;
    uint32_t left;

    for (left = layer->inner; left >= 4u; left -= 4u, to += 8, b += 4u * step) {
        to[0] = (int16_t)(4 * (b[0] - zero_point));
        to[1] = (int16_t)(4 * (b[2u * step] - zero_point));
        to[4] = (int16_t)(4 * (b[step] - zero_point));
        to[5] = (int16_t)(4 * (b[3u * step] - zero_point));
    }
    if (left > 0u) {
        to[0] = (int16_t)(4 * (b[0] - zero_point));
        to[1] = (int16_t)(left > 2u ? 4 * (b[2u * step] - zero_point) : 0);
        to[4] = (int16_t)(left > 1u ? 4 * (b[step] - zero_point) : 0);
        to[5] = 0;
    }
}

/* Four inputs, %[four]. */
#define STEP                                                                                                           \
    "ldrd %[p], %[q], [%[w]], #8\n\t"                                                                                  \
    "sxtab16 %[pair], %[zeros], %[four]\n\t"                                                                           \
    "smlad %[s0], %[pair], %[p], %[s0]\n\t"                                                                            \
    "smlad %[s1], %[pair], %[q], %[s1]\n\t"                                                                            \
    "ldrd %[p], %[q], [%[w]], #8\n\t"                                                                                  \
    "sxtab16 %[pair], %[zeros], %[four], ror #8\n\t"                                                                   \
    "smlad %[s0], %[pair], %[p], %[s0]\n\t"                                                                            \
    "smlad %[s1], %[pair], %[q], %[s1]\n\t"
#define NEXT "ldr %[four], [%[a]], #4\n\t" STEP
#define OPERANDS                                                                                                       \
    [s0] "+r"(s0), [s1] "+r"(s1), [a] "+r"(a), [w] "+r"(w), [p] "=&r"(p), [q] "=&r"(q), [pair] "=&r"(pair),            \
        [four] "+r"(four)

static inline int16_t code_of(int32_t sum, int32_t multiplier, uint32_t shift) {
    __asm__("smulwb %0, %0, %1\n\t"
            "asr %0, %0, %2\n\t"
            "add %0, %0, #1\n\t"
            "ssat %0, #16, %0, asr #1"
            : "+r"(sum)
            : "r"(multiplier), "r"(shift));
    return (int16_t)sum;
}

void tqs_matmul_s8_s16_dsp(const tqs_matmul_t *layer, const int8_t *a, const int8_t *b, int16_t *y, uint32_t *scratch) {
    const tqs_matmul_t held = *layer; /* y may alias it */
    const uint32_t zeros = ((uint32_t)-held.a_zero_point & 0xFFFFu) * 0x10001u;
    const uint32_t shift = (uint32_t)held.shift - 15u;
    const uint32_t rest = held.inner & 3u;
    const int8_t *first = a;
    uint32_t column;

    for (column = 0; column < held.columns; column += 2u) {
        int16_t *to;
        uint32_t row;

        column = column + 2u > held.columns ? held.columns - 2u : column;
        pack(&held, b + column * held.column_step, (int16_t *)scratch);
        pack(&held, b + (column + 1u) * held.column_step, (int16_t *)scratch + 2);
        to = y + column;
        a = first;
        for (row = held.rows; row > 0u; row--, to += held.columns) {
            const uint32_t *w = scratch;
            const int8_t *end = a + (held.inner - rest);
            int32_t s0 = 0;
            int32_t s1 = 0;
            uint32_t four = 0;
            uint32_t pair;
            uint32_t p;
            uint32_t q;

            __asm__ volatile("tst %[inner], #4\n\t"
                             "bne 2f\n\t"
                             "1:\n\t" NEXT "2:\n\t" NEXT "cmp %[a], %[end]\n\t"
                             "bne 1b\n\t"
                             : OPERANDS
                             : [inner] "r"((uint32_t)held.inner), [end] "r"(end), [zeros] "r"(zeros)
                             : "cc", "memory");
            if (rest > 0u) {
                a += rest;
                memcpy(&four, a - 4, 4);
                four >>= 32u - 8u * rest;
                __asm__ volatile(STEP : OPERANDS : [zeros] "r"(zeros) : "memory");
            }
            to[0] = code_of(s0, held.multiplier, shift);
            to[1] = code_of(s1, held.multiplier, shift);
        }
    }
}
