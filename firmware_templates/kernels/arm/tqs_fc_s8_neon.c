/*
 * Dense layer, int8 weights, for cores with NEON (Cortex-A).
 *
 * weights: [R / 4] blocks: of the half chunk [4][8], of a chunk [4][16], see tqs_neon_rows.h. scratch: none.
 */
#include "tqs_kernels.h"
#include "tqs_neon_rows.h"

/* Adds the products of a chunk to four lanes of each row; returns the weights behind it. */
static inline const int8_t *add_chunk(int32x4_t sums[4], const int8_t *w, int8x16_t values) {
    sums[0] = tqs_neon_dot(sums[0], vld1q_s8(w), values);
    sums[1] = tqs_neon_dot(sums[1], vld1q_s8(w + 16), values);
    sums[2] = tqs_neon_dot(sums[2], vld1q_s8(w + 32), values);
    sums[3] = tqs_neon_dot(sums[3], vld1q_s8(w + 48), values);
    return w + 64;
}

void tqs_fc_s8_neon(const tqs_fc_t *layer, const int8_t *x, int8_t *y, uint32_t *scratch) {
    const tqs_neon_inputs_t in = tqs_neon_inputs(x, layer->inputs);
    const int8_t *w = layer->weights;
    const tqs_rows_t *rows = layer->rows;
    const uint32_t outputs = layer->outputs;
    uint32_t row;

    (void)scratch;
    for (row = 0; row < outputs; row += 4u, rows++) {
        const int8_t *from = x;
        const int8_t *end = x + 16u * in.whole;
        const int32x4_t zero = vdupq_n_s32(0);
        int32x4_t sums[4] = {zero, zero, zero, zero};
        int32x4_t sums01 = zero;
        int32x4_t sums23 = zero;

        if (in.half != 0u) {
            sums01 = tqs_neon_half(vld1q_s8(w), in.rest);
            sums23 = tqs_neon_half(vld1q_s8(w + 16), in.rest);
            w += 32;
        }
        for (; from != end; from += 16) {
            w = add_chunk(sums, w, vld1q_s8(from));
        }
        if (in.more != 0u) {
            w = add_chunk(sums, w, in.rest);
        }
        sums01 = vaddq_s32(sums01, tqs_neon_pairs(sums[0], sums[1]));
        sums23 = vaddq_s32(sums23, tqs_neon_pairs(sums[2], sums[3]));
        sums01 = vaddq_s32(vld1q_s32(rows->bias), tqs_neon_pairs(sums01, sums23));
        tqs_neon_write(layer, rows, sums01, y + row, outputs - row);
    }
}
