/*
 * What the softmax kernels of int8 codes share: gemmlowp's fixed point (fixedpoint.h), as tflite-micro's softmax uses
 * it; the comments say how many of a value's 31 bits are its fraction.
 */
#ifndef TQS_SOFTMAX_H
#define TQS_SOFTMAX_H

#include "tqs_attention.h"
#include "tqs_requantize.h"

/* a * b * 2^-31, rounded; half goes up. */
static inline int32_t tqs_multiply_high(int32_t a, int32_t b) {
    return (int32_t)(((int64_t)a * b + ((int64_t)1 << 30)) >> 31);
}

/* 1 / (1 + a), a in [0, 1), both with 31 fraction bits: three steps of Newton and Raphson for d = (1 + a) / 2. */
static inline int32_t tqs_one_over_one_plus(int32_t a) {
    const int32_t d = (int32_t)(((uint32_t)a + 0x80000000u) >> 1);
    int32_t x = 1515870810 + tqs_multiply_high(d, -1010580540); /* 48 / 17 - 32 / 17 d, 29 fraction bits */
    int32_t turn;

    for (turn = 0; turn < 3; turn++) {
        x += tqs_multiply_high(x, ((int32_t)1 << 29) - tqs_multiply_high(d, x)) * 4;
    }
    /* x is 2 / (1 + a): halved and with 31 fraction bits it is twice the number. */
    return x >= (int32_t)1 << 30 ? 0x7fffffff : x * 2;
}

/* What a row's exponentials are multiplied by, and shifted to the right by after that. */
typedef struct tqs_share {
    int32_t scale;
    int32_t shift; /* at least 23 */
} tqs_share_t;

/* sum: of a row's exponentials, with 19 fraction bits; at least 1.0, which the largest adds. */
static inline tqs_share_t tqs_share_of(uint32_t sum) {
    tqs_share_t share = {0, 23};

    /* sum = (1 + a) 2^n, n = shift - 23. */
    while ((sum >> (share.shift - 3)) != 0u) {
        share.shift++;
    }
    share.scale = tqs_one_over_one_plus((int32_t)((sum << (35 - share.shift)) & 0x7fffffffu));
    return share;
}

#endif
