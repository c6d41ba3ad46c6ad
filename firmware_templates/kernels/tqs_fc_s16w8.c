/* Dense layer, int16 activations, int8 weights. Four rows at a time, so that each x[k] is loaded once for four. */
#include "tqs_kernels_s16.h"
#include "tqs_rescale_s16.h"

void tqs_fc_s16w8(const tqs_fc_s16_t *layer, const int16_t *x, int16_t *y) {
    const int8_t *w = layer->weights;        /* [R / 4][K][4] */
    const int16_t *last = x + layer->inputs; /* x: [K] */
    const tqs_rows_s16_t *rows = layer->rows;
    const uint32_t outputs = layer->outputs;
    uint32_t row;

    for (row = 0; row < outputs; row += 4u, rows++) {
        const int16_t *in = x;
        int64_t sum[4];
        uint32_t i;

        for (i = 0; i < 4u; i++) {
            sum[i] = rows->bias[i];
        }
        do {
            const uint32_t left = (uint32_t)(last - in);
            const int16_t *end = in + (left < TQS_BLOCK_S16 ? left : TQS_BLOCK_S16);
            int32_t sum0 = 0;
            int32_t sum1 = 0;
            int32_t sum2 = 0;
            int32_t sum3 = 0;

            do {
                const int32_t value = *in;

                sum0 += value * w[0];
                sum1 += value * w[1];
                sum2 += value * w[2];
                sum3 += value * w[3];
                w += 4;
                in++;
            } while (in != end);
            sum[0] += sum0;
            sum[1] += sum1;
            sum[2] += sum2;
            sum[3] += sum3;
        } while (in != last);
        for (i = 0; i < 4u && row + i < outputs; i++) {
            y[row + i] = tqs_rescale_s16(sum[i], rows->multiplier[i], rows->shift[i], layer->low, layer->high);
        }
    }
}
