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

/* The taps of an output sample that lie within the window: ``taps`` of them from ``tap`` on, the first at sample ``at``
 * of x.
 */
typedef struct tqs_reach {
    uint32_t at;
    uint32_t tap;
    uint32_t taps;
} tqs_reach_t;

static inline tqs_reach_t tqs_depthwise_reach(const tqs_depthwise_t *layer, uint32_t sample) {
    const int32_t samples = layer->samples;
    const uint32_t dilation = layer->dilation;
    int32_t at = (int32_t)(sample * layer->stride) - layer->left;
    tqs_reach_t reach = {(uint32_t)at, 0, layer->taps};

    if (at >= 0 && at + (int32_t)((reach.taps - 1u) * dilation) < samples) {
        return reach;
    }
    reach.taps = 0;
    for (; reach.tap < layer->taps && at < 0; reach.tap++) {
        at += (int32_t)dilation;
    }
    reach.at = (uint32_t)at;
    for (; reach.tap + reach.taps < layer->taps && at < samples; reach.taps++) {
        at += (int32_t)dilation;
    }
    return reach;
}

/* The weight of that number, of those of four bits. */
static inline int32_t tqs_depthwise_nibble(const int8_t *weights, uint32_t number) {
    const int32_t nibble = (int32_t)((uint32_t)(uint8_t)weights[number >> 1] >> (4u * (number & 1u))) & 15;

    return (nibble ^ 8) - 8;
}

/* x: [W][C], y: [y_samples][M]; they must not overlap. */
void tqs_depthwise_s8(const tqs_depthwise_t *layer, const int8_t *x, int8_t *y);
void tqs_depthwise_s8_dsp(const tqs_depthwise_t *layer, const int8_t *x, int8_t *y);
void tqs_depthwise_s8_mve(const tqs_depthwise_t *layer, const int8_t *x, int8_t *y);
void tqs_depthwise_s8_neon(const tqs_depthwise_t *layer, const int8_t *x, int8_t *y);
void tqs_depthwise_s16(const tqs_depthwise_t *layer, const int16_t *x, int16_t *y);
void tqs_depthwise_s16_dsp(const tqs_depthwise_t *layer, const int16_t *x, int16_t *y);
void tqs_depthwise_s16_mve(const tqs_depthwise_t *layer, const int16_t *x, int16_t *y);
void tqs_depthwise_s16_neon(const tqs_depthwise_t *layer, const int16_t *x, int16_t *y);

#endif
