/*
 * What the products of two activations share on cores with vectors of sixteen codes: columns of b are packed as they
 * are, and zero points come in at the end, sum((a - a0)(b - b0)) = sum(a b) - b0 sum(a) + (K a0 b0 - a0 sum(b)).
 *
 * scratch: of each of four columns what is in brackets, a word; then of each four columns sixteen codes, and the next
 * sixteen, filled up with zeros.
 */
#ifndef TQS_MATMUL_CHUNKS_H
#define TQS_MATMUL_CHUNKS_H

#if defined(__ARM_FEATURE_MVE)
#include <arm_mve.h>
#endif

#include "tqs_matmul_blocks.h"

#define TQS_CODES 4u                                   /* words before the codes */
#define TQS_PLACE(k) (((k) & ~15u) * 4u + ((k) & 15u)) /* of code k of a column */

/* Codes from in on, each ``step`` behind the one before, as those of a column. Returns their sum. */
static inline int32_t tqs_pack_column(const int8_t *in, uint32_t size, uint32_t step, int8_t *to) {
    int32_t sum = 0;
    uint32_t k;
#if defined(__ARM_FEATURE_MVE)
    const uint16x8_t offsets = vmulq_n_u16(vidupq_n_u16(0, 1), (uint16_t)step);

    for (k = 0; k < size; k += 8u, in += 8u * step) {
        const mve_pred16_t here = vctp16q(size - k);
        const int16x8_t codes = vldrbq_gather_offset_z_s16(in, offsets, here);

        sum = vaddvaq_s16(sum, codes);
        vstrbq_p_s16(to + TQS_PLACE(k), codes, here);
    }
#else
    for (k = 0; k < size; k++) {
        to[TQS_PLACE(k)] = *in;
        sum += *in;
        in += step;
    }
#endif
    return sum;
}

static inline void tqs_pack_columns(const tqs_matmul_t *layer, const int8_t *b, uint32_t count, uint32_t *packed) {
    const uint32_t inner = layer->inner;
    const uint32_t padded = (inner + 15u) & ~15u;
    int32_t *constants = (int32_t *)packed;
    int8_t *to = (int8_t *)(packed + TQS_CODES);
    uint32_t column;

    if (count < 4u || padded != inner) {
        memset(packed, 0, TQS_CODES * 4u + 4u * padded);
    }
    for (column = 0; column < count; column++, to += 16) {
        const int32_t sum = tqs_pack_column(b, inner, layer->inner_step, to);

        constants[column] = layer->a_zero_point * ((int32_t)inner * layer->b_zero_point - sum);
        b += layer->column_step;
    }
}

#endif
