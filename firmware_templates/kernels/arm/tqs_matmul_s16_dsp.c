/*
 * y = a b, where both are computed, int16, for cores with the DSP extension (Cortex-M4, M7, M33): two products an
 * instruction. See tqs_matmul_s16.h.
 *
 * scratch: [K / 2][2] words, K rounded up to a multiple of two: of each two inputs the pair of both columns.
 */
#include "tqs_matmul_s16.h"

static inline void pack(const tqs_matmul_t *layer, const int16_t *b, int16_t *to) {
    const uint32_t step = layer->inner_step;
    const uint32_t inner = layer->inner;
    uint32_t k;

    for (k = inner >> 1; k > 0u; k--, to += 4) {
        to[0] = *b;
        b += step;
        to[1] = *b;
        b += step;
    }
    if ((inner & 1u) != 0u) {
        to[0] = *b;
    }
}

#define SUMS(pair)                                                                                                     \
    "smlald %Q[s0], %R[s0], %[" pair "], %[u]\n\t"                                                                     \
    "smlald %Q[s1], %R[s1], %[" pair "], %[v]\n\t"
/* Two inputs. */
#define STEP                                                                                                           \
    "ldr %[p], [%[a]], #4\n\t"                                                                                         \
    "ldrd %[u], %[v], [%[w]], #8\n\t" SUMS("p")
#define OPERANDS [s0] "+r"(s0), [s1] "+r"(s1), [a] "+r"(a), [w] "+r"(w), [p] "=&r"(p), [u] "=&r"(u), [v] "=&r"(v)

static inline const int16_t *meet(const int16_t *a, uint32_t inner, const uint32_t *packed, int64_t *sums) {
    const uint32_t *w = packed;
    const int16_t *end = a + (inner & ~1u);
    int64_t s0 = 0;
    int64_t s1 = 0;
    uint32_t p;
    uint32_t u;
    uint32_t v;

    if (inner > 1u) {
        __asm__ volatile("tst %[inner], #2\n\t"
                         "bne 2f\n\t"
                         "1:\n\t" STEP "2:\n\t" STEP "cmp %[a], %[end]\n\t"
                         "bne 1b\n\t"
                         : OPERANDS
                         : [inner] "r"(inner), [end] "r"(end)
                         : "cc", "memory");
    }
    if ((inner & 1u) != 0u) {
        __asm__ volatile("ldrh %[p], [%[a]], #2\n\t"
                         "ldrh %[u], [%[w]]\n\t"
                         "ldrh %[v], [%[w], #4]\n\t" SUMS("p")
                         : OPERANDS
                         :
                         : "memory");
    }
    sums[0] = s0;
    sums[1] = s1;
    return a;
}

void tqs_matmul_s16_dsp(const tqs_matmul_t *layer, const int16_t *a, const int16_t *b, int16_t *y, uint32_t *scratch) {
    tqs_matmul_pairs(layer, a, b, y, scratch, 2, pack, meet);
}
