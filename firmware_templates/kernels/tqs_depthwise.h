/* Each channel convolved over time with filters of its own, for int8 and int16 activations. */
#ifndef TQS_DEPTHWISE_H
#define TQS_DEPTHWISE_H

#include <stdint.h>

/*
 * y[t][c * m + j] = activation(sum over k of w[k][c * m + j] * x[t * stride + k * dilation - left][c] + b[c * m + j]);
 * beyond the window lie zeros, the code x_zero_point. M is C * m.
 *
 * weights: [K][M], a byte a weight, or with width 4 two a byte, the first in the low nibble. Zero points of int16 are
 * 0, its sums have 64 bits and its multipliers 15, see tqs_rescale_s16.h.
 */
typedef struct tqs_depthwise {
    const int8_t *weights;
    const int32_t *bias;       /* [M], in units of the accumulator */
    const int32_t *multiplier; /* [M] */
    const int8_t *shift;       /* [M] */
    uint16_t samples;          /* W */
    uint16_t channels;         /* C */
    uint16_t y_samples;
    uint16_t multiplicity; /* m */
    uint16_t taps;         /* K; K * dilation is below 65536 */
    uint16_t stride;
    uint16_t dilation;
    uint16_t left; /* zeros before the window */
    int16_t x_zero_point;
    int16_t y_zero_point;
    int16_t low; /* y is clamped to [low, high] */
    int16_t high;
    uint8_t width; /* of a weight, 4 or 8 bits */
} tqs_depthwise_t;

/* The weight of that number. */
static inline int32_t tqs_depthwise_weight(const tqs_depthwise_t *layer, uint32_t number) {
    int32_t nibble;

    if (layer->width == 8u) {
        return layer->weights[number];
    }
    nibble = (int32_t)((uint32_t)(uint8_t)layer->weights[number >> 1] >> (4u * (number & 1u))) & 15;
    return (nibble ^ 8) - 8;
}

/* x: [W][C], y: [y_samples][M]; they must not overlap. */
void tqs_depthwise_s8(const tqs_depthwise_t *layer, const int8_t *x, int8_t *y);
void tqs_depthwise_s16(const tqs_depthwise_t *layer, const int16_t *x, int16_t *y);

#endif
