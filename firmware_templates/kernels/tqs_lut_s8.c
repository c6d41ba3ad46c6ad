/* y = table[x]. Four at a time: the rest of the loop costs as much as one value. */
#include "tqs_kernels.h"

void tqs_lut_s8(const tqs_lut_t *layer, const int8_t *x, int8_t *y) {
    const TQS_FLASH int8_t *table = layer->table + 128;
    const int8_t *end = x + layer->size;
    uint32_t rest;

    for (rest = layer->size & 3u; rest > 0u; rest--) {
        *y++ = table[*x++];
    }
    while (x != end) {
        y[0] = table[x[0]];
        y[1] = table[x[1]];
        y[2] = table[x[2]];
        y[3] = table[x[3]];
        x += 4;
        y += 4;
    }
}
