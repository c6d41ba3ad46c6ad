/* Dense layer, int4 weights, for cores with the DSP extension, any number of inputs. See tqs_dsp_pieces.h. */
#include "tqs_dsp_pieces.h"
#include "tqs_fc_s4_dsp.h"

static const uint32_t *add_piece(const uint32_t *w, const int8_t *x, uint32_t size, int32_t *sums, int32_t *sums_end) {
    uint32_t *widened = (uint32_t *)sums_end;
    uint32_t *end = widened;
    const tqs_added_t added = tqs_added_s4(tqs_widen_s4(x, size, &end));
    const tqs_enter_t enter = {widened, ((uint32_t)(end - widened) >> 1) & 7u};
    int32_t a;
    int32_t b;
    int32_t c;
    int32_t d;
    const uint32_t *in;
    uint32_t p;

    __asm__ volatile("8: ldrd %[in], %[p], %[enter]\n\t"
                     "ldrd %[a], %[b], %[ab]\n\t"
                     "ldrd %[c], %[d], %[cd]\n\t" TQS_EIGHT_STEPS(TQS_STEP_S4)
                         TQS_SUMS_S4 TQS_ADD_ROWS("c", "b", "d", "a", "4")
                     : [a] "=&r"(a), [b] "=&r"(b), [c] "=&r"(c), [d] "=&r"(d), [in] "=&r"(in), [p] "=&r"(p),
                       [w] "+r"(w), [sums] "+r"(sums)
                     : [end] "r"(end), [mask] "r"(0x000F000Fu), [enter] "m"(enter), [ab] "m"(added.ab),
                       [cd] "m"(added.cd), [sums_end] "m"(sums_end)
                     : "r4", "r5", "r6", "r8", "cc", "memory");
    return w;
}

void tqs_fc_s4_dsp_pieces(const tqs_fc_t *layer, const int8_t *x, int8_t *y, uint32_t *scratch) {
    tqs_dsp_in_pieces(layer, x, y, scratch, add_piece);
}
