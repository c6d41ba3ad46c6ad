/*
 * The integer kernels: int8 activations, int8 or int4 weights with a scale per output row, tflite-micro's arithmetic
 * bit for bit. They keep no state, use no heap and call nothing; each stands alone in the file of its name.
 *
 * A code q stands for the real number scale * (q - zero_point). A (multiplier, shift) pair stands for the real factor
 * multiplier * 2^(shift - 31), see tqs_requantize.h. Parameters come from the code generator, which has checked them:
 * the kernels check nothing.
 */
#ifndef TQS_KERNELS_H
#define TQS_KERNELS_H

#include <stdint.h>

/* Where the large tables lie: on an AVR in the flash, which is another address space than that of data. Exports to
 * Arduino boards put them there; in the generated C of a board it says nothing. */
#if defined(__AVR__) && defined(__FLASH)
#define TQS_FLASH __flash
#else
#define TQS_FLASH
#endif

#include "tqs_attention.h"
#include "tqs_depthwise.h"
#include "tqs_pool.h"
#include "tqs_taps.h"
#include "tqs_transpose.h"

/*
 * A dense layer, y = activation(W x + b), of K inputs and M outputs. R is M rounded up to a multiple of four: all
 * tables are padded with zeros to R rows, and the padding rows are computed but never written.
 *
 * weights, tqs_fc_s8: [R / 4][K][4], a byte a weight: for each block of four rows and each k the four weights that meet
 *     x[k]. R * K bytes, each within [-127, 127].
 * weights, tqs_fc_s4: [R / 4][K][2], two weights a byte: byte 0 holds row 0 (low nibble) and row 1 (high nibble), byte
 * 1 rows 2 and 3. R * K / 2 bytes, each nibble a two's complement number within [-7, 7].
 */
typedef struct tqs_rows {
    int32_t bias[4]; /* in units of the accumulator, less the input's zero point times the row's sum */
    int32_t multiplier[4];
    int8_t shift[4];
} tqs_rows_t;

typedef struct tqs_fc {
    const TQS_FLASH void *weights;
    const TQS_FLASH tqs_rows_t *rows; /* [R / 4] */
    uint16_t inputs;                  /* K, at least 1 */
    uint16_t outputs;                 /* M, at least 1 */
    int8_t zero_point;                /* of y */
    int8_t low;                       /* y is clamped to [low, high], which is also how relu and relu6 are done */
    int8_t high;
} tqs_fc_t;

/*
 * x: [K], y: [M]; they must not overlap. scratch: words that the kernel may write over, none for these two.
 *
 * These are the reference: any core, any layer. Those of arm/ compute the same bits with fewer instructions, on the
 * cores and for the layers that edge_tqs/emit_c/dense_kernels.py gives them; each describes its own weights and
 * scratch.
 */
void tqs_fc_s8(const tqs_fc_t *layer, const int8_t *x, int8_t *y, uint32_t *scratch);
void tqs_fc_s4(const tqs_fc_t *layer, const int8_t *x, int8_t *y, uint32_t *scratch);

void tqs_fc_s8_v6m(const tqs_fc_t *layer, const int8_t *x, int8_t *y, uint32_t *scratch);
void tqs_fc_s8_v7m(const tqs_fc_t *layer, const int8_t *x, int8_t *y, uint32_t *scratch);
void tqs_fc_s8_v7m_pieces(const tqs_fc_t *layer, const int8_t *x, int8_t *y, uint32_t *scratch);
void tqs_fc_s4_lanes(const tqs_fc_t *layer, const int8_t *x, int8_t *y, uint32_t *scratch);
void tqs_fc_s8_dsp(const tqs_fc_t *layer, const int8_t *x, int8_t *y, uint32_t *scratch);
void tqs_fc_s8_dsp_pieces(const tqs_fc_t *layer, const int8_t *x, int8_t *y, uint32_t *scratch);
void tqs_fc_s4_dsp(const tqs_fc_t *layer, const int8_t *x, int8_t *y, uint32_t *scratch);
void tqs_fc_s4_dsp_pieces(const tqs_fc_t *layer, const int8_t *x, int8_t *y, uint32_t *scratch);
void tqs_fc_s8_mve(const tqs_fc_t *layer, const int8_t *x, int8_t *y, uint32_t *scratch);
void tqs_fc_s4_mve(const tqs_fc_t *layer, const int8_t *x, int8_t *y, uint32_t *scratch);
void tqs_fc_s8_neon(const tqs_fc_t *layer, const int8_t *x, int8_t *y, uint32_t *scratch);
void tqs_fc_s4_neon(const tqs_fc_t *layer, const int8_t *x, int8_t *y, uint32_t *scratch);

/*
 * A convolution over time of many samples: the dense layer at each of them, whose inputs ``taps`` says. x: [W][I], y:
 * [samples][M]; they must not overlap. buffer: of which each kernel says how many bytes it may write over.
 */
void tqs_conv_s8_mve(const tqs_fc_t *layer, const tqs_taps_t *taps, const int8_t *x, uint32_t samples, int8_t *y,
                     int8_t *buffer);
void tqs_conv_s4_mve(const tqs_fc_t *layer, const tqs_taps_t *taps, const int8_t *x, uint32_t samples, int8_t *y,
                     int8_t *buffer);
/* Of at least four samples. */
void tqs_conv_s8_neon(const tqs_fc_t *layer, const tqs_taps_t *taps, const int8_t *x, uint32_t samples, int8_t *y,
                      int8_t *buffer);
void tqs_conv_s4_neon(const tqs_fc_t *layer, const tqs_taps_t *taps, const int8_t *x, uint32_t samples, int8_t *y,
                      int8_t *buffer);

/* y = the mean over time: the sum is kept in 32 bits, the division is part of the multiplier. */
typedef struct tqs_mean {
    int32_t multiplier;
    int32_t offset; /* less W times x's zero point */
    int8_t shift;
    int8_t y_zero_point;
    uint16_t samples;  /* W */
    uint16_t channels; /* C */
} tqs_mean_t;

/* x: [W][C], y: [C]; they must not overlap. */
void tqs_mean_s8(const tqs_mean_t *layer, const int8_t *x, int8_t *y);

/* y = a + b, or a - b: both operands are brought to a common scale with 20 more bits, added, and rescaled. */
typedef struct tqs_add {
    int32_t a_multiplier;
    int32_t b_multiplier;
    int32_t y_multiplier;
    int8_t a_shift;
    int8_t b_shift;
    int8_t y_shift;
    int8_t a_zero_point;
    int8_t b_zero_point;
    int8_t y_zero_point;
    uint8_t subtract; /* 1: a - b */
    uint16_t size;    /* n */
} tqs_add_t;

/* a, b, y: [n]. y may be a or b, or not overlap them. */
void tqs_add_s8(const tqs_add_t *layer, const int8_t *a, const int8_t *b, int8_t *y);

/*
 * The same in one step, y = (a * a_factor + b * b_factor + offset) >> 22, for the layers where the code generator has
 * found factors that give tqs_add_s8's result for each of the 65536 pairs of codes. The sum stays below 2^31 - 2^22.
 */
typedef struct tqs_sum {
    int32_t a_factor;
    int32_t b_factor;
    int32_t offset;
    uint16_t size; /* n */
} tqs_sum_t;

/* a, b, y: [n]. y may be a or b, or not overlap them. */
void tqs_sum_s8(const tqs_sum_t *layer, const int8_t *a, const int8_t *b, int8_t *y);
void tqs_sum_s8_arm(const tqs_sum_t *layer, const int8_t *a, const int8_t *b, int8_t *y);
void tqs_sum_s8_mve(const tqs_sum_t *layer, const int8_t *a, const int8_t *b, int8_t *y);
void tqs_sum_s8_neon(const tqs_sum_t *layer, const int8_t *a, const int8_t *b, int8_t *y);

/* y = a * b, element by element. */
typedef struct tqs_mul {
    int32_t multiplier;
    int8_t shift;
    int8_t a_zero_point;
    int8_t b_zero_point;
    int8_t y_zero_point;
    uint16_t size; /* n */
} tqs_mul_t;

/* a, b, y: [n]. y may be a or b, or not overlap them. */
void tqs_mul_s8(const tqs_mul_t *layer, const int8_t *a, const int8_t *b, int8_t *y);
/* Where the layer's shift is -31 to -1; for _arm the layer holds -1 - shift. */
void tqs_mul_s8_arm(const tqs_mul_t *layer, const int8_t *a, const int8_t *b, int8_t *y);
void tqs_mul_s8_mve(const tqs_mul_t *layer, const int8_t *a, const int8_t *b, int8_t *y);
void tqs_mul_s8_neon(const tqs_mul_t *layer, const int8_t *a, const int8_t *b, int8_t *y);

/* The same as tqs_mul_s8_dsp reads it. */
typedef struct tqs_product {
    int32_t multiplier;
    int32_t offset;   /* half a code, and y's zero point, times 2^shift */
    uint32_t a_zeros; /* less a's zero point, in both halfwords */
    uint32_t b_zeros;
    uint16_t size; /* n */
    int8_t shift;  /* to the right, 1 to 22 */
} tqs_product_t;

void tqs_mul_s8_dsp(const tqs_product_t *layer, const int8_t *a, const int8_t *b, int8_t *y);

/* y = f(x) for any function of one code: logistic, tanh, elu. */
typedef struct tqs_lut {
    const TQS_FLASH int8_t *table; /* [256], f(-128) first */
    uint16_t size;                 /* n */
} tqs_lut_t;

/* x, y: [n]. y may be x, or not overlap it. */
void tqs_lut_s8(const tqs_lut_t *layer, const int8_t *x, int8_t *y);
void tqs_lut_s8_arm(const tqs_lut_t *layer, const int8_t *x, int8_t *y);
void tqs_lut_s8_mve(const tqs_lut_t *layer, const int8_t *x, int8_t *y);
void tqs_lut_s8_neon(const tqs_lut_t *layer, const int8_t *x, int8_t *y);

/* y = table[a + b], the two of edge_tqs/emit_c/fusion.py in one. [n] is the table's; y may be a or b, or not overlap
 * them.
 */
void tqs_sum_lut_s8_arm(const tqs_sum_t *sum, const tqs_lut_t *lut, const int8_t *a, const int8_t *b, int8_t *y);
void tqs_sum_lut_s8_mve(const tqs_sum_t *sum, const tqs_lut_t *lut, const int8_t *a, const int8_t *b, int8_t *y);

/* y = x where x is at least its zero point, else alpha * x. */
typedef struct tqs_leaky_relu {
    int32_t positive_multiplier;
    int32_t negative_multiplier;
    int8_t positive_shift;
    int8_t negative_shift;
    int8_t x_zero_point;
    int8_t y_zero_point;
    uint16_t size; /* n */
} tqs_leaky_relu_t;

/* x, y: [n]. y may be x, or not overlap it. */
void tqs_leaky_relu_s8(const tqs_leaky_relu_t *layer, const int8_t *x, int8_t *y);

/* y = x in another scale and zero point. */
typedef struct tqs_requant {
    int32_t multiplier;
    int8_t shift;
    int8_t x_zero_point;
    int8_t y_zero_point;
    uint16_t size; /* n */
} tqs_requant_t;

/* x, y: [n]. y may be x, or not overlap it. */
void tqs_requant_s8(const tqs_requant_t *layer, const int8_t *x, int8_t *y);
/* Where the layer's shift is -31 to -1; the layer holds -1 - shift. */
void tqs_requant_s8_arm(const tqs_requant_t *layer, const int8_t *x, int8_t *y);
/* As tqs_requant_s8, where the layer's shift is at most 22. */
void tqs_requant_s8_dsp(const tqs_requant_t *layer, const int8_t *x, int8_t *y);
void tqs_requant_s8_mve(const tqs_requant_t *layer, const int8_t *x, int8_t *y);
void tqs_requant_s8_neon(const tqs_requant_t *layer, const int8_t *x, int8_t *y);

/* Between int8 codes and int16 ones, whose zero point is 0. x, y: [n], which must not overlap. */
void tqs_requant_s8_s16(const tqs_requant_t *layer, const int8_t *x, int16_t *y);
void tqs_requant_s16_s8(const tqs_requant_t *layer, const int16_t *x, int8_t *y);
void tqs_requant_s8_s16_dsp(const tqs_requant_t *layer, const int8_t *x, int16_t *y);
void tqs_requant_s8_s16_mve(const tqs_requant_t *layer, const int8_t *x, int16_t *y);
void tqs_requant_s16_s8_dsp(const tqs_requant_t *layer, const int16_t *x, int8_t *y);
void tqs_requant_s16_s8_mve(const tqs_requant_t *layer, const int16_t *x, int8_t *y);

#endif
