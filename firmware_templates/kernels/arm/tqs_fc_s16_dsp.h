/*
 * What the dense kernels for int16 activations share on cores with the DSP extension (Cortex-M4, M7, M33): the loop
 * over blocks of four rows is one piece of assembly, as that of tqs_fc_s8_dsp.
 *
 * Inputs are taken by fours; the first K % 4, or 4, are copied, filled up with zeros, and the weights have zeros there.
 * The code generator has checked that each sum with its bias is below 2^31, and that shifts are at least 17 or the
 * multiplier 0; layers hold shift - 17. (p + 2^(s - 1)) >> s is ((p >> 16 >> (s - 17)) + 1) >> 1.
 */
#ifndef TQS_FC_S16_DSP_H
#define TQS_FC_S16_DSP_H

#include <string.h>

#include "tqs_arm.h"
#include "tqs_kernels_s16.h"

typedef struct tqs_enter_s16 {
    uint32_t first[2]; /* inputs */
    const int16_t *in; /* the inputs behind them */
    uint32_t steps;    /* modulo those of the loop */
    const int16_t *end;
} tqs_enter_s16_t;

typedef struct tqs_leave_s16 {
    uint32_t left; /* blocks after this one */
    int16_t *to;   /* the next output */
} tqs_leave_s16_t;

static inline tqs_enter_s16_t tqs_enter_s16(const int16_t *x, uint32_t inputs) {
    const uint32_t copied = (inputs - 1u) % 4u + 1u;
    tqs_enter_s16_t enter = {{0, 0}, x + copied, (inputs + 3u) / 4u % 4u, x + inputs};
    const int16_t *from = x;
    int16_t *to = (int16_t *)enter.first;
    uint32_t left = copied;

    do {
        *to++ = *from++;
    } while (--left > 0u);
    return enter;
}

/* A loop of four steps, entered behind the loads of the one that leaves a multiple of four. */
#define TQS_NEXT_S16 "ldr %[p], [%[in]], #4\n\tldr %[q], [%[in]], #4\n\t"
#define TQS_STEPS_S16(step)                                                                                            \
    "ldrd %[p], %[q], %[first]\n\t"                                                                                    \
    "tbb [pc, %[t]]\n"                                                                                                 \
    "90: .byte (94f - 90b) / 2, (91f - 90b) / 2, (92f - 90b) / 2, (93f - 90b) / 2\n"                                   \
    "95:\n\t" TQS_NEXT_S16 "94:\n\t" step TQS_NEXT_S16 "93:\n\t" step TQS_NEXT_S16 "92:\n\t" step TQS_NEXT_S16         \
    "91:\n\t" step "ldr %[t], %[end]\n\tcmp %[in], %[t]\n\tbne 95b\n\t"

/* Four outputs from their sums in r4, r5, r6 and r8. Then the next block, from label 8 on. */
#define TQS_WRITE_S16                                                                                                  \
    "ldmia %[rows]!, {r9, r10, r11}\n\t"                                                                               \
    "smulwb r4, r4, r9\n\t"                                                                                            \
    "smulwt r5, r5, r9\n\t"                                                                                            \
    "smulwb r6, r6, r10\n\t"                                                                                           \
    "smulwt r8, r8, r10\n\t"                                                                                           \
    "ldrd %[t], %[in], %[leave]\n\t"                                                                                   \
    "asr r4, r4, r11\n\tlsr r11, #8\n\tadd r4, r4, #1\n\tssat r4, #16, r4, asr #1\n\t"                                 \
    "asr r5, r5, r11\n\tlsr r11, #8\n\tadd r5, r5, #1\n\tssat r5, #16, r5, asr #1\n\t"                                 \
    "asr r6, r6, r11\n\tlsr r11, #8\n\tadd r6, r6, #1\n\tssat r6, #16, r6, asr #1\n\t"                                 \
    "asr r8, r8, r11\n\tadd r8, r8, #1\n\tssat r8, #16, r8, asr #1\n\t"                                                \
    "pkhbt r4, r4, r5, lsl #16\n\t"                                                                                    \
    "pkhbt r6, r6, r8, lsl #16\n\t"                                                                                    \
    "str r4, [%[in]], #4\n\t"                                                                                          \
    "str r6, [%[in]], #4\n\t"                                                                                          \
    "subs %[t], #1\n\t"                                                                                                \
    "strd %[t], %[in], %[leave]\n\t"                                                                                   \
    "bcs 8b\n\t"

#define TQS_BLOCKS_S16(begin, step, sums)                                                                              \
    __asm__ volatile("8: ldrd %[in], %[t], %[after]\n\t" begin TQS_STEPS_S16(step) sums TQS_WRITE_S16                  \
                     : [in] "=&r"(in), [p] "=&r"(p), [q] "=&r"(q), [t] "=&r"(t), [w] "+r"(w), [rows] "+r"(rows),       \
                       [leave] "+m"(leave)                                                                             \
                     : [first] "m"(enter.first), [after] "m"(enter.in), [end] "m"(enter.end)                           \
                     : "r4", "r5", "r6", "r8", "r9", "r10", "r11", "r12", "cc", "memory")

/* The body of a kernel (layer, x, y) whose blocks are TQS_BLOCKS_S16. */
#define TQS_FC_S16_DSP(blocks_of_four)                                                                                 \
    const uint32_t *w = layer->weights;                                                                                \
    const tqs_rows_s16_t *rows = layer->rows;                                                                          \
    const tqs_enter_s16_t enter = tqs_enter_s16(x, layer->inputs);                                                     \
    const uint32_t rest = layer->outputs & 3u;                                                                         \
    uint32_t blocks = layer->outputs / 4u;                                                                             \
    int16_t part[4];                                                                                                   \
    tqs_leave_s16_t leave = {0, y};                                                                                    \
                                                                                                                       \
    for (;;) {                                                                                                         \
        const int16_t *in;                                                                                             \
        uint32_t p;                                                                                                    \
        uint32_t q;                                                                                                    \
        uint32_t t;                                                                                                    \
                                                                                                                       \
        if (blocks != 0u) {                                                                                            \
            leave.left = blocks - 1u;                                                                                  \
            blocks_of_four;                                                                                            \
        }                                                                                                              \
        if (rest == 0u || leave.to == part + 4) {                                                                      \
            break;                                                                                                     \
        }                                                                                                              \
        leave.to = part;                                                                                               \
        blocks = 1;                                                                                                    \
    }                                                                                                                  \
    if (rest != 0u) {                                                                                                  \
        memcpy(y + layer->outputs - rest, part, rest * sizeof *y);                                                     \
    }                                                                                                                  \
    tqs_clamp_s16(y, layer->outputs, layer->low, layer->high)

/* y within [low, high], if that is less than all codes. */
static inline void tqs_clamp_s16(int16_t *y, uint32_t size, int32_t low, int32_t high) {
    uint32_t i;

    if (low > -32768 || high < 32767) {
        for (i = 0; i < size; i++) {
            const int32_t value = y[i];

            y[i] = (int16_t)(value < low ? low : value > high ? high : value);
        }
    }
}

#endif
