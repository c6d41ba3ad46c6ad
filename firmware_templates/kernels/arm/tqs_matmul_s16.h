/*
 * What the products of two activations of int16 codes share on Cortex-M: two columns of b at a time are packed, and
 * meet each row of a. A kernel packs and multiplies in its way. There are at least two columns; the last may be
 * computed twice.
 *
 * Sums have 64 bits. The code generator has shifted multiplier to the left, so that shift is 33 to 46, and has checked
 * that no product with a sum leaves 64 bits: its high word alone is shifted, (p + 2^(s - 1)) >> s is ((p >> (s - 1)) +
 * 1) >> 1.
 */
#ifndef TQS_MATMUL_S16_H
#define TQS_MATMUL_S16_H

#include "tqs_attention.h"

static inline int16_t tqs_code_of_product(int64_t sum, uint32_t multiplier, uint32_t shift) {
    const uint32_t high = (uint32_t)((uint64_t)sum * multiplier >> 32);
    int32_t value = ((int32_t)high >> shift) + 1;

    __asm__("ssat %0, #16, %0, asr #1" : "+r"(value));
    return (int16_t)value;
}

/* Packs column b. */
typedef void (*tqs_pack_s16_t)(const tqs_matmul_t *layer, const int16_t *b, int16_t *to);
/* The sums of a row a: [K] with the two columns. Returns what is behind the row. */
typedef const int16_t *(*tqs_meet_s16_t)(const int16_t *a, uint32_t inner, const uint32_t *packed, int64_t *sums);

/* next: codes from the first of a packed column to that of the other. */
static inline void tqs_matmul_pairs(const tqs_matmul_t *layer, const int16_t *a, const int16_t *b, int16_t *y,
                                    uint32_t *packed, uint32_t next, tqs_pack_s16_t pack, tqs_meet_s16_t meet) {
    const uint32_t multiplier = (uint32_t)layer->multiplier;
    const uint32_t shift = (uint32_t)layer->shift - 33u;
    const uint32_t columns = layer->columns;
    uint32_t column;

    for (column = 0; column < columns; column += 2u) {
        const int16_t *in = a;
        int16_t *to;
        uint32_t row;

        if (column + 2u > columns) {
            column = columns - 2u;
        }
        to = y + column;
        for (row = 0; row < 2u; row++) {
            pack(layer, b + (column + row) * layer->column_step, (int16_t *)packed + row * next);
        }
        for (row = layer->rows; row > 0u; row--) {
            int64_t sums[2];

            in = meet(in, layer->inner, packed, sums);
            to[0] = tqs_code_of_product(sums[0], multiplier, shift);
            to[1] = tqs_code_of_product(sums[1], multiplier, shift);
            to += columns;
        }
    }
}

#endif
