/* y = a + b or a - b in one step, for Cortex-M. */
#include "tqs_arm.h"
#include "tqs_kernels.h"

static inline int32_t sum_of(const tqs_sum_t *layer, int32_t a, int32_t b) {
    return tqs_code_of_sum(a * layer->a_factor + (b * layer->b_factor + layer->offset));
}

void tqs_sum_s8_arm(const tqs_sum_t *layer, const int8_t *a, const int8_t *b, int8_t *y) {
    const tqs_sum_t held = *layer; /* y may alias anything */
    const int8_t *end = a + held.size;
    uint32_t i;

    for (i = held.size & 3u; i > 0u; i--) {
        tqs_put(&y, sum_of(&held, tqs_take(&a), tqs_take(&b)));
    }
    while (a != end) {
        tqs_put(&y, sum_of(&held, tqs_take(&a), tqs_take(&b)));
        tqs_put(&y, sum_of(&held, tqs_take(&a), tqs_take(&b)));
        tqs_put(&y, sum_of(&held, tqs_take(&a), tqs_take(&b)));
        tqs_put(&y, sum_of(&held, tqs_take(&a), tqs_take(&b)));
    }
}
