/*
 * Dense layer, int16 activations, int8 weights, for cores with NEON (Cortex-A).
 *
 * weights: [R / 4][K / 8][4][8] bytes, K rounded up to a multiple of eight. See tqs_fc_s16_neon.h.
 */
#include "tqs_fc_s16_neon.h"

/* Adds the products of eight inputs to four lanes of each row; returns the weights behind. */
static inline const int8_t *add_eight(int32x4_t lanes[4], const int8_t *w, int16x8_t values) {
    lanes[0] = tqs_neon_dot_s16(lanes[0], vmovl_s8(vld1_s8(w)), values);
    lanes[1] = tqs_neon_dot_s16(lanes[1], vmovl_s8(vld1_s8(w + 8)), values);
    lanes[2] = tqs_neon_dot_s16(lanes[2], vmovl_s8(vld1_s8(w + 16)), values);
    lanes[3] = tqs_neon_dot_s16(lanes[3], vmovl_s8(vld1_s8(w + 24)), values);
    return w + 32;
}

void tqs_fc_s16w8_neon(const tqs_fc_s16_t *layer, const int16_t *x, int16_t *y) {
    const tqs_fc_s16_t held = *layer; /* y may alias it */
    const uint32_t rest = held.inputs % 8u;
    const int16_t *end = x + (held.inputs - rest);
    const int16x8_t last = tqs_neon_last(end, rest);
    const int8_t *w = held.weights;
    const tqs_rows_s16_t *rows = held.rows;
    uint32_t row;

    for (row = 0; row < held.outputs; row += 4u, rows++) {
        const int32x4_t zero = vdupq_n_s32(0);
        int32x4_t lanes[4] = {zero, zero, zero, zero};
        const int16_t *in;

        for (in = x; in != end; in += 8) {
            w = add_eight(lanes, w, vld1q_s16(in));
        }
        if (rest > 0u) {
            w = add_eight(lanes, w, last);
        }
        tqs_neon_write_s16(&held, rows, tqs_neon_rows(lanes), y + row, held.outputs - row);
    }
}
