/* y = x in another scale and zero point. */
#include "tqs_kernels.h"
#include "tqs_requantize.h"

void tqs_requant_s8(const tqs_requant_t *layer, const int8_t *x, int8_t *y) {
    uint32_t i;

    for (i = 0; i < layer->size; i++) {
        const int32_t scaled = tqs_requantize(x[i] - layer->x_zero_point, layer->multiplier, layer->shift);

        y[i] = tqs_saturate(scaled, layer->y_zero_point, -128, 127);
    }
}
