/*
 * Dense layer, int16 activations, int4 weights, for cores with the DSP extension: two products an instruction.
 *
 * A byte holds two rows of one input as the number 16 * w1 + w0. Its products sum to 16 * s1 + s0, and those of its low
 * nibble, shifted to the left by four bits, to 16 * s0. Both stay below 2^31, which the code generator has checked;
 * only the bias and the rescaling need 64 bits, as in tqs_fc_s16w4.
 *
 * weights: [R / 4][K / 4][2] words, K rounded up to a multiple of four: for each four inputs a word for rows 0 and 1
 * and one for rows 2 and 3, its bytes those of inputs 0, 2, 1 and 3.
 */
#include "tqs_fc_s16_dsp.h"
#include "tqs_kernels_s16.h"

#define BYTES(sum, word)                                                                                               \
    "sxtb16 %[t], %[" word "]\n\t"                                                                                     \
    "smlad %[" sum "], %[t], %[p], %[" sum "]\n\t"                                                                     \
    "sxtb16 %[t], %[" word "], ror #8\n\t"                                                                             \
    "smlad %[" sum "], %[t], %[q], %[" sum "]\n\t"
#define PAIR(low, both, word) BYTES(both, word) "and %[" word "], %[mask], %[" word "], lsl #4\n\t" BYTES(low, word)
/* Four inputs, four rows. */
#define STEP                                                                                                           \
    __asm__ volatile("ldr %[p], [%[in]], #4\n\t"                                                                       \
                     "ldr %[q], [%[in]], #4\n\t"                                                                       \
                     "ldrd %[u], %[v], [%[w]], #8\n\t" PAIR("low0", "both0", "u") PAIR("low1", "both1", "v")           \
                     : [low0] "+r"(low0), [both0] "+r"(both0), [low1] "+r"(low1), [both1] "+r"(both1), [in] "+r"(in),  \
                       [w] "+r"(w), [p] "=&r"(p), [q] "=&r"(q), [t] "=&r"(t), [u] "=&r"(u), [v] "=&r"(v)               \
                     : [mask] "r"(mask)                                                                                \
                     : "memory")

void tqs_fc_s16w4_dsp(const tqs_fc_s16_t *layer, const int16_t *x, int16_t *y) {
    const uint32_t *w = layer->weights;
    const tqs_rows_s16_t *rows = layer->rows;
    const uint32_t inputs = layer->inputs;
    const uint32_t outputs = layer->outputs;
    const uint32_t mask = 0xF0F0F0F0u;
    const int16_t *end = x + inputs / 4u * 4u;
    int16_t last[4];
    uint32_t row;

    tqs_last_inputs(x, inputs, last);
    for (row = 0; row < outputs; row += 4u, rows++) {
        const int16_t *in = x;
        int32_t low0 = 0;
        int32_t both0 = 0;
        int32_t low1 = 0;
        int32_t both1 = 0;
        int32_t sums[4];
        uint32_t p;
        uint32_t q;
        uint32_t t;
        uint32_t u;
        uint32_t v;

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
        sums[0] = low0 >> 4;
        sums[1] = (both0 - sums[0]) >> 4;
        sums[2] = low1 >> 4;
        sums[3] = (both1 - sums[2]) >> 4;
        tqs_write_rows_s16(layer, rows, sums, y + row, outputs - row);
    }
}
