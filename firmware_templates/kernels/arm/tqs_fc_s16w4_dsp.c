/*
 * Dense layer, int16 activations, int4 weights, for cores with the DSP extension: two products an instruction.
 *
 * A byte holds two rows of one input as the number 16 * w1 + w0. Its products sum to 16 * s1 + s0, and those of its low
 * nibble, shifted to the left by four bits, to 16 * s0. Both stay below 2^31, which the code generator has checked;
 * only the bias and the rescaling need 64 bits, as in tqs_fc_s16w4.
 *
 * weights: [R / 4][K / 4][2] words, K rounded up to a multiple of four: for each four inputs a word for rows 0 and 1
 * and one for rows 2 and 3, its bytes those of inputs 0, 2, 1 and 3; zeros behind the first K % 4. See
 * tqs_fc_s16_dsp.h.
 */
#include "tqs_fc_s16_dsp.h"

#define BYTES(sum, word)                                                                                               \
    "sxtb16 %[t], " word "\n\t"                                                                                        \
    "smlad " sum ", %[t], %[p], " sum "\n\t"                                                                           \
    "sxtb16 %[t], " word ", ror #8\n\t"                                                                                \
    "smlad " sum ", %[t], %[q], " sum "\n\t"
#define PAIR(low, both, word) BYTES(both, word) "and " word ", r11, " word ", lsl #4\n\t" BYTES(low, word)
/* Four inputs, four rows. */
#define STEP "ldrd r9, r10, [%[w]], #8\n\t" PAIR("r4", "r5", "r9") PAIR("r6", "r8", "r10")
#define BEGIN "mov r4, #0\n\tmov r5, #0\n\tmov r6, #0\n\tmov r8, #0\n\tmov r11, #0xF0F0F0F0\n\t"
#define SUMS                                                                                                           \
    "ldmia %[rows]!, {r9, r10, r11, r12}\n\t"                                                                          \
    "sub r5, r5, r4, asr #4\n\t"                                                                                       \
    "sub r8, r8, r6, asr #4\n\t"                                                                                       \
    "add r4, r9, r4, asr #4\n\t"                                                                                       \
    "add r5, r10, r5, asr #4\n\t"                                                                                      \
    "add r6, r11, r6, asr #4\n\t"                                                                                      \
    "add r8, r12, r8, asr #4\n\t"

void tqs_fc_s16w4_dsp(const tqs_fc_s16_t *layer, const int16_t *x, int16_t *y) {
    TQS_FC_S16_DSP(TQS_BLOCKS_S16(BEGIN, STEP, SUMS));
}
