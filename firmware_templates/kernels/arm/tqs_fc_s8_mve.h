/*
 * What dense layers and convolutions over time share, int8 weights, for cores with Helium (Cortex-M55): sixteen
 * products an instruction.
 *
 * weights: [R / 4] blocks as tqs_mve_rows.h has them: of a chunk [4][16], of the half chunk [4][8]; inputs that are not
 * there have zero weights.
 */
#ifndef TQS_FC_S8_MVE_H
#define TQS_FC_S8_MVE_H

#include "tqs_mve_rows.h"

#define TQS_ROW_S8(sum, v, x) "vldrb.8 " v ", [%[w]], #16\n\tvmladava.s8 %[" sum "], " x ", " v "\n\t"
#define TQS_CHUNK_S8(x)                                                                                                \
    TQS_ROW_S8("a0", "%q[t]", x) TQS_ROW_S8("a1", "%q[u]", x) TQS_ROW_S8("a2", "%q[t]", x) TQS_ROW_S8("a3", "%q[u]", x)
#define TQS_HALF_S8                                                                                                    \
    "vldrb.8 %q[t], [%[w]], #16\n\t"                                                                                   \
    "vldrb.8 %q[u], [%[w]], #16\n\t"                                                                                   \
    "vpsteet\n\t"                                                                                                      \
    "vmladavat.s8 %[a0], %q[twice], %q[t]\n\t"                                                                         \
    "vmladavae.s8 %[a1], %q[twice], %q[t]\n\t"                                                                         \
    "vmladavae.s8 %[a3], %q[twice], %q[u]\n\t"                                                                         \
    "vmladavat.s8 %[a2], %q[twice], %q[u]\n\t"

#endif
