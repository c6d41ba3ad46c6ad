/* y = a * b, int16. */
#include "tqs_kernels_s16.h"
#include "tqs_requantize.h"
#include "tqs_rescale_s16.h"

void tqs_mul_s16(const tqs_scale_s16_t *layer, const int16_t *a, const int16_t *b, int16_t *y) {
    uint32_t i;

    for (i = 0; i < layer->size; i++) {
        const int32_t product = (int32_t)a[i] * b[i];

        y[i] = tqs_saturate_s16(tqs_requantize(product, layer->multiplier, layer->shift));
    }
}
