/* y = table[x]. */
#include "tqs_kernels.h"

void tqs_lut_s8(const tqs_lut_t *layer, const int8_t *x, int8_t *y) {
    uint32_t i;

    for (i = 0; i < layer->size; i++) {
        y[i] = layer->table[x[i] + 128];
    }
}
