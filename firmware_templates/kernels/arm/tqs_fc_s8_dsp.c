/*
 * Dense layer, int8 weights, for cores with the DSP extension (Cortex-M4, M7, M33).
 *
 * A halfword holds 256 * w[r + 1][k] + w[r][k], a word two k. One SMLAD with two inputs sums 256 * s1 + s0, another
 * with the sign-extended low bytes s0 alone: nine instructions give eight products. Exact for up to 512 inputs and |w|
 * <= 127: 127 * 257 * 128 * 512 < 2^31.
 *
 * weights: [R / 4][K / 4][2][2] words, K rounded up to a multiple of four: of each four inputs the even, then the odd
 * pair, each with rows 0 and 1, then rows 2 and 3. scratch: K halfwords, the inputs widened.
 */
#include <string.h>

#include "tqs_arm.h"
#include "tqs_kernels.h"

/* x: [size] to pairs (x0, x2), (x1, x3), filled up with zeros to a multiple of four. Returns the end of scratch. */
static const uint32_t *widen(const int8_t *x, uint32_t size, uint32_t *scratch) {
    uint32_t k;

    for (k = size >> 2; k > 0u; k--) {
        uint32_t four;
        uint32_t even;
        uint32_t odd;

        memcpy(&four, x, 4);
        x += 4;
        __asm__("sxtb16 %0, %2\n\tsxtb16 %1, %2, ror #8" : "=&r"(even), "=r"(odd) : "r"(four));
        scratch[0] = even;
        scratch[1] = odd;
        scratch += 2;
    }
    if ((size & 3u) != 0u) {
        const int32_t rest = (int32_t)(size & 3u);

        scratch[0] = (uint16_t)x[0] | (rest > 2 ? (uint32_t)(uint16_t)x[2] << 16 : 0u);
        scratch[1] = rest > 1 ? (uint16_t)x[1] : 0u;
        scratch += 2;
    }
    return scratch;
}

/* Four inputs, four rows. */
#define STEP                                                                                                           \
    "ldrd %[p], %[q], [%[in]], #8\n\t"                                                                                 \
    "ldmia %[w]!, {r4, r5, r6, r8}\n\t"                                                                                \
    "smlad %[a0], r4, %[p], %[a0]\n\t"                                                                                 \
    "sxtb16 r4, r4\n\t"                                                                                                \
    "smlad %[a1], r5, %[p], %[a1]\n\t"                                                                                 \
    "sxtb16 r5, r5\n\t"                                                                                                \
    "smlad %[b0], r4, %[p], %[b0]\n\t"                                                                                 \
    "smlad %[b1], r5, %[p], %[b1]\n\t"                                                                                 \
    "smlad %[a0], r6, %[q], %[a0]\n\t"                                                                                 \
    "sxtb16 r6, r6\n\t"                                                                                                \
    "smlad %[a1], r8, %[q], %[a1]\n\t"                                                                                 \
    "sxtb16 r8, r8\n\t"                                                                                                \
    "smlad %[b0], r6, %[q], %[b0]\n\t"                                                                                 \
    "smlad %[b1], r8, %[q], %[b1]\n\t"

void tqs_fc_s8_dsp(const tqs_fc_t *layer, const int8_t *x, int8_t *y, uint32_t *scratch) {
    const uint32_t *w = layer->weights;
    const tqs_rows_t *rows = layer->rows;
    const uint32_t *end = widen(x, layer->inputs, scratch);
    const uint32_t rest = layer->outputs & 3u;
    int8_t part[4];
    const tqs_enter_t enter = {scratch, ((uint32_t)(end - scratch) >> 1) & 3u};
    tqs_leave_t leave = {2 * layer->zero_point + 1, y};
    int8_t *to_end = y + layer->outputs - rest;

    for (;;) {
        int32_t a0;
        int32_t a1;
        int32_t b0;
        int32_t b1;
        const uint32_t *in;
        uint32_t p;
        uint32_t q;

        if (leave.to != to_end) {
            __asm__ volatile("8: ldrd %[in], %[p], %[enter]\n\t"
                             "mov %[a0], #0\n\t"
                             "mov %[a1], #0\n\t"
                             "mov %[b0], #0\n\t"
                             "mov %[b1], #0\n\t" TQS_ENTER TQS_STEPS(STEP) "sub %[a0], %[a0], %[b0]\n\t"
                                                                           "sub %[a1], %[a1], %[b1]\n\t" TQS_WRITE_ROWS(
                                                                               "b0", "a0", "b1", "a1", "7")
                             : [a0] "=&r"(a0), [a1] "=&r"(a1), [b0] "=&r"(b0), [b1] "=&r"(b1), [in] "=&r"(in),
                               [p] "=&r"(p), [q] "=&r"(q), [w] "+r"(w), [rows] "+r"(rows), [leave] "+m"(leave)
                             : [end] "r"(end), [enter] "m"(enter), [to_end] "m"(to_end)
                             : "r4", "r5", "r6", "r8", "cc", "memory");
        }
        if (rest == 0u || leave.to == part + 4) {
            break;
        }
        leave.to = part;
        to_end = part + 4;
    }
    if (rest != 0u) {
        memcpy(y + layer->outputs - rest, part, rest);
    }
    tqs_clamp(y, layer->outputs, layer->low, layer->high);
}
