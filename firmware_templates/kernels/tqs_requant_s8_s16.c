/* y = x in another scale, int8 codes to int16 ones. */
#include "tqs_kernels.h"
#include "tqs_requantize.h"
#include "tqs_rescale_s16.h"

void tqs_requant_s8_s16(const tqs_requant_t *layer, const int8_t *x, int16_t *y) {
    const int32_t left = layer->shift > 0 ? layer->shift : 0;
    const int32_t right = left - layer->shift;
    uint32_t i;

    for (i = 0; i < layer->size; i++) {
        y[i] = tqs_saturate_s16(tqs_scaled(x[i] - layer->x_zero_point, layer->multiplier, left, right));
    }
}
