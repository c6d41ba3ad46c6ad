/* Dense layer, int8 weights. Four rows at a time, so that each x[k] is loaded once for four products. */
#include "tqs_kernels.h"
#include "tqs_requantize.h"

void tqs_fc_s8(const tqs_fc_t *layer, const int8_t *x, int8_t *y, uint32_t *scratch) {
    const TQS_FLASH int8_t *w = layer->weights; /* [R / 4][K][4] */
    const int8_t *end = x + layer->inputs;      /* x: [K] */
    const TQS_FLASH tqs_rows_t *rows = layer->rows;
    const uint32_t outputs = layer->outputs;
    uint32_t row;

    (void)scratch;
    for (row = 0; row < outputs; row += 4u, rows++) {
        const int8_t *in = x;
        int32_t sum[4];
        int32_t sum0 = rows->bias[0];
        int32_t sum1 = rows->bias[1];
        int32_t sum2 = rows->bias[2];
        int32_t sum3 = rows->bias[3];
        uint32_t i;

        do {
            const int32_t value = *in;

            sum0 += value * w[0];
            sum1 += value * w[1];
            sum2 += value * w[2];
            sum3 += value * w[3];
            w += 4;
            in++;
        } while (in != end);
        sum[0] = sum0;
        sum[1] = sum1;
        sum[2] = sum2;
        sum[3] = sum3;
        for (i = 0; i < 4u && row + i < outputs; i++) {
            const int32_t scaled = tqs_requantize(sum[i], rows->multiplier[i], rows->shift[i]);

            y[row + i] = tqs_saturate(scaled, layer->zero_point, layer->low, layer->high);
        }
    }
}
