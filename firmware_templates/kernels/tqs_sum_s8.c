/* y = a + b or a - b in one step. */
#include "tqs_kernels.h"

void tqs_sum_s8(const tqs_sum_t *layer, const int8_t *a, const int8_t *b, int8_t *y) {
    uint32_t i;

    for (i = 0; i < layer->size; i++) {
        const int32_t value = (a[i] * layer->a_factor + b[i] * layer->b_factor + layer->offset) >> 22;

        y[i] = (int8_t)(value < -128 ? -128 : value > 127 ? 127 : value);
    }
}
