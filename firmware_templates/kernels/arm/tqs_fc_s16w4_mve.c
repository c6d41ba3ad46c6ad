/*
 * Dense layer, int16 activations, int4 weights, for cores with Helium (Cortex-M55): eight products an instruction.
 *
 * A byte holds two rows of one input as the number 16 * w1 + w0. Its products sum to 16 * s1 + s0, those of its low
 * nibble to s0; both stay below 2^31, which the code generator has checked.
 *
 * weights: [R / 4][K / 8][2][8] bytes, K rounded up to a multiple of eight: rows 0 and 1, then 2 and 3. See
 * tqs_fc_s16_mve.h.
 */
#include "tqs_fc_s16_mve.h"

#define PAIR(low, both, v)                                                                                             \
    "vldrb.s16 %q[" v "], [%[w]], #8\n\t"                                                                              \
    "vmladava.s16 %[" both "], %q[x], %q[" v "]\n\t"                                                                   \
    "vshl.i16 %q[" v "], %q[" v "], #12\n\t"                                                                           \
    "vshr.s16 %q[" v "], %q[" v "], #12\n\t"                                                                           \
    "vmladava.s16 %[" low "], %q[x], %q[" v "]\n\t"

void tqs_fc_s16w4_mve(const tqs_fc_s16_t *layer, const int16_t *x, int16_t *y) {
    const tqs_fc_s16_t held = *layer; /* y may alias it */
    const int8_t *w = held.weights;
    const tqs_rows_s16_t *rows = held.rows;
    const uint32_t inputs = held.inputs;
    const uint32_t outputs = held.outputs;
    uint32_t row;

    for (row = 0; row < outputs; row += 4u, rows++) {
        const int16_t *in = x;
        register int32_t a0 __asm__("r0") = 0; /* VMLADAVA wants an even one */
        register int32_t a1 __asm__("r2") = 0;
        register int32_t a2 __asm__("r4") = 0;
        register int32_t a3 __asm__("r6") = 0;
        int16x8_t values;
        int16x8_t t;
        int16x8_t u;
        int32x4_t sums;

        TQS_MVE_SUMS(PAIR("a0", "a1", "t") PAIR("a2", "a3", "u"));
        sums = vaddq_s32(tqs_mve_vector(a0, (a1 - a0) >> 4, a2, (a3 - a2) >> 4), vldrwq_s32(rows->bias));
        tqs_mve_write_s16(&held, rows, sums, y + row, outputs - row);
    }
}
