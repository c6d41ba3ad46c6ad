/* What a convolution over time reads, for codes of any size. */
#ifndef TQS_TAPS_H
#define TQS_TAPS_H

#include <stdint.h>

/*
 * A convolution over time is a dense layer at each output sample, whose K * I inputs are the I channels of each of K
 * taps; its weights are those of a dense layer. tqs_taps_s8 finds these inputs: in x where they lie side by side, else
 * in buffer, which it fills. Beyond the window lie zeros, the code zero_point. It moves bytes: int16
 * codes are two each, and their zero point is 0.
 */
typedef struct tqs_taps {
    uint16_t samples;  /* W */
    uint16_t channels; /* I, or 2 I for int16 codes: bytes of a sample */
    uint16_t taps;     /* K */
    uint16_t stride;   /* from one output sample to the next */
    uint16_t dilation; /* from one tap to the next */
    uint16_t left;     /* zeros before the window */
    int8_t zero_point; /* of x */
} tqs_taps_t;

/* x: [W][I], buffer: [K][I]; they must not overlap. Returns the inputs of output sample ``sample``, [K][I]. */
const int8_t *tqs_taps_s8(const tqs_taps_t *layer, const int8_t *x, uint32_t sample, int8_t *buffer);

#endif
