/*
 * Dense layer, int8 weights, for Cortex-M0 and M0+: three instructions a product.
 *
 * ARMv6-M has eight registers that all instructions reach, and the others for additions only. One index serves the
 * inputs and four rows, and the sums live in the high registers; compilers do neither.
 *
 * weights: [R][K] bytes. scratch: none.
 */
#include <string.h>

#include "tqs_arm.h"
#include "tqs_kernels.h"

#define UNUSED __attribute__((unused)) /* to the compiler, which sees no registers */

#define ROW(base, sum)                                                                                                 \
    "ldrsb r0, [" base ", r6]\n\t"                                                                                     \
    "muls r0, r7, r0\n\t"                                                                                              \
    "add " sum ", r0\n\t"
/* One input, four rows. */
#define STEP                                                                                                           \
    "ldrsb r7, [r5, r6]\n\t" ROW("r1", "r8") ROW("r2", "r9") ROW("r3", "r10") ROW("r4", "r11") "adds r6, #1\n\t"

/* sums: [4] of the rows of `inputs` weights from w on. Called as any function: registers as AAPCS has them. */
__attribute__((naked, noinline)) static void dot(UNUSED const int8_t *w, UNUSED const int8_t *x, UNUSED uint32_t inputs,
                                                 UNUSED int32_t *sums) {
    __asm__(".syntax unified\n\t" /* what compilers assume of inline assembly on these cores is the old one */
            "push {r3-r7, lr}\n\t"
            "mov r4, r8\n\t"
            "mov r5, r9\n\t"
            "mov r6, r10\n\t"
            "mov r7, r11\n\t"
            "push {r4-r7}\n\t"
            /* Rows and inputs are addressed by their ends, with an index that counts up to zero. */
            "movs r7, #0\n\t"
            "mov r8, r7\n\t"
            "mov r9, r7\n\t"
            "mov r10, r7\n\t"
            "mov r11, r7\n\t"
            "adds r5, r1, r2\n\t"
            "adds r1, r0, r2\n\t"
            "rsbs r6, r2, #0\n\t"
            "mov r7, r2\n\t"
            "adds r2, r1, r7\n\t"
            "adds r3, r2, r7\n\t"
            "adds r4, r3, r7\n\t"
            "movs r0, #3\n\t"
            "ands r7, r0\n\t"
            "beq 2f\n\t"
            "subs r7, #2\n\t"
            "beq 4f\n\t"
            "bmi 5f\n\t" STEP "4:\n\t" STEP "5:\n\t" STEP "cmp r6, #0\n\t"
            "beq 3f\n"
            "2:\n\t" STEP STEP STEP STEP "bne 2b\n"
            "3:\n\t"
            "pop {r4-r7}\n\t"
            "pop {r3}\n\t"
            "mov r0, r8\n\t"
            "str r0, [r3]\n\t"
            "mov r0, r9\n\t"
            "str r0, [r3, #4]\n\t"
            "mov r0, r10\n\t"
            "str r0, [r3, #8]\n\t"
            "mov r0, r11\n\t"
            "str r0, [r3, #12]\n\t"
            "mov r8, r4\n\t"
            "mov r9, r5\n\t"
            "mov r10, r6\n\t"
            "mov r11, r7\n\t"
            "pop {r4-r7, pc}\n\t");
}

void tqs_fc_s8_v6m(const tqs_fc_t *layer, const int8_t *x, int8_t *y, uint32_t *scratch) {
    const int8_t *w = layer->weights;
    const tqs_rows_t *rows = layer->rows;
    const int32_t offset = 2 * layer->zero_point + 1;
    const uint32_t inputs = layer->inputs;
    int32_t left = layer->outputs;
    int8_t *out = y;

    (void)scratch;
    do {
        int32_t sums[4];

        dot(w, x, inputs, sums);
        w += 4u * inputs;
        tqs_write_rows(rows, sums[0] * 2, sums[1] * 2, sums[2] * 2, sums[3] * 2, offset, out, left);
        out += 4;
        rows++;
        left -= 4;
    } while (left > 0);
    tqs_clamp(y, layer->outputs, layer->low, layer->high);
}
