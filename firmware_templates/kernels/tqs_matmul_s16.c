/* y = a b, where both are computed, int16. */
#include "tqs_attention.h"
#include "tqs_requantize.h" /* for its check of >> */
#include "tqs_rescale_s16.h"

void tqs_matmul_s16(const tqs_matmul_t *layer, const int16_t *a, const int16_t *b, int16_t *y) {
    const uint32_t inner = layer->inner;
    const uint32_t step = layer->inner_step;
    uint32_t row;

    for (row = layer->rows; row > 0u; row--) {
        const int16_t *start = b;
        uint32_t column;

        for (column = layer->columns; column > 0u; column--) {
            const int16_t *in = start;
            int64_t sum = 0;
            uint32_t k;

            for (k = 0; k < inner; k++) {
                sum += (int32_t)a[k] * *in;
                in += step;
            }
            *y++ = tqs_rescale_s16(sum, layer->multiplier, layer->shift, -32768, 32767);
            start += layer->column_step;
        }
        a += inner;
    }
}
