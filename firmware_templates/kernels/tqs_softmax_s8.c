/* y = exp(x) over its sum, row by row. */
#include "tqs_softmax.h"

void tqs_softmax_s8(const tqs_softmax_t *layer, const int8_t *x, int8_t *y) {
    const uint32_t columns = layer->columns;
    const int32_t known = layer->known;
    const int32_t *table = layer->table; /* y may alias anything */
    uint32_t row;

    for (row = layer->rows; row > 0u; row--) {
        int32_t largest = x[0];
        uint32_t sum = 0;
        tqs_share_t share;
        uint32_t k;

        for (k = 1; k < columns; k++) {
            largest = x[k] > largest ? x[k] : largest;
        }
        for (k = 0; k < columns; k++) {
            const int32_t below = largest - x[k];

            if (below < known) {
                sum += ((uint32_t)table[below] + (1u << 11)) >> 12;
            }
        }
        share = tqs_share_of(sum);
        for (k = 0; k < columns; k++) {
            const int32_t below = largest - x[k];
            int32_t code = 0;

            if (below < known) {
                /* gemmlowp rounds the product at 31 bits, then this at shift; neither factor is negative. */
                const uint64_t product = (uint64_t)(uint32_t)share.scale * (uint32_t)table[below] + ((uint32_t)1 << 30);

                code = (int32_t)((((uint32_t)(product >> 32) >> (share.shift - 2)) + 1u) >> 1);
                code = code > 255 ? 255 : code;
            }
            y[k] = (int8_t)(code - 128);
        }
        x += columns;
        y += columns;
    }
}
