/*
 * Dense layer, int8 weights, for Cortex-M3: two products an instruction. See tqs_fc_s8_v7m.h.
 *
 * Lower sums stay within 24 bits: the code generator has checked that 128 times a row's weights are below 2^23.
 */
#include "tqs_fc_s8_v7m.h"

void tqs_fc_s8_v7m(const tqs_fc_t *layer, const int8_t *x, int8_t *y, uint32_t *scratch) {
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
        int32_t a0 = added;
        int32_t a1 = added >> 31;
        int32_t b0 = a0;
        int32_t b1 = a1;
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
        while (in != end) {
            TQS_STEP2_V7M;
            TQS_STEP2_V7M;
            TQS_STEP2_V7M;
            TQS_STEP2_V7M;
        }
        tqs_write_rows(rows, tqs_lower_sum(a0), tqs_upper_sum(a0, a1), tqs_lower_sum(b0), tqs_upper_sum(b0, b1), offset,
                       out, left);
        out += 4;
        rows++;
        left -= 4;
    } while (left > 0);
    tqs_clamp(y, layer->outputs, layer->low, layer->high);
}
