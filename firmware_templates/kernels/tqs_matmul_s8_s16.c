/* y = a b, where both are computed, of int8 codes to int16 ones. */
#include "tqs_attention.h"
#include "tqs_requantize.h" /* for its check of >> */
#include "tqs_rescale_s16.h"

void tqs_matmul_s8_s16(const tqs_matmul_t *layer, const int8_t *a, const int8_t *b, int16_t *y) {
    const uint32_t inner = layer->inner;
    const uint32_t step = layer->inner_step;
    const int32_t a_zero_point = layer->a_zero_point;
    const int32_t b_zero_point = layer->b_zero_point;
    uint32_t row;

    for (row = layer->rows; row > 0u; row--) {
        const int8_t *start = b;
        uint32_t column;

        for (column = layer->columns; column > 0u; column--) {
            const int8_t *in = start;
            int32_t sum = 0;
            uint32_t k;

            for (k = 0; k < inner; k++) {
                sum += (a[k] - a_zero_point) * (*in - b_zero_point);
                in += step;
            }
            *y++ = tqs_rescale_s16(sum, layer->multiplier, layer->shift, -32768, 32767);
            start += layer->column_step;
        }
        a += inner;
    }
}
