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

/* Four codes to pairs (x0, x2), (x1, x3) at to. Returns what is behind them. */
static inline uint32_t *widen_four(uint32_t four, uint32_t *to) {
    uint32_t odd;

    __asm__ volatile("sxtb16 %1, %0, ror #8\n\tsxtb16 %0, %0\n\tstrd %0, %1, [%2], #8"
                     : "+r"(four), "=&r"(odd), "+r"(to)
                     :
                     : "memory");
    return to;
}

/* x: [size] to pairs, filled up with zeros to a multiple of four. Returns the end of scratch. */
static const uint32_t *widen(const int8_t *x, uint32_t size, uint32_t *scratch) {
    uint32_t k;

    for (k = size >> 2; k > 0u; k--) {
        uint32_t four;

        memcpy(&four, x, 4);
        x += 4;
        scratch = widen_four(four, scratch);
    }
    return (size & 3u) != 0u ? widen_four(tqs_last_codes(x, size), scratch) : scratch;
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
    const uint32_t offset = (uint32_t)(2 * layer->zero_point + 1) & 0xFFFFu;
    uint32_t blocks = layer->outputs / 4u;
    int8_t part[4];
    const tqs_enter_t enter = {scratch, ((uint32_t)(end - scratch) >> 1) & 3u};
    tqs_leave_t leave = {0, y};

    for (;;) {
        int32_t a0;
        int32_t a1;
        int32_t b0;
        int32_t b1;
        const uint32_t *in;
        uint32_t p;
        uint32_t q;

        if (blocks != 0u) {
            leave.left_offset = ((blocks - 1u) << 16) | offset;
            __asm__ volatile("8: ldrd %[in], %[p], %[enter]\n\t"
                             "mov %[a0], #0\n\t"
                             "mov %[a1], #0\n\t"
                             "mov %[b0], #0\n\t"
                             "mov %[b1], #0\n\t" TQS_FOUR_STEPS(STEP) "sub %[a0], %[a0], %[b0]\n\t"
                                                                      "sub %[a1], %[a1], %[b1]\n\t" TQS_WRITE_ROWS(
                                                                          "b0", "a0", "b1", "a1", "7")
                             : [a0] "=&r"(a0), [a1] "=&r"(a1), [b0] "=&r"(b0), [b1] "=&r"(b1), [in] "=&r"(in),
                               [p] "=&r"(p), [q] "=&r"(q), [w] "+r"(w), [rows] "+r"(rows), [leave] "+m"(leave)
                             : [end] "r"(end), [enter] "m"(enter)
                             : "r4", "r5", "r6", "r8", "cc", "memory");
        }
        if (rest == 0u || leave.to == part + sizeof part) {
            break;
        }
        leave.to = part;
        blocks = 1;
    }
    if (rest != 0u) {
        memcpy(y + layer->outputs - rest, part, rest);
    }
    tqs_clamp(y, layer->outputs, layer->low, layer->high);
}
