/* y = a function of x, int16: a straight piece for each cell of 2^bits codes. */
#include "tqs_kernels_s16.h"
#include "tqs_requantize.h"
#include "tqs_rescale_s16.h"

void tqs_curve_s16(const tqs_curve_s16_t *layer, const int16_t *x, int16_t *y) {
    const int32_t half = (int32_t)1 << 30; /* the multiplier of powers of two */
    const int32_t bits = layer->bits;
    const int32_t first = layer->first;
    uint32_t i;

    for (i = 0; i < layer->size; i++) {
        const int32_t value = first == 0 && x[i] < 0 ? 0 : x[i];
        const int32_t cell = tqs_requantize(value, half, 1 - bits);
        const int32_t rest = (value - cell * ((int32_t)1 << bits)) * ((int32_t)1 << (13 - bits));
        const int32_t slope = layer->slopes[cell - first];
        const int32_t rise = tqs_saturate_s16(tqs_requantize(slope * rest, layer->multiplier, layer->shift));
        const int32_t sum =
            layer->nodes[cell - first] * ((int32_t)1 << 14) + rise * ((int32_t)1 << (14 - layer->places));

        y[i] = tqs_saturate_s16(tqs_requantize(sum, half, -13));
    }
}
