/*
 * Dense layer, int16 activations, int8 weights, for cores with the DSP extension: two products an instruction.
 *
 * The sums stay below 2^31, which the code generator has checked: tqs_fc_s16w8's 64 bits are not needed.
 *
 * weights: [R / 4][K / 4][4] words, K rounded up to a multiple of four: for each four inputs a word a row, its bytes
 * the weights of inputs 0, 2, 1 and 3.
 */
#include "tqs_fc_s16_dsp.h"
#include "tqs_kernels_s16.h"

#define ROW(sum, word)                                                                                                 \
    "sxtb16 %[t], " word "\n\t"                                                                                        \
    "smlad %[" sum "], %[t], %[p], %[" sum "]\n\t"                                                                     \
    "sxtb16 " word ", " word ", ror #8\n\t"                                                                            \
    "smlad %[" sum "], " word ", %[q], %[" sum "]\n\t"
/* Four inputs, four rows. */
#define STEP                                                                                                           \
    __asm__ volatile("ldr %[p], [%[in]], #4\n\t"                                                                       \
                     "ldr %[q], [%[in]], #4\n\t"                                                                       \
                     "ldmia %[w]!, {r4, r5, r6, r8}\n\t" ROW("s0", "r4") ROW("s1", "r5") ROW("s2", "r6")               \
                         ROW("s3", "r8")                                                                               \
                     : [s0] "+r"(s0), [s1] "+r"(s1), [s2] "+r"(s2), [s3] "+r"(s3), [in] "+r"(in), [w] "+r"(w),         \
                       [p] "=&r"(p), [q] "=&r"(q), [t] "=&r"(t)                                                        \
                     :                                                                                                 \
                     : "r4", "r5", "r6", "r8", "memory")

void tqs_fc_s16w8_dsp(const tqs_fc_s16_t *layer, const int16_t *x, int16_t *y) {
    const uint32_t *w = layer->weights;
    const tqs_rows_s16_t *rows = layer->rows;
    const uint32_t inputs = layer->inputs;
    const uint32_t outputs = layer->outputs;
    const int16_t *end = x + inputs / 4u * 4u;
    int16_t last[4];
    uint32_t row;

    tqs_last_inputs(x, inputs, last);
    for (row = 0; row < outputs; row += 4u, rows++) {
        const int16_t *in = x;
        int32_t s0 = 0;
        int32_t s1 = 0;
        int32_t s2 = 0;
        int32_t s3 = 0;
        int32_t sums[4];
        uint32_t p;
        uint32_t q;
        uint32_t t;

        if ((inputs & 4u) != 0u) {
            STEP;
        }
        while (in != end) {
            STEP;
            STEP;
        }
        if (inputs % 4u != 0u) {
            in = last;
            STEP;
        }
        sums[0] = s0;
        sums[1] = s1;
        sums[2] = s2;
        sums[3] = s3;
        tqs_write_rows_s16(layer, rows, sums, y + row, outputs - row);
    }
}
