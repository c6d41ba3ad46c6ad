/* y = x with rows and columns exchanged, int16. */
#include "tqs_transpose.h"

void tqs_transpose_s16(const tqs_transpose_t *layer, const int16_t *x, int16_t *y) {
    const uint32_t rows = layer->rows;
    const uint32_t columns = layer->columns;
    uint32_t column;

    for (column = 0; column < columns; column++) {
        const int16_t *in = x + column;
        uint32_t row;

        for (row = 0; row < rows; row++) {
            *y++ = *in;
            in += columns;
        }
    }
}
