/*
 * The integer kernels for int16 activations ("16x8"): int8 or int4 weights with a scale per output row, tflite-micro's
 * arithmetic bit for bit. As tqs_kernels.h, but that every zero point is 0 and that a dense layer rescales a sum of 64
 * bits with a multiplier of 15.
 */
#ifndef TQS_KERNELS_S16_H
#define TQS_KERNELS_S16_H

#include <stdint.h>

#include "tqs_attention.h"
#include "tqs_depthwise.h"
#include "tqs_pool.h"
#include "tqs_taps.h"
#include "tqs_transpose.h"

/*
 * A dense layer, y = activation(W x + b), of K inputs and M outputs. R is M rounded up to a multiple of four: all
 * tables are padded with zeros to R rows, and the padding rows are computed but never written.
 *
 * weights: as those of tqs_fc_s8 and tqs_fc_s4 in tqs_kernels.h.
 */
typedef struct tqs_rows_s16 {
    int32_t bias[4]; /* in units of the accumulator */
    int16_t multiplier[4];
    int8_t shift[4]; /* 8 to 46: y = (sum * multiplier + 2^(shift - 1)) >> shift */
} tqs_rows_s16_t;

typedef struct tqs_fc_s16 {
    const void *weights;
    const tqs_rows_s16_t *rows; /* [R / 4] */
    uint16_t inputs;            /* K, at least 1 */
    uint16_t outputs;           /* M, at least 1 */
    int16_t low;                /* y is clamped to [low, high], which is also how relu and relu6 are done */
    int16_t high;
} tqs_fc_s16_t;

/* x: [K], y: [M]; they must not overlap. */
void tqs_fc_s16w8(const tqs_fc_s16_t *layer, const int16_t *x, int16_t *y);
void tqs_fc_s16w4(const tqs_fc_s16_t *layer, const int16_t *x, int16_t *y);
/* The same bits with fewer instructions, on the cores and for the layers that edge_tqs/emit_c/dense_kernels.py gives
 * them. */
void tqs_fc_s16w8_dsp(const tqs_fc_s16_t *layer, const int16_t *x, int16_t *y);
void tqs_fc_s16w8_mve(const tqs_fc_s16_t *layer, const int16_t *x, int16_t *y);
void tqs_fc_s16w8_neon(const tqs_fc_s16_t *layer, const int16_t *x, int16_t *y);
void tqs_fc_s16w4_dsp(const tqs_fc_s16_t *layer, const int16_t *x, int16_t *y);
void tqs_fc_s16w4_mve(const tqs_fc_s16_t *layer, const int16_t *x, int16_t *y);
void tqs_fc_s16w4_neon(const tqs_fc_s16_t *layer, const int16_t *x, int16_t *y);

/* y = a + b, or a - b: both operands are brought to a common scale with 15 more bits, added, and rescaled. */
typedef struct tqs_add_s16 {
    int32_t a_multiplier;
    int32_t b_multiplier;
    int32_t y_multiplier;
    int8_t a_shift;
    int8_t b_shift;
    int8_t y_shift;
    uint8_t subtract; /* 1: a - b */
    uint16_t size;    /* n */
} tqs_add_s16_t;

/* a, b, y: [n]. y may be a or b, or not overlap them. */
void tqs_add_s16(const tqs_add_s16_t *layer, const int16_t *a, const int16_t *b, int16_t *y);
/* The same where no shift is above 0; that of DSP cores says what more it asks. */
void tqs_add_s16_dsp(const tqs_add_s16_t *layer, const int16_t *a, const int16_t *b, int16_t *y);
void tqs_add_s16_mve(const tqs_add_s16_t *layer, const int16_t *a, const int16_t *b, int16_t *y);
void tqs_add_s16_neon(const tqs_add_s16_t *layer, const int16_t *a, const int16_t *b, int16_t *y);

/* A factor between scales, see tqs_requantize.h. */
typedef struct tqs_scale_s16 {
    int32_t multiplier;
    int8_t shift;
    uint16_t size; /* n */
} tqs_scale_s16_t;

/* y = a * b, element by element. a, b, y: [n]. y may be a or b, or not overlap them. */
void tqs_mul_s16(const tqs_scale_s16_t *layer, const int16_t *a, const int16_t *b, int16_t *y);
void tqs_mul_s16_dsp(const tqs_scale_s16_t *layer, const int16_t *a, const int16_t *b, int16_t *y);
void tqs_mul_s16_mve(const tqs_scale_s16_t *layer, const int16_t *a, const int16_t *b, int16_t *y);
void tqs_mul_s16_neon(const tqs_scale_s16_t *layer, const int16_t *a, const int16_t *b, int16_t *y);

/* y = x in another scale. x, y: [n]. y may be x, or not overlap it. */
void tqs_requant_s16(const tqs_scale_s16_t *layer, const int16_t *x, int16_t *y);

/* The mean over time. x: [samples][channels], y: [channels]; they must not overlap. */
typedef struct tqs_mean_s16 {
    int32_t multiplier; /* at least 0 and below 2^31: the division by samples is in it */
    int8_t shift;
    uint16_t samples;
    uint16_t channels;
} tqs_mean_s16_t;

void tqs_mean_s16(const tqs_mean_s16_t *layer, const int16_t *x, int16_t *y);

/* y = x where x is not negative, else alpha * x. */
typedef struct tqs_leaky_relu_s16 {
    int32_t positive_multiplier;
    int32_t negative_multiplier;
    int8_t positive_shift;
    int8_t negative_shift;
    uint16_t size; /* n */
} tqs_leaky_relu_s16_t;

/* x, y: [n]. y may be x, or not overlap it. */
void tqs_leaky_relu_s16(const tqs_leaky_relu_s16_t *layer, const int16_t *x, int16_t *y);

/* y = logistic(x) or tanh(x), interpolated in a table of 256 entries. The scale of y is 2^-15. */
typedef struct tqs_sigmoid_s16 {
    int32_t multiplier; /* at most 65535: (x * multiplier) >> shift, rounded, is in units of 1 / 12288 */
    int8_t shift;       /* 0 to 31; at least 1 only where multiplier is below 32768 */
    uint8_t tanh;       /* 1: tanh */
    uint16_t size;      /* n */
} tqs_sigmoid_s16_t;

/* x, y: [n]. y may be x, or not overlap it. */
void tqs_sigmoid_s16(const tqs_sigmoid_s16_t *layer, const int16_t *x, int16_t *y);
void tqs_sigmoid_s16_mve(const tqs_sigmoid_s16_t *layer, const int16_t *x, int16_t *y);

/*
 * y = a function of x: a straight piece for each cell, 2^bits codes of x about its middle. Tables have an entry a cell,
 * from cell first on; where that is 0, negative x count as 0.
 */
typedef struct tqs_curve_s16 {
    const int16_t *nodes;
    const int8_t *slopes; /* (multiplier, shift): slope * rest of x * 2^(13 - bits) to codes of y times 2^places */
    int32_t multiplier;
    int8_t shift;
    uint8_t bits;   /* 4 to 8 */
    uint8_t places; /* at most 7 */
    int16_t first;  /* -2^(15 - bits), or 0 */
    uint16_t size;  /* n */
} tqs_curve_s16_t;

/* x, y: [n]. y may be x, or not overlap it. */
void tqs_curve_s16(const tqs_curve_s16_t *layer, const int16_t *x, int16_t *y);

#endif
