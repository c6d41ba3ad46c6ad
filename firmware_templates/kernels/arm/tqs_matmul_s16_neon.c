/*
 * y = a b, where both are computed, int16, for cores with NEON (Cortex-A): four columns of b are packed and meet each
 * row of a. Sums have 64 bits.
 *
 * scratch: [K / 8][4][8] codes, K rounded up to a multiple of eight: of each eight inputs those of the four columns.
 * What is filled up meets zeros.
 */
#include "tqs_attention.h"
#include "tqs_fc_s16_neon.h"
#include "tqs_rescale_s16.h"

#define COLUMNS 4u

static inline void pack(const tqs_matmul_t *layer, const int16_t *b, uint32_t count, int16_t *packed) {
    const uint32_t step = layer->inner_step;
    uint32_t column;
    uint32_t k;

    memset(packed, 0, (layer->inner + 7u) / 8u * 8u * COLUMNS * sizeof *packed);
    for (column = 0; column < count; column++, b += layer->column_step) {
        const int16_t *in = b;

        for (k = 0; k < layer->inner; k++, in += step) {
            packed[(k / 8u * COLUMNS + column) * 8u + k % 8u] = *in;
        }
    }
}

/* sums + the products of eight codes, in two lanes; two products of -32768 leave 32 bits. */
static inline int64x2_t add_products(int64x2_t sums, int16x8_t x, const int16_t *w) {
    const int16x8_t column = vld1q_s16(w);

    sums = vpadalq_s32(sums, vmull_s16(vget_low_s16(x), vget_low_s16(column)));
    return vpadalq_s32(sums, vmull_s16(vget_high_s16(x), vget_high_s16(column)));
}

static inline const int16_t *add_eight(int64x2_t sums[COLUMNS], int16x8_t x, const int16_t *w) {
    sums[0] = add_products(sums[0], x, w);
    sums[1] = add_products(sums[1], x, w + 8);
    sums[2] = add_products(sums[2], x, w + 16);
    sums[3] = add_products(sums[3], x, w + 24);
    return w + 32;
}

static inline int16_t code_of(const tqs_matmul_t *layer, int64x2_t sums) {
    const int64_t sum = vgetq_lane_s64(sums, 0) + vgetq_lane_s64(sums, 1);

    return tqs_rescale_s16(sum, layer->multiplier, layer->shift, -32768, 32767);
}

static inline void meet(const tqs_matmul_t *layer, const int16_t *a, const int16_t *packed, int16_t *codes) {
    const uint32_t rest = layer->inner % 8u;
    const int16_t *end = a + (layer->inner - rest);
    const int64x2_t zero = vdupq_n_s64(0);
    int64x2_t sums[COLUMNS] = {zero, zero, zero, zero};

    for (; a != end; a += 8) {
        packed = add_eight(sums, vld1q_s16(a), packed);
    }
    if (rest > 0u) {
        add_eight(sums, tqs_neon_last(a, rest), packed);
    }
    codes[0] = code_of(layer, sums[0]);
    codes[1] = code_of(layer, sums[1]);
    codes[2] = code_of(layer, sums[2]);
    codes[3] = code_of(layer, sums[3]);
}

void tqs_matmul_s16_neon(const tqs_matmul_t *layer, const int16_t *a, const int16_t *b, int16_t *y, uint32_t *scratch) {
    const tqs_matmul_t held = *layer; /* y may alias it */
    int16_t *packed = (int16_t *)scratch;
    uint32_t column;
    uint32_t row;

    for (column = 0; column < held.columns; column += COLUMNS) {
        const uint32_t left = held.columns - column;
        const uint32_t count = left < COLUMNS ? left : COLUMNS;

        pack(&held, b + column * held.column_step, count, packed);
        for (row = 0; row < held.rows; row++) {
            int16_t *to = y + row * held.columns + column;
            int16_t codes[COLUMNS];

            meet(&held, a + row * held.inner, packed, codes);
            memcpy(to, codes, count * sizeof *codes);
        }
    }
}
