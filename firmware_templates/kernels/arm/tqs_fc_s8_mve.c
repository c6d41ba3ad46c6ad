/*
 * Dense layer, int8 weights, for cores with Helium (Cortex-M55): sixteen products an instruction.
 *
 * weights: [R / 4] blocks as tqs_mve_rows.h has them: of a chunk [4][16], of the half chunk [4][8]; inputs that are not
 * there have zero weights. scratch: none.
 */
#include "tqs_kernels.h"
#include "tqs_mve_rows.h"

#define ROW(sum, v, x) "vldrb.8 " v ", [%[w]], #16\n\tvmladava.s8 %[" sum "], " x ", " v "\n\t"
#define CHUNK(x) ROW("a0", "%q[t]", x) ROW("a1", "%q[u]", x) ROW("a2", "%q[t]", x) ROW("a3", "%q[u]", x)
#define HALF                                                                                                           \
    "vldrb.8 %q[t], [%[w]], #16\n\t"                                                                                   \
    "vldrb.8 %q[u], [%[w]], #16\n\t"                                                                                   \
    "vpsteet\n\t"                                                                                                      \
    "vmladavat.s8 %[a0], %q[twice], %q[t]\n\t"                                                                         \
    "vmladavae.s8 %[a1], %q[twice], %q[t]\n\t"                                                                         \
    "vmladavae.s8 %[a3], %q[twice], %q[u]\n\t"                                                                         \
    "vmladavat.s8 %[a2], %q[twice], %q[u]\n\t"

void tqs_fc_s8_mve(const tqs_fc_t *layer, const int8_t *x, int8_t *y, uint32_t *scratch) {
    (void)scratch;
    TQS_MVE_DENSE(CHUNK, HALF, "", "");
}
