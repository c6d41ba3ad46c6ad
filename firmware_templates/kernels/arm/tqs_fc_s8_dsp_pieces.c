/* Dense layer, int8 weights, for cores with the DSP extension, any number of inputs. See tqs_dsp_pieces.h. */
#include "tqs_dsp_pieces.h"
#include "tqs_fc_s8_dsp.h"

static const uint32_t *add_piece(const uint32_t *w, const int8_t *x, uint32_t size, int32_t *sums, int32_t *sums_end) {
    uint32_t *widened = (uint32_t *)sums_end;
    const uint32_t *end = tqs_widen_s8(x, size, widened);
    const tqs_enter_t enter = {widened, ((uint32_t)(end - widened) >> 1) & 3u};
    int32_t a0;
    int32_t a1;
    int32_t b0;
    int32_t b1;
    const uint32_t *in;
    uint32_t p;
    uint32_t q;

    __asm__ volatile("8: ldrd %[in], %[p], %[enter]\n\t"
                     "mov %[a0], #0\n\t"
                     "mov %[a1], #0\n\t"
                     "mov %[b0], #0\n\t"
                     "mov %[b1], #0\n\t" TQS_FOUR_STEPS(TQS_STEP_S8) "sub %[a0], %[a0], %[b0]\n\t"
                                                                     "sub %[a1], %[a1], %[b1]\n\t" TQS_ADD_ROWS(
                                                                         "b0", "a0", "b1", "a1", "8")
                     : [a0] "=&r"(a0), [a1] "=&r"(a1), [b0] "=&r"(b0), [b1] "=&r"(b1), [in] "=&r"(in), [p] "=&r"(p),
                       [q] "=&r"(q), [w] "+r"(w), [sums] "+r"(sums)
                     : [end] "r"(end), [enter] "m"(enter), [sums_end] "m"(sums_end)
                     : "r4", "r5", "r6", "r8", "cc", "memory");
    return w;
}

void tqs_fc_s8_dsp_pieces(const tqs_fc_t *layer, const int8_t *x, int8_t *y, uint32_t *scratch) {
    tqs_dsp_in_pieces(layer, x, y, scratch, add_piece);
}
