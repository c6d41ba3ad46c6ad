/* What attention is made of beside dense layers: products of two activations, and softmax. See tqs_kernels.h. */
#ifndef TQS_ATTENTION_H
#define TQS_ATTENTION_H

#include <stdint.h>

/*
 * y = a b: the sum of (a - a_zero_point)(b - b_zero_point) is kept in 32 bits. Of int16 codes, whose zero points are 0,
 * in 64: there multiplier has 15 bits, and shift is to the right, 8 to 46.
 */
typedef struct tqs_matmul {
    int32_t multiplier;
    int8_t shift;
    int8_t a_zero_point;
    int8_t b_zero_point;
    int8_t y_zero_point;
    uint16_t rows;        /* M */
    uint16_t inner;       /* K */
    uint16_t columns;     /* N */
    uint16_t inner_step;  /* in b, from one of K to the next: N, or 1 where b is [N][K] */
    uint16_t column_step; /* in b, from one of N to the next: 1, or K where b is [N][K] */
} tqs_matmul_t;

/* a: [M][K], b: [K][N] or [N][K], y: [M][N], which must not overlap a or b. */
void tqs_matmul_s8(const tqs_matmul_t *layer, const int8_t *a, const int8_t *b, int8_t *y);
void tqs_matmul_s16(const tqs_matmul_t *layer, const int16_t *a, const int16_t *b, int16_t *y);
/* Of int8 codes, and y's zero point is 0; shift as that of int16. */
void tqs_matmul_s8_s16(const tqs_matmul_t *layer, const int8_t *a, const int8_t *b, int16_t *y);
/* The same as tqs_matmul_s8, for layers that the code generator gives them; each describes its scratch. */
void tqs_matmul_s8_dsp(const tqs_matmul_t *layer, const int8_t *a, const int8_t *b, int8_t *y, uint32_t *scratch);
void tqs_matmul_s8_mve(const tqs_matmul_t *layer, const int8_t *a, const int8_t *b, int8_t *y, uint32_t *scratch);
void tqs_matmul_s8_neon(const tqs_matmul_t *layer, const int8_t *a, const int8_t *b, int8_t *y, uint32_t *scratch);
/* The same as tqs_matmul_s8_s16, likewise. */
void tqs_matmul_s8_s16_dsp(const tqs_matmul_t *layer, const int8_t *a, const int8_t *b, int16_t *y, uint32_t *scratch);
void tqs_matmul_s8_s16_mve(const tqs_matmul_t *layer, const int8_t *a, const int8_t *b, int16_t *y, uint32_t *scratch);
/* The same as tqs_matmul_s16, likewise. */
void tqs_matmul_s16_dsp(const tqs_matmul_t *layer, const int16_t *a, const int16_t *b, int16_t *y, uint32_t *scratch);
void tqs_matmul_s16_mve(const tqs_matmul_t *layer, const int16_t *a, const int16_t *b, int16_t *y, uint32_t *scratch);
void tqs_matmul_s16_neon(const tqs_matmul_t *layer, const int16_t *a, const int16_t *b, int16_t *y, uint32_t *scratch);

/*
 * y = exp(x) over its sum, row by row, at scale 1 / 256 and zero point -128. table: exp of the codes 0, 1, ... below a
 * row's largest, 31 fraction bits; the scale of x and beta are in it. What lies further below gives 0.
 */
typedef struct tqs_softmax {
    const int32_t *table; /* [known] */
    uint16_t known;       /* 1 to 256 */
    uint16_t rows;
    uint16_t columns; /* at most 511: the last rounding shifts by 31 bits at most */
} tqs_softmax_t;

/* x, y: [rows][columns]. y may be x, or not overlap it. */
void tqs_softmax_s8(const tqs_softmax_t *layer, const int8_t *x, int8_t *y);
void tqs_softmax_s8_dsp(const tqs_softmax_t *layer, const int8_t *x, int8_t *y);
void tqs_softmax_s8_mve(const tqs_softmax_t *layer, const int8_t *x, int8_t *y);
void tqs_softmax_s8_neon(const tqs_softmax_t *layer, const int8_t *x, int8_t *y);

/*
 * The same of int16 codes, at scale 2^-15. A difference in x times multiplier * 2^(shift - 31) is in parts of 65535 of
 * 10: what lies 10 below a row's largest, or more, is exp(-10).
 */
typedef struct tqs_softmax_s16 {
    const int16_t *exponentials; /* [513], of -10 to 0, 15 fraction bits, interpolated */
    const int16_t *reciprocals;  /* [513], 1 / (1 + a) for a from 0 to 1, 15 fraction bits, interpolated */
    int32_t multiplier;
    int8_t shift; /* at most 14 */
    uint16_t rows;
    uint16_t columns;
} tqs_softmax_s16_t;

/* x, y: [rows][columns]. y may be x, or not overlap it. */
void tqs_softmax_s16(const tqs_softmax_s16_t *layer, const int16_t *x, int16_t *y);
void tqs_softmax_s16_dsp(const tqs_softmax_s16_t *layer, const int16_t *x, int16_t *y);
void tqs_softmax_s16_mve(const tqs_softmax_s16_t *layer, const int16_t *x, int16_t *y);

#endif
