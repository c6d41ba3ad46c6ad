/*
 * Dense layer, int4 weights, for cores with nothing but a 32-bit multiplication (Cortex-M0, M0+, M3): two products
 * each.
 *
 * A word holds four rows of two inputs, nibbles with 8 added. Masked with 0x000F000F it is the number
 * w1 * 2^16 + w0, whose products with x add up to s1 * 2^16 + s0. The halves are split off every sixteen inputs, before
 * s0 overflows: 15 * 128 * 16 < 2^15. The 8 that was added is taken off with the sum of the inputs.
 *
 * weights: [R / 4][K / 2] words, K rounded up to a multiple of two: nibbles 0 and 4 are rows 0 and 1 of the first
 * input, 1 and 5 rows 2 and 3; 2 and 6, 3 and 7 those of the second. scratch: none.
 */
#include <string.h>

#include "tqs_arm.h"
#include "tqs_kernels.h"

#define RUN 16u /* inputs between two splits */

#if defined(__ARM_ARCH_6M__) || defined(__ARM_ARCH_8M_BASE__)
/* One input, four rows: two nibbles of each half of `word` that start at bit `first`. */
#define PLANE(first, sum)                                                                                              \
    "lsrs %[t], %[u], #" first "\n\t"                                                                                  \
    "ands %[t], %[mask]\n\t"                                                                                           \
    "muls %[t], %[value], %[t]\n\t"                                                                                    \
    "add %[" sum "], %[t]\n\t"
#define ONE(k, plane0, plane1)                                                                                         \
    "ldrb %[value], [%[in], #" k "]\n\t"                                                                               \
    "sxtb %[value], %[value]\n\t" plane0 plane1
#define PLANE0                                                                                                         \
    "mov %[t], %[mask]\n\t"                                                                                            \
    "ands %[t], %[u]\n\t"                                                                                              \
    "muls %[t], %[value], %[t]\n\t"                                                                                    \
    "add %[low], %[t]\n\t"
#define WORD(k0, k1)                                                                                                   \
    "ldmia %[w]!, {%[u]}\n\t" ONE(k0, PLANE0, PLANE("4", "high")) ONE(k1, PLANE("8", "low"), PLANE("12", "high"))
#define STEP(code)                                                                                                     \
    __asm__ volatile(                                                                                                  \
        ".syntax unified\n\t" code                                                                                     \
        : [low] "+h"(low), [high] "+h"(high), [w] "+l"(w), [u] "=&l"(u), [t] "=&l"(t), [value] "=&l"(value)            \
        : [mask] "l"(mask), [in] "l"(in)                                                                               \
        : "memory", "cc")
#define STEP2                                                                                                          \
    STEP(WORD("0", "1"));                                                                                              \
    in += 2
#define STEP16                                                                                                         \
    STEP(WORD("0", "1") WORD("2", "3") WORD("4", "5") WORD("6", "7") WORD("8", "9") WORD("10", "11") WORD("12", "13")  \
             WORD("14", "15"));                                                                                        \
    in += 16
#else
/* One input, four rows: the nibbles of `word` that start at two of its bits. */
#define ONE(word, first, second)                                                                                       \
    "ldrsb %[value], [%[in]], #1\n\t"                                                                                  \
    "and %[t], %[mask], " word first "\n\t"                                                                            \
    "mla %[low], %[t], %[value], %[low]\n\t"                                                                           \
    "and %[t], %[mask], " word second "\n\t"                                                                           \
    "mla %[high], %[t], %[value], %[high]\n\t"
#define WORD(word) ONE(word, "", ", lsr #4") ONE(word, ", lsr #8", ", lsr #12")
#define STEP(code)                                                                                                     \
    __asm__ volatile(code                                                                                              \
                     : [low] "+r"(low), [high] "+r"(high), [w] "+r"(w), [in] "+r"(in), [u] "=&r"(u), [v] "=&r"(v),     \
                       [t] "=&r"(t), [value] "=&r"(value)                                                              \
                     : [mask] "r"(mask)                                                                                \
                     : "memory")
#define STEP2 STEP("ldr %[u], [%[w]], #4\n\t" WORD("%[u]"))
#define STEP4 STEP("ldrd %[u], %[v], [%[w]], #8\n\t" WORD("%[u]") WORD("%[v]"))
#define STEP16                                                                                                         \
    STEP4;                                                                                                             \
    STEP4;                                                                                                             \
    STEP4;                                                                                                             \
    STEP4
#endif

/* Adds the two sums of a pair to lower and upper. */
#define SPLIT(pair, lower, upper)                                                                                      \
    {                                                                                                                  \
        const int32_t half = (int16_t)(pair);                                                                          \
                                                                                                                       \
        lower += half;                                                                                                 \
        upper += ((int32_t)(pair) - half) >> 16;                                                                       \
    }

void tqs_fc_s4_lanes(const tqs_fc_t *layer, const int8_t *x, int8_t *y, uint32_t *scratch) {
    const uint32_t *w = layer->weights;
    const tqs_rows_t *rows = layer->rows;
    const int32_t offset = 2 * layer->zero_point + 1;
    const uint32_t inputs = layer->inputs;
    int32_t left = layer->outputs;
    int32_t added = 0;
    uint32_t mask = 0x000F000Fu;
    int8_t *out = y;
    uint32_t k;

    (void)scratch;
    __asm__("" : "+r"(mask)); /* kept in a register */
    for (k = 0; k < inputs; k++) {
        added -= x[k];
    }
    added *= 8;
    do {
        const int8_t *in = x;
        int32_t sum0 = added;
        int32_t sum1 = added;
        int32_t sum2 = added;
        int32_t sum3 = added;
        uint32_t todo = inputs;
        uint32_t low;
        uint32_t high;
        uint32_t u;
        uint32_t t;
        uint32_t value;
#if !defined(__ARM_ARCH_6M__) && !defined(__ARM_ARCH_8M_BASE__)
        uint32_t v;
#endif

        for (; todo >= RUN; todo -= RUN) {
            low = 0;
            high = 0;
            STEP16;
            SPLIT(low, sum0, sum1)
            SPLIT(high, sum2, sum3)
        }
        if (todo > 0u) {
            low = 0;
            high = 0;
            for (; todo > 1u; todo -= 2u) {
                STEP2;
            }
            if (todo > 0u) {
                const uint32_t eight = *w++;

                value = (uint32_t)*in;
                low += (eight & mask) * value;
                high += ((eight >> 4) & mask) * value;
            }
            SPLIT(low, sum0, sum1)
            SPLIT(high, sum2, sum3)
        }
        tqs_write_rows(rows, sum0 * 2, sum1 * 2, sum2 * 2, sum3 * 2, offset, out, left);
        out += 4;
        rows++;
        left -= 4;
    } while (left > 0);
    tqs_clamp(y, layer->outputs, layer->low, layer->high);
}
