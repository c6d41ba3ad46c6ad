/*
 * y = a * b, for cores with the DSP extension (Cortex-M4, M7, M33): four codes a load, two to a word.
 *
 * The rounding is that of tqs_arm.h with half a code and the zero point added in the high product: h - (h < 0) + c is
 * the product with c - (p < 0). Where h is 0 for a p below 0, one less is still rounded to 0. The high products stay
 * below 2^17, so a shift by more than 22 gives what one by 22 does: the zero point.
 */
#include "tqs_arm.h"
#include "tqs_kernels.h"

/* doubled: 2 * p */
static inline int32_t code_of(const tqs_product_t *layer, int32_t doubled) {
    int32_t high;

    __asm__("smmlar %0, %1, %2, %3"
            : "=r"(high)
            : "r"(doubled), "r"(layer->multiplier), "r"(layer->offset + (doubled >> 31)));
    return tqs_saturate_s8(high >> layer->shift);
}

static inline uint32_t next_four(const int8_t **from) {
    uint32_t four;

    __asm__ volatile("ldr %0, [%1], #4" : "=r"(four), "+r"(*from) : : "memory");
    return four;
}

/* Codes 0 and 2 of four as halfwords, with the halfwords of zeros added. */
static inline uint32_t even_codes(uint32_t zeros, uint32_t four) {
    uint32_t pair;

    __asm__("sxtab16 %0, %1, %2" : "=r"(pair) : "r"(zeros), "r"(four));
    return pair;
}

/* Codes 1 and 3. */
static inline uint32_t odd_codes(uint32_t zeros, uint32_t four) {
    uint32_t pair;

    __asm__("sxtab16 %0, %1, %2, ror #8" : "=r"(pair) : "r"(zeros), "r"(four));
    return pair;
}

static inline uint32_t doubled_pair(uint32_t pair) {
    __asm__("sadd16 %0, %0, %0" : "+r"(pair));
    return pair;
}

static inline int32_t low_product(uint32_t a, uint32_t b) {
    int32_t product;

    __asm__("smulbb %0, %1, %2" : "=r"(product) : "r"(a), "r"(b));
    return product;
}

static inline int32_t high_product(uint32_t a, uint32_t b) {
    int32_t product;

    __asm__("smultt %0, %1, %2" : "=r"(product) : "r"(a), "r"(b));
    return product;
}

void tqs_mul_s8_dsp(const tqs_product_t *layer, const int8_t *a, const int8_t *b, int8_t *y) {
    const tqs_product_t held = *layer; /* y may alias anything */
    const int8_t *end = a + held.size;
    uint32_t rest;

    for (rest = held.size & 3u; rest > 0u; rest--) {
        const int32_t code_a = tqs_take(&a) + (int16_t)held.a_zeros;

        tqs_put(&y, code_of(&held, 2 * code_a * (tqs_take(&b) + (int16_t)held.b_zeros)));
    }
    while (a != end) {
        const uint32_t four_a = next_four(&a);
        const uint32_t four_b = next_four(&b);
        const uint32_t even_a = doubled_pair(even_codes(held.a_zeros, four_a));
        const uint32_t odd_a = doubled_pair(odd_codes(held.a_zeros, four_a));
        const uint32_t even_b = even_codes(held.b_zeros, four_b);
        const uint32_t odd_b = odd_codes(held.b_zeros, four_b);

        tqs_put(&y, code_of(&held, low_product(even_a, even_b)));
        tqs_put(&y, code_of(&held, low_product(odd_a, odd_b)));
        tqs_put(&y, code_of(&held, high_product(even_a, even_b)));
        tqs_put(&y, code_of(&held, high_product(odd_a, odd_b)));
    }
}
