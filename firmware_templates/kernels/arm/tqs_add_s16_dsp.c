/*
 * y = a + b or a - b, int16, for cores with the DSP extension (Cortex-M4, M7, M33). Every shift -31 to 0.
 *
 * What is rounded is doubled, so that SMMLAR is the first rounding; half and the one less of negative numbers that the
 * second adds go into its sum, as in tqs_mul_s8_dsp. A shift by 0 rounds nothing.
 */
#include "tqs_kernels_s16.h"

typedef struct rounding {
    int32_t multiplier;
    uint32_t shift; /* to the right */
    int32_t half;
    int32_t below; /* -1 where the shift rounds */
} rounding_t;

static inline rounding_t rounding_of(int32_t multiplier, int32_t shift) {
    const rounding_t scale = {multiplier, (uint32_t)-shift, shift < 0 ? 1 << (-shift - 1) : 0, shift < 0 ? -1 : 0};

    return scale;
}

static inline int32_t rescale(int32_t doubled, rounding_t scale) {
    int32_t high;

    __asm__("smmlar %0, %1, %2, %3"
            : "=r"(high)
            : "r"(doubled), "r"(scale.multiplier), "r"(scale.half + (doubled >> 31 & scale.below)));
    return high >> scale.shift;
}

void tqs_add_s16_dsp(const tqs_add_s16_t *layer, const int16_t *a, const int16_t *b, int16_t *y) {
    const rounding_t scale_a = rounding_of(layer->a_multiplier, layer->a_shift);
    const rounding_t scale_b = rounding_of(layer->b_multiplier, layer->b_shift);
    const rounding_t scale_y = rounding_of(layer->y_multiplier, layer->y_shift);
    const int32_t sign = layer->subtract != 0u ? -1 : 1;
    const int16_t *end = a + layer->size;

    while (a != end) {
        const int32_t sum = rescale(*a++ * 65536, scale_a) + sign * rescale(*b++ * 65536, scale_b);
        int32_t code;

        __asm__("ssat %0, #16, %1" : "=r"(code) : "r"(rescale(2 * sum, scale_y)));
        *y++ = (int16_t)code;
    }
}
