/* y = a * b. */
#include "tqs_kernels.h"
#include "tqs_requantize.h"

void tqs_mul_s8(const tqs_mul_t *layer, const int8_t *a, const int8_t *b, int8_t *y) {
    uint32_t i;

    for (i = 0; i < layer->size; i++) {
        const int32_t product = (int32_t)(a[i] - layer->a_zero_point) * (b[i] - layer->b_zero_point);

        y[i] = tqs_saturate(tqs_requantize(product, layer->multiplier, layer->shift), layer->y_zero_point, -128, 127);
    }
}
