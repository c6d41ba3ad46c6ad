/*
 * Dense layer, int8 weights, for cores with the DSP extension (Cortex-M4, M7, M33), up to 320 inputs:
 * tqs_fc_s8_dsp_pieces has more. See tqs_fc_s8_dsp.h.
 *
 * weights: [R / 4][K / 4][2][2] words, K rounded up to a multiple of four. scratch: K halfwords, the inputs widened.
 */
#include "tqs_fc_s8_dsp.h"

void tqs_fc_s8_dsp(const tqs_fc_t *layer, const int8_t *x, int8_t *y, uint32_t *scratch) {
    const uint32_t *w = layer->weights;
    const tqs_rows_t *rows = layer->rows;
    const uint32_t *end = tqs_widen_s8(x, layer->inputs, scratch);
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
                             "mov %[b1], #0\n\t" TQS_FOUR_STEPS(
                                 TQS_STEP_S8) "sub %[a0], %[a0], %[b0]\n\t"
                                              "sub %[a1], %[a1], %[b1]\n\t" TQS_WRITE_ROWS("b0", "a0", "b1", "a1", "7")
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
