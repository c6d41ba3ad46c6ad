/*
 * Dense layer, int8 weights, for Cortex-M3, any number of inputs: the sums of a pair are split every 256, before the
 * lower one leaves 24 bits: 255 * 128 * 256 < 2^23. See tqs_fc_s8_v7m.h.
 */
#include "tqs_fc_s8_v7m.h"

#define RUN 256u

void tqs_fc_s8_v7m_pieces(const tqs_fc_t *layer, const int8_t *x, int8_t *y, uint32_t *scratch) {
    const uint32_t *w = layer->weights;
    const tqs_rows_t *rows = layer->rows;
    const int32_t offset = 2 * layer->zero_point + 1;
    const uint32_t inputs = layer->inputs;
    const int8_t *end = x + inputs;
    int32_t left = layer->outputs;
    const int32_t added = tqs_added_v7m(x, inputs);
    const uint32_t mask = 0xFF0000FFu;
    int8_t *out = y;
    const int8_t *in;

    (void)scratch;
    do {
        const int8_t *stop = x + (inputs - 1u) % RUN + 1u;
        int32_t sum0 = 2 * added;
        int32_t sum1 = 0;
        int32_t sum2 = 2 * added;
        int32_t sum3 = 0;
        int32_t a0 = 0;
        int32_t a1 = 0;
        int32_t b0 = 0;
        int32_t b1 = 0;
        uint32_t u;
        uint32_t v;
        uint32_t value;
        uint32_t pair;

        in = x;
        if ((inputs & 1u) != 0u) {
            TQS_STEP1_V7M;
        }
        if ((inputs & 2u) != 0u) {
            TQS_STEP2_V7M;
        }
        if ((inputs & 4u) != 0u) {
            TQS_STEP2_V7M;
            TQS_STEP2_V7M;
        }
        for (;;) {
            while (in != stop) {
                TQS_STEP2_V7M;
                TQS_STEP2_V7M;
                TQS_STEP2_V7M;
                TQS_STEP2_V7M;
            }
            sum0 += tqs_lower_sum(a0);
            sum1 += tqs_upper_sum(a0, a1);
            sum2 += tqs_lower_sum(b0);
            sum3 += tqs_upper_sum(b0, b1);
            if (in == end) {
                break;
            }
            stop += RUN;
            a0 = 0;
            a1 = 0;
            b0 = 0;
            b1 = 0;
        }
        tqs_write_rows(rows, sum0, sum1, sum2, sum3, offset, out, left);
        out += 4;
        rows++;
        left -= 4;
    } while (left > 0);
    tqs_clamp(y, layer->outputs, layer->low, layer->high);
}
