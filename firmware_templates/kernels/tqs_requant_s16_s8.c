/* y = x in another scale, int16 codes to int8 ones. */
#include "tqs_kernels.h"
#include "tqs_requantize.h"

void tqs_requant_s16_s8(const tqs_requant_t *layer, const int16_t *x, int8_t *y) {
    const int32_t multiplier = layer->multiplier;
    const int32_t left = layer->shift > 0 ? layer->shift : 0;
    const int32_t right = left - layer->shift;
    const int32_t zero_point = layer->y_zero_point;
    const int16_t *end = x + layer->size;

    while (x < end) {
        *y++ = tqs_saturate(tqs_scaled(*x++, multiplier, left, right), zero_point, -128, 127);
    }
}
