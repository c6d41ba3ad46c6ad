/* y = x in another scale and zero point, for Cortex-M. */
#include "tqs_arm.h"
#include "tqs_kernels.h"

void tqs_requant_s8_arm(const tqs_requant_t *layer, const int8_t *x, int8_t *y) {
    const int32_t multiplier = layer->multiplier;
    const int32_t shift = layer->shift;
    const int32_t x_zero_point = 2 * layer->x_zero_point;
    const int32_t offset = 2 * layer->y_zero_point + 1;
    const int8_t *end = x + layer->size;

    while (x != end) {
        tqs_put(&y, tqs_rescale(2 * tqs_take(&x) - x_zero_point, multiplier, shift, offset));
    }
}
