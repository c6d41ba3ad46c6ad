/*
 * y = exp(x) over its sum, row by row. gemmlowp's fixed point (fixedpoint.h), as tflite-micro's softmax uses it; the
 * comments say how many of a value's 31 bits are its fraction.
 */
#include "tqs_attention.h"
#include "tqs_requantize.h"

/* a * b * 2^-31, rounded; half goes up. */
static int32_t multiply_high(int32_t a, int32_t b) {
    return (int32_t)(((int64_t)a * b + ((int64_t)1 << 30)) >> 31);
}

/* 1 / (1 + a), a in [0, 1), both with 31 fraction bits: three steps of Newton and Raphson for d = (1 + a) / 2. */
static int32_t one_over_one_plus(int32_t a) {
    const int32_t d = (int32_t)(((uint32_t)a + 0x80000000u) >> 1);
    int32_t x = 1515870810 + multiply_high(d, -1010580540); /* 48 / 17 - 32 / 17 d, 29 fraction bits */
    int32_t turn;

    for (turn = 0; turn < 3; turn++) {
        x += multiply_high(x, ((int32_t)1 << 29) - multiply_high(d, x)) * 4;
    }
    /* x is 2 / (1 + a): halved and with 31 fraction bits it is twice the number. */
    return x >= (int32_t)1 << 30 ? 0x7fffffff : x * 2;
}

void tqs_softmax_s8(const tqs_softmax_t *layer, const int8_t *x, int8_t *y) {
    const uint32_t columns = layer->columns;
    const int32_t known = layer->known;
    uint32_t row;

    for (row = layer->rows; row > 0u; row--) {
        int32_t largest = x[0];
        uint32_t sum = 0; /* 19 fraction bits; at least 1.0, which the largest adds */
        int32_t shift = 23;
        int32_t scale;
        uint32_t k;

        for (k = 1; k < columns; k++) {
            largest = x[k] > largest ? x[k] : largest;
        }
        for (k = 0; k < columns; k++) {
            const int32_t below = largest - x[k];

            if (below < known) {
                sum += ((uint32_t)layer->table[below] + (1u << 11)) >> 12;
            }
        }
        /* sum = (1 + a) 2^n, n = shift - 23. */
        while ((sum >> (shift - 3)) != 0u) {
            shift++;
        }
        scale = one_over_one_plus((int32_t)((sum << (35 - shift)) & 0x7fffffffu));
        for (k = 0; k < columns; k++) {
            const int32_t below = largest - x[k];
            int32_t code = 0;

            if (below < known) {
                /* Neither factor is negative, so this rounds as gemmlowp's RoundingDivideByPOT. */
                code = multiply_high(scale, layer->table[below]);
                code = (code >> shift) + ((code >> (shift - 1)) & 1);
            }
            y[k] = (int8_t)((code > 255 ? 255 : code) - 128);
        }
        x += columns;
        y += columns;
    }
}
