/* y = a + b or a - b in one step, for Cortex-M. */
#include "tqs_arm.h"
#include "tqs_kernels.h"

static inline int32_t sum_of(const tqs_sum_t *layer, int32_t a, int32_t b) {
    int32_t value = a * layer->a_factor + (b * layer->b_factor + layer->offset);

#if defined(__ARM_FEATURE_SAT)
    __asm__("ssat %0, #8, %0, asr #22" : "+r"(value));
    return value;
#else
    return tqs_saturate_s8(value >> 22);
#endif
}

void tqs_sum_s8_arm(const tqs_sum_t *layer, const int8_t *a, const int8_t *b, int8_t *y) {
    const tqs_sum_t held = *layer; /* y may alias anything */
    const int8_t *end = a + held.size;
    uint32_t i;

    for (i = held.size & 3u; i > 0u; i--) {
        *y++ = (int8_t)sum_of(&held, *a++, *b++);
    }
    while (a != end) {
        y[0] = (int8_t)sum_of(&held, a[0], b[0]);
        y[1] = (int8_t)sum_of(&held, a[1], b[1]);
        y[2] = (int8_t)sum_of(&held, a[2], b[2]);
        y[3] = (int8_t)sum_of(&held, a[3], b[3]);
        a += 4;
        b += 4;
        y += 4;
    }
}
