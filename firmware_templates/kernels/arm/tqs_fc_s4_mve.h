/*
 * What dense layers and convolutions over time share, int4 weights, for cores with Helium (Cortex-M55): as
 * many instructions as for int8.
 *
 * A byte holds two rows of one input as the number 16 * w1 + w0. Its products sum to 16 * s1 + s0, and those of the
 * byte shifted to the left by four bits to 16 * s0: no nibble has to be masked.
 *
 * weights: [R / 4] blocks as tqs_mve_rows.h has them: of a chunk [2][16], rows 0 and 1, then 2 and 3; of the half chunk
 * [2][8]. Inputs that are not there have zero weights. Biases are 16 * b0, 16 * b1 + b0, 16 * b2,
 * 16 * b3 + b2; 17 times the largest sum is below 2^31.
 */
#ifndef TQS_FC_S4_MVE_H
#define TQS_FC_S4_MVE_H

#include "tqs_mve_rows.h"

#define TQS_PAIR_S4(low, both, v, x)                                                                                   \
    "vldrb.8 " v ", [%[w]], #16\n\t"                                                                                   \
    "vmladava.s8 %[" both "], " x ", " v "\n\t"                                                                        \
    "vshl.i8 " v ", " v ", #4\n\t"                                                                                     \
    "vmladava.s8 %[" low "], " x ", " v "\n\t"
#define TQS_CHUNK_S4(x) TQS_PAIR_S4("a0", "a1", "%q[t]", x) TQS_PAIR_S4("a2", "a3", "%q[u]", x)
#define TQS_HALF_S4                                                                                                    \
    "vldrb.8 %q[t], [%[w]], #16\n\t"                                                                                   \
    "vshl.i8 %q[u], %q[t], #4\n\t"                                                                                     \
    "vpsteet\n\t"                                                                                                      \
    "vmladavat.s8 %[a1], %q[twice], %q[t]\n\t"                                                                         \
    "vmladavae.s8 %[a3], %q[twice], %q[t]\n\t"                                                                         \
    "vmladavae.s8 %[a2], %q[twice], %q[u]\n\t"                                                                         \
    "vmladavat.s8 %[a0], %q[twice], %q[u]\n\t"
#define TQS_SUMS_SCALAR_S4                                                                                             \
    "sub %[a1], %[a1], %[a0], asr #4\n\t"                                                                              \
    "sub %[a3], %[a3], %[a2], asr #4\n\t"
#define TQS_SUMS_VECTOR_S4 "vshr.s32 %q[s], %q[s], #4\n\t"

#endif
