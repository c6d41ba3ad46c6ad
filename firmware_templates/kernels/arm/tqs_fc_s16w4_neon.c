/*
 * Dense layer, int16 activations, int4 weights, for cores with NEON (Cortex-A).
 *
 * A byte holds two rows of one input as the number 16 * w1 + w0. Its products sum to 16 * s1 + s0, those of its low
 * nibble to s0; both stay below 2^31, which the code generator has checked.
 *
 * weights: [R / 4][K / 8][2][8] bytes, K rounded up to a multiple of eight: rows 0 and 1, then 2 and 3. See
 * tqs_fc_s16_neon.h.
 */
#include "tqs_fc_s16_neon.h"

/* Adds the products of eight inputs to four lanes of each sum; returns the weights behind. */
static inline const int8_t *add_eight(int32x4_t lanes[4], const int8_t *w, int16x8_t values) {
    const int16x8_t bytes0 = vmovl_s8(vld1_s8(w));
    const int16x8_t bytes1 = vmovl_s8(vld1_s8(w + 8));

    lanes[0] = tqs_neon_dot_s16(lanes[0], vshrq_n_s16(vshlq_n_s16(bytes0, 12), 12), values);
    lanes[1] = tqs_neon_dot_s16(lanes[1], bytes0, values);
    lanes[2] = tqs_neon_dot_s16(lanes[2], vshrq_n_s16(vshlq_n_s16(bytes1, 12), 12), values);
    lanes[3] = tqs_neon_dot_s16(lanes[3], bytes1, values);
    return w + 16;
}

void tqs_fc_s16w4_neon(const tqs_fc_s16_t *layer, const int16_t *x, int16_t *y) {
    const tqs_fc_s16_t held = *layer; /* y may alias it */
    const uint32_t rest = held.inputs % 8u;
    const int16_t *end = x + (held.inputs - rest);
    const int16x8_t last = tqs_neon_last(end, rest);
    const int8_t *w = held.weights;
    const tqs_rows_s16_t *rows = held.rows;
    uint32_t row;

    for (row = 0; row < held.outputs; row += 4u, rows++) {
        const int32x4_t zero = vdupq_n_s32(0);
        int32x4_t lanes[4] = {zero, zero, zero, zero}; /* s0, 16 s1 + s0, s2, 16 s3 + s2 */
        const int16_t *in;
        int32x4_t sums;

        for (in = x; in != end; in += 8) {
            w = add_eight(lanes, w, vld1q_s16(in));
        }
        if (rest > 0u) {
            w = add_eight(lanes, w, last);
        }
        sums = tqs_neon_rows(lanes);
        /* (s1, s3) from the odd lanes less the even ones. */
        sums = vtrnq_s32(sums, vshrq_n_s32(vsubq_s32(vrev64q_s32(sums), sums), 4)).val[0];
        tqs_neon_write_s16(&held, rows, sums, y + row, held.outputs - row);
    }
}
