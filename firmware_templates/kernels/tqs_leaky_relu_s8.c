/* y = x or alpha * x. */
#include "tqs_kernels.h"
#include "tqs_requantize.h"

void tqs_leaky_relu_s8(const tqs_leaky_relu_t *layer, const int8_t *x, int8_t *y) {
    uint32_t i;

    for (i = 0; i < layer->size; i++) {
        const int32_t value = x[i] - layer->x_zero_point;
        const int32_t scaled = value >= 0 ? tqs_requantize(value, layer->positive_multiplier, layer->positive_shift)
                                          : tqs_requantize(value, layer->negative_multiplier, layer->negative_shift);

        y[i] = tqs_saturate(scaled, layer->y_zero_point, -128, 127);
    }
}
