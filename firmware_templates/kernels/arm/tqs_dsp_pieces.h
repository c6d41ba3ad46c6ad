/*
 * Dense layers of more inputs than are widened at once, for cores with the DSP extension (Cortex-M4, M7, M33).
 *
 * Inputs are taken in pieces of 256, rows in groups of 32: of a group the sums are kept, and each piece adds to them.
 * No piece comes near what the products of tqs_fc_s8_dsp.h and tqs_fc_s4_dsp.h are exact for.
 *
 * weights: for each group of rows and each piece of inputs those of a layer of as many rows and inputs. scratch: the
 * sums of a group, 32 words or as many as there are rows, rounded up to four; behind them 256 halfwords.
 */
#ifndef TQS_DSP_PIECES_H
#define TQS_DSP_PIECES_H

#include <string.h>

#include "tqs_arm.h"
#include "tqs_kernels.h"

#define TQS_PIECE 256u
#define TQS_GROUP 32u

/* Adds the products of a piece of inputs, x: [size], to the sums of a group. Returns the weights behind those. */
typedef const uint32_t *(*tqs_add_piece_t)(const uint32_t *w, const int8_t *x, uint32_t size, int32_t *sums,
                                           int32_t *end);

static inline void tqs_dsp_in_pieces(const tqs_fc_t *layer, const int8_t *x, int8_t *y, uint32_t *scratch,
                                     tqs_add_piece_t add_piece) {
    const uint32_t *w = layer->weights;
    const tqs_rows_t *rows = layer->rows;
    const int32_t offset = 2 * layer->zero_point + 1;
    const uint32_t inputs = layer->inputs;
    int32_t *sums = (int32_t *)scratch;
    int32_t left = layer->outputs;
    int8_t *to = y;

    while (left > 0) {
        const int32_t padded = (left + 3) & -4;
        int32_t *end = sums + (padded < (int32_t)TQS_GROUP ? padded : (int32_t)TQS_GROUP);
        const int32_t *sum;
        uint32_t at;

        memset(sums, 0, (uint32_t)(end - sums) * sizeof *sums);
        for (at = 0; at < inputs; at += TQS_PIECE) {
            w = add_piece(w, x + at, inputs - at < TQS_PIECE ? inputs - at : TQS_PIECE, sums, end);
        }
        for (sum = sums; sum != end; sum += 4) {
            tqs_write_rows(rows, 2 * sum[0], 2 * sum[1], 2 * sum[2], 2 * sum[3], offset, to, left);
            to += 4;
            rows++;
            left -= 4;
        }
    }
    tqs_clamp(y, layer->outputs, layer->low, layer->high);
}

/* Adds the four sums of a block to those kept, and goes on with the next block, at label 8, unless it was the last.
 * odd: of the sums of rows 1 and 3, as TQS_WRITE_ROWS has it.
 */
#define TQS_ADD_ROWS(s0, s1, s2, s3, odd)                                                                              \
    "ldm %[sums], {r4, r5, r6, r8}\n\t"                                                                                \
    "add r4, r4, %[" s0 "]\n\t"                                                                                        \
    "add r5, r5, %[" s1 "], asr #" odd "\n\t"                                                                          \
    "add r6, r6, %[" s2 "]\n\t"                                                                                        \
    "add r8, r8, %[" s3 "], asr #" odd "\n\t"                                                                          \
    "ldr %[p], %[sums_end]\n\t"                                                                                        \
    "stmia %[sums]!, {r4, r5, r6, r8}\n\t"                                                                             \
    "cmp %[sums], %[p]\n\t"                                                                                            \
    "bne 8b\n\t"

#endif
