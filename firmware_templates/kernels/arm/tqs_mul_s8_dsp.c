/*
 * y = a * b, for cores with the DSP extension (Cortex-M4, M7, M33): four codes a load, two to a word.
 *
 * The rounding is that of tqs_arm.h with half a code and the zero point added in the high product: h - (h < 0) + c is
 * the product with c - (p < 0). Where h is 0 for a p below 0, one less is still rounded to 0.
 */
#include "tqs_arm.h"
#include "tqs_kernels.h"

#define MOST_SHIFT 22 /* the high products stay below 2^17: a shift further gives 0 as well */

typedef struct mul {
    int32_t multiplier;
    int32_t shift;
    int32_t offset;
} mul_t;

/* doubled: 2 * p */
static inline int32_t code_of(const mul_t *mul, int32_t doubled) {
    int32_t high;

    __asm__("smmlar %0, %1, %2, %3"
            : "=r"(high)
            : "r"(doubled), "r"(mul->multiplier), "r"(mul->offset + (doubled >> 31)));
    return tqs_saturate_s8(high >> mul->shift);
}

/* Codes 0 and 2 of four as halfwords, and codes 1 and 3, with the halfwords of ``to`` added. */
static inline int32_t even_codes(int32_t to, int32_t four) {
    int32_t pair;

    __asm__("sxtab16 %0, %1, %2" : "=r"(pair) : "r"(to), "r"(four));
    return pair;
}

static inline int32_t odd_codes(int32_t to, int32_t four) {
    int32_t pair;

    __asm__("sxtab16 %0, %1, %2, ror #8" : "=r"(pair) : "r"(to), "r"(four));
    return pair;
}

static inline int32_t doubled_pair(int32_t pair) {
    __asm__("sadd16 %0, %0, %0" : "+r"(pair));
    return pair;
}

static inline int32_t low_product(int32_t a, int32_t b) {
    int32_t product;

    __asm__("smulbb %0, %1, %2" : "=r"(product) : "r"(a), "r"(b));
    return product;
}

static inline int32_t high_product(int32_t a, int32_t b) {
    int32_t product;

    __asm__("smultt %0, %1, %2" : "=r"(product) : "r"(a), "r"(b));
    return product;
}

static inline int32_t next_four(const int8_t **from) {
    int32_t four;

    __asm__ volatile("ldr %0, [%1], #4" : "=r"(four), "+r"(*from) : : "memory");
    return four;
}

void tqs_mul_s8_dsp(const tqs_mul_t *layer, const int8_t *a, const int8_t *b, int8_t *y) {
    const int32_t shift = layer->shift < MOST_SHIFT ? layer->shift + 1 : MOST_SHIFT;
    const mul_t mul = {layer->multiplier, shift, layer->y_zero_point * (1 << shift) + (1 << (shift - 1))};
    const int32_t a_zero = -layer->a_zero_point;
    const int32_t b_zero = -layer->b_zero_point;
    const int32_t a_zeros = (int32_t)((uint32_t)a_zero * 65536u + ((uint32_t)a_zero & 0xFFFFu));
    const int32_t b_zeros = (int32_t)((uint32_t)b_zero * 65536u + ((uint32_t)b_zero & 0xFFFFu));
    const int8_t *end = a + layer->size;
    uint32_t rest;

    for (rest = layer->size & 3u; rest > 0u; rest--) {
        tqs_put(&y, code_of(&mul, 2 * (tqs_take(&a) + a_zero) * (tqs_take(&b) + b_zero)));
    }
    while (a != end) {
        const int32_t four_a = next_four(&a);
        const int32_t four_b = next_four(&b);
        const int32_t even_a = doubled_pair(even_codes(a_zeros, four_a));
        const int32_t odd_a = doubled_pair(odd_codes(a_zeros, four_a));
        const int32_t even_b = even_codes(b_zeros, four_b);
        const int32_t odd_b = odd_codes(b_zeros, four_b);

        tqs_put(&y, code_of(&mul, low_product(even_a, even_b)));
        tqs_put(&y, code_of(&mul, low_product(odd_a, odd_b)));
        tqs_put(&y, code_of(&mul, high_product(even_a, even_b)));
        tqs_put(&y, code_of(&mul, high_product(odd_a, odd_b)));
    }
}
