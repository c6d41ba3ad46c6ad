/*
 * Dense layer, int8 weights, for Cortex-M3: two products an instruction with SMLAL.
 *
 * A word holds four rows of one input: bytes 0 and 2 are rows 0 and 2 with 128 added, bytes 3 and 1 rows 1 and 3,
 * signed. Masked with 0xFF0000FF it is the number w1 * 2^24 + w0, and rotated by half a word w3 * 2^24 + w2; a 64-bit
 * sum of such numbers times x holds s1 * 2^24 + s0. The 128 that was added is taken off, with the sum of the inputs,
 * before the sum is split. Exact for up to 512 inputs and |w| <= 127: 127 * 128 * 512 < 2^23.
 *
 * weights: [R / 4][K] words. scratch: none.
 */
#include <string.h>

#include "tqs_arm.h"
#include "tqs_kernels.h"

/* One input, four rows. */
#define ONE(four)                                                                                                      \
    "ldrsb %[value], [%[in]], #1\n\t"                                                                                  \
    "and %[pair], %[mask], " four "\n\t"                                                                               \
    "smlal %[a0], %[a1], %[pair], %[value]\n\t"                                                                        \
    "and %[pair], %[mask], " four ", ror #16\n\t"                                                                      \
    "smlal %[b0], %[b1], %[pair], %[value]\n\t"
#define STEP(code)                                                                                                     \
    __asm__ volatile(code                                                                                              \
                     : [a0] "+r"(a0), [a1] "+r"(a1), [b0] "+r"(b0), [b1] "+r"(b1), [in] "+r"(in), [w] "+r"(w),         \
                       [u] "=&r"(u), [v] "=&r"(v), [value] "=&r"(value), [pair] "=&r"(pair)                            \
                     : [mask] "r"(mask)                                                                                \
                     : "memory")
#define STEP1 STEP("ldr %[u], [%[w]], #4\n\t" ONE("%[u]"))
#define STEP2 STEP("ldrd %[u], %[v], [%[w]], #8\n\t" ONE("%[u]") ONE("%[v]"))

/* The two sums of a pair, doubled. */
static inline int32_t lower_sum(int32_t low) {
    return (int32_t)((uint32_t)low << 8) >> 7;
}

static inline int32_t upper_sum(int32_t low, int32_t high) {
    /* What is above 24 bits, and the bit that a negative lower sum has borrowed. */
    return (int32_t)((((uint32_t)high << 8 | (uint32_t)low >> 24) + ((uint32_t)low >> 23 & 1u)) << 1);
}

void tqs_fc_s8_v7m(const tqs_fc_t *layer, const int8_t *x, int8_t *y, uint32_t *scratch) {
    const uint32_t *w = layer->weights;
    const tqs_rows_t *rows = layer->rows;
    const int32_t offset = 2 * layer->zero_point + 1;
    const uint32_t inputs = layer->inputs;
    const int8_t *end = x + inputs;
    int32_t left = layer->outputs;
    int32_t added = 0;
    const uint32_t mask = 0xFF0000FFu;
    int8_t *out = y;
    const int8_t *in;

    (void)scratch;
    for (in = x; in != end; in++) {
        added -= *in;
    }
    added *= 128;
    do {
        int32_t a0 = added;
        int32_t a1 = added >> 31;
        int32_t b0 = a0;
        int32_t b1 = a1;
        uint32_t u;
        uint32_t v;
        uint32_t value;
        uint32_t pair;

        in = x;
        if ((inputs & 1u) != 0u) {
            STEP1;
        }
        if ((inputs & 2u) != 0u) {
            STEP2;
        }
        if ((inputs & 4u) != 0u) {
            STEP2;
            STEP2;
        }
        while (in != end) {
            STEP2;
            STEP2;
            STEP2;
            STEP2;
        }
        tqs_write_rows(rows, lower_sum(a0), upper_sum(a0, a1), lower_sum(b0), upper_sum(b0, b1), offset, out, left);
        out += 4;
        rows++;
        left -= 4;
    } while (left > 0);
    tqs_clamp(y, layer->outputs, layer->low, layer->high);
}
