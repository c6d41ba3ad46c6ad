/* y = x with rows and columns exchanged. */
#include "tqs_transpose.h"

void tqs_transpose_s8(const tqs_transpose_t *layer, const int8_t *x, int8_t *y) {
    const uint32_t rows = layer->rows;
    const uint32_t columns = layer->columns;
    uint32_t column;

    for (column = 0; column < columns; column++) {
        const int8_t *in = x + column;
        uint32_t row;

        for (row = 0; row < rows; row++) {
            *y++ = *in;
            in += columns;
        }
    }
}
