/*
 * Dense layer, int16 activations, int8 weights, for cores with the DSP extension: two products an instruction.
 *
 * The sums stay below 2^31, which the code generator has checked: tqs_fc_s16w8's 64 bits are not needed.
 *
 * weights: [R / 4][K / 4][4] words, K rounded up to a multiple of four: for each four inputs a word a row, its bytes
 * the weights of inputs 0, 2, 1 and 3; zeros behind the first K % 4. See tqs_fc_s16_dsp.h.
 */
#include "tqs_fc_s16_dsp.h"

#define ROW(sum, word)                                                                                                 \
    "sxtb16 %[t], " word "\n\t"                                                                                        \
    "smlad " sum ", %[t], %[p], " sum "\n\t"                                                                           \
    "sxtb16 " word ", " word ", ror #8\n\t"                                                                            \
    "smlad " sum ", " word ", %[q], " sum "\n\t"
/* Four inputs, four rows. */
#define STEP "ldmia %[w]!, {r9, r10, r11, r12}\n\t" ROW("r4", "r9") ROW("r5", "r10") ROW("r6", "r11") ROW("r8", "r12")

void tqs_fc_s16w8_dsp(const tqs_fc_s16_t *layer, const int16_t *x, int16_t *y) {
    TQS_FC_S16_DSP(TQS_BLOCKS_S16("ldmia %[rows]!, {r4, r5, r6, r8}\n\t", STEP, ""));
}
