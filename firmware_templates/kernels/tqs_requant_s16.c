/* y = x in another scale, int16. */
#include "tqs_kernels_s16.h"
#include "tqs_requantize.h"
#include "tqs_rescale_s16.h"

void tqs_requant_s16(const tqs_scale_s16_t *layer, const int16_t *x, int16_t *y) {
    uint32_t i;

    for (i = 0; i < layer->size; i++) {
        y[i] = tqs_saturate_s16(tqs_requantize(x[i], layer->multiplier, layer->shift));
    }
}
