/* y = table[a + b]: tqs_sum_s8_arm and tqs_lut_s8_arm in one. */
#include "tqs_arm.h"
#include "tqs_kernels.h"

static inline int32_t value_of(const tqs_sum_t *sum, const int8_t *table, int32_t a, int32_t b) {
    return table[tqs_code_of_sum(a * sum->a_factor + (b * sum->b_factor + sum->offset))];
}

void tqs_sum_lut_s8_arm(const tqs_sum_t *sum, const tqs_lut_t *lut, const int8_t *a, const int8_t *b, int8_t *y) {
    const tqs_sum_t held = *sum; /* y may alias anything */
    const int8_t *table = lut->table + 128;
    const int8_t *end = a + lut->size;
    uint32_t rest;

    for (rest = lut->size & 3u; rest > 0u; rest--) {
        tqs_put(&y, value_of(&held, table, tqs_take(&a), tqs_take(&b)));
    }
    while (a != end) {
        tqs_put(&y, value_of(&held, table, tqs_take(&a), tqs_take(&b)));
        tqs_put(&y, value_of(&held, table, tqs_take(&a), tqs_take(&b)));
        tqs_put(&y, value_of(&held, table, tqs_take(&a), tqs_take(&b)));
        tqs_put(&y, value_of(&held, table, tqs_take(&a), tqs_take(&b)));
    }
}
