/* y = a * b, int16. */
#include "tqs_kernels_s16.h"
#include "tqs_requantize.h"
#include "tqs_rescale_s16.h"

void tqs_mul_s16(const tqs_scale_s16_t *layer, const int16_t *a, const int16_t *b, int16_t *y) {
    const int32_t left = layer->shift > 0 ? layer->shift : 0;
    const int32_t right = left - layer->shift;
    uint32_t i;

    for (i = 0; i < layer->size; i++) {
        const int32_t product = (int32_t)a[i] * b[i];

        y[i] = tqs_saturate_s16(tqs_scaled(product, layer->multiplier, left, right));
    }
}
