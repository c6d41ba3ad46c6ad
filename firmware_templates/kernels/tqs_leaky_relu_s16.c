/* y = x or alpha * x, int16. */
#include "tqs_kernels_s16.h"
#include "tqs_requantize.h"
#include "tqs_rescale_s16.h"

void tqs_leaky_relu_s16(const tqs_leaky_relu_s16_t *layer, const int16_t *x, int16_t *y) {
    uint32_t i;

    for (i = 0; i < layer->size; i++) {
        const int32_t scaled = x[i] >= 0 ? tqs_requantize(x[i], layer->positive_multiplier, layer->positive_shift)
                                         : tqs_requantize(x[i], layer->negative_multiplier, layer->negative_shift);

        y[i] = tqs_saturate_s16(scaled);
    }
}
