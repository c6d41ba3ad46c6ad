/*
 * Dense layer, int4 weights, for cores with NEON (Cortex-A): as many instructions as for int8.
 *
 * A byte holds two rows of one input as the number 16 * w1 + w0. Its products sum to 16 * s1 + s0, and those of the
 * byte shifted to the left by four bits to 16 * s0: no nibble has to be masked.
 *
 * weights: [R / 4] blocks: of the half chunk [2][8], of a chunk [2][16], see tqs_neon_rows.h. scratch: none.
 */
#include "tqs_kernels.h"
#include "tqs_neon_rows.h"

/* Adds the products of a chunk to four lanes of each pair of rows; returns the weights behind it. */
static inline const int8_t *add_chunk(int32x4_t low[2], int32x4_t both[2], const int8_t *w, int8x16_t values) {
    const int8x16_t bytes0 = vld1q_s8(w);
    const int8x16_t bytes1 = vld1q_s8(w + 16);

    low[0] = tqs_neon_dot(low[0], vshlq_n_s8(bytes0, 4), values);
    both[0] = tqs_neon_dot(both[0], bytes0, values);
    low[1] = tqs_neon_dot(low[1], vshlq_n_s8(bytes1, 4), values);
    both[1] = tqs_neon_dot(both[1], bytes1, values);
    return w + 32;
}

void tqs_fc_s4_neon(const tqs_fc_t *layer, const int8_t *x, int8_t *y, uint32_t *scratch) {
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
        int32x4_t lows[2] = {zero, zero};  /* 16 * s0 of two pairs of rows */
        int32x4_t boths[2] = {zero, zero}; /* 16 * s1 + s0 */
        int32x4_t low = zero;
        int32x4_t both = zero;

        if (in.half != 0u) {
            const int8x16_t bytes = vld1q_s8(w);

            low = tqs_neon_half(vshlq_n_s8(bytes, 4), in.rest);
            both = tqs_neon_half(bytes, in.rest);
            w += 16;
        }
        for (; from != end; from += 16) {
            w = add_chunk(lows, boths, w, vld1q_s8(from));
        }
        if (in.more != 0u) {
            w = add_chunk(lows, boths, w, in.rest);
        }
        low = vaddq_s32(low, tqs_neon_pairs(lows[0], lows[1])); /* two lanes of row 0, two of row 2 */
        both = vaddq_s32(both, tqs_neon_pairs(boths[0], boths[1]));
        low = vshrq_n_s32(tqs_neon_pairs(low, low), 4); /* s0, s2, s0, s2 */
        both = vshrq_n_s32(vsubq_s32(tqs_neon_pairs(both, both), low), 4);
        low = vzipq_s32(low, both).val[0]; /* s0, s1, s2, s3 */
        tqs_neon_write(layer, rows, vaddq_s32(vld1q_s32(rows->bias), low), y + row, outputs - row);
    }
}
