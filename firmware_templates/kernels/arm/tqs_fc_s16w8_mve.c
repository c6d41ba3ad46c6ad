/*
 * Dense layer, int16 activations, int8 weights, for cores with Helium (Cortex-M55): eight products an instruction.
 *
 * weights: [R / 4][K / 8][4][8] bytes, K rounded up to a multiple of eight. See tqs_fc_s16_mve.h.
 */
#include "tqs_fc_s16_mve.h"

#define ROW(sum, v) "vldrb.s16 %q[" v "], [%[w]], #8\n\tvmladava.s16 %[" sum "], %q[x], %q[" v "]\n\t"

void tqs_fc_s16w8_mve(const tqs_fc_s16_t *layer, const int16_t *x, int16_t *y) {
    const tqs_fc_s16_t held = *layer; /* y may alias it */
    const int8_t *w = held.weights;
    const tqs_rows_s16_t *rows = held.rows;
    const uint32_t inputs = held.inputs;
    const uint32_t outputs = held.outputs;
    uint32_t row;

    for (row = 0; row < outputs; row += 4u, rows++) {
        const int16_t *in = x;
        register int32_t a0 __asm__("r0") = rows->bias[0]; /* VMLADAVA wants an even one */
        register int32_t a1 __asm__("r2") = rows->bias[1];
        register int32_t a2 __asm__("r4") = rows->bias[2];
        register int32_t a3 __asm__("r6") = rows->bias[3];
        int16x8_t values;
        int16x8_t t;
        int16x8_t u;

        TQS_MVE_SUMS(ROW("a0", "t") ROW("a1", "u") ROW("a2", "t") ROW("a3", "u"));
        tqs_mve_write_s16(&held, rows, tqs_mve_vector(a0, a1, a2, a3), y + row, outputs - row);
    }
}
