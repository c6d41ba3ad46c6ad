/*
 * Dense layer, int4 weights, for cores with the DSP extension (Cortex-M4, M7, M33), up to 320 inputs:
 * tqs_fc_s4_dsp_pieces has more. See tqs_fc_s4_dsp.h.
 *
 * weights: [R / 4][K / 4][2] words, K rounded up to a multiple of four. scratch: K halfwords, the inputs widened.
 */
#include "tqs_fc_s4_dsp.h"

void tqs_fc_s4_dsp(const tqs_fc_t *layer, const int8_t *x, int8_t *y, uint32_t *scratch) {
    const uint32_t *w = layer->weights;
    const tqs_rows_t *rows = layer->rows;
    uint32_t *end = scratch;
    const tqs_added_t added = tqs_added_s4(tqs_widen_s4(x, layer->inputs, &end));
    const uint32_t rest = layer->outputs & 3u;
    const uint32_t offset = (uint32_t)(2 * layer->zero_point + 1) & 0xFFFFu;
    uint32_t blocks = layer->outputs / 4u;
    int8_t part[4];
    const tqs_enter_t enter = {scratch, ((uint32_t)(end - scratch) >> 1) & 7u};
    tqs_leave_t leave = {0, y};

    for (;;) {
        int32_t a;
        int32_t b;
        int32_t c;
        int32_t d;
        const uint32_t *in;
        uint32_t p;

        if (blocks != 0u) {
            leave.left_offset = ((blocks - 1u) << 16) | offset;
            __asm__ volatile(
                "8: ldrd %[in], %[p], %[enter]\n\t"
                "ldrd %[a], %[b], %[ab]\n\t"
                "ldrd %[c], %[d], %[cd]\n\t" TQS_EIGHT_STEPS(TQS_STEP_S4)
                    TQS_SUMS_S4 TQS_WRITE_ROWS("c", "b", "d", "a", "3")
                : [a] "=&r"(a), [b] "=&r"(b), [c] "=&r"(c), [d] "=&r"(d), [in] "=&r"(in), [p] "=&r"(p), [w] "+r"(w),
                  [rows] "+r"(rows), [leave] "+m"(leave)
                : [end] "r"(end), [mask] "r"(0x000F000Fu), [enter] "m"(enter), [ab] "m"(added.ab), [cd] "m"(added.cd)
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
