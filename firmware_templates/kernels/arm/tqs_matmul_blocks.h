/*
 * Products of two activations, four columns of b at a time: they are packed as weights of four rows are, and meet each
 * row of a. The loop that the kernels for all Arm cores share; each packs and multiplies in its way.
 */
#ifndef TQS_MATMUL_BLOCKS_H
#define TQS_MATMUL_BLOCKS_H

#include <string.h>

#include "tqs_attention.h"

/* Packs count columns, 1 to 4, from b on; those that are not there are zeros. */
typedef void (*tqs_pack_columns_t)(const tqs_matmul_t *layer, const int8_t *b, uint32_t count, uint32_t *packed);
/* The four codes at y, and y_step bytes behind them the next, of rows of a: [rows][K]. */
typedef void (*tqs_meet_rows_t)(const tqs_matmul_t *layer, const int8_t *a, uint32_t rows, const uint32_t *packed,
                                int8_t *y, uint32_t y_step);

/* size: bytes of a code of y, 1 or 2. */
static inline void tqs_matmul_blocks(const tqs_matmul_t *layer, const int8_t *a, const int8_t *b, int8_t *y,
                                     uint32_t size, uint32_t *packed, tqs_pack_columns_t pack, tqs_meet_rows_t meet) {
    const tqs_matmul_t held = *layer; /* y may alias anything */
    const uint32_t rest = held.columns & 3u;
    uint32_t column;
    uint32_t row;

    for (column = 0; column + 4u <= held.columns; column += 4u) {
        pack(&held, b + column * held.column_step, 4, packed);
        meet(&held, a, held.rows, packed, y + size * column, size * held.columns);
    }
    if (rest > 0u) {
        pack(&held, b + column * held.column_step, rest, packed);
        for (row = 0; row < held.rows; row++) {
            int16_t part[4]; /* of codes of either size */

            meet(&held, a + row * held.inner, 1, packed, (int8_t *)part, 8);
            memcpy(y + size * (row * held.columns + column), part, size * rest);
        }
    }
}

#endif
