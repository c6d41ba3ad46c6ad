/* y = exp(x) over its sum, row by row, int16: both functions are tables, 128 codes a step. */
#include "tqs_attention.h"
#include "tqs_requantize.h"

/* x: -32768 to 32767, the whole table. */
static int32_t look_up(const int16_t *table, int32_t x) {
    const int16_t *entry = table + 256 + (x >> 7);

    return entry[0] + (((entry[1] - entry[0]) * (x & 127) + 64) >> 7);
}

void tqs_softmax_s16(const tqs_softmax_s16_t *layer, const int16_t *x, int16_t *y) {
    const uint32_t columns = layer->columns;
    uint32_t row;

    for (row = layer->rows; row > 0u; row--) {
        int32_t largest = x[0];
        int32_t sum = 0; /* 15 fraction bits; at most 65535 of them fit */
        int32_t shift = 14;
        int32_t scale;
        uint32_t k;

        for (k = 1; k < columns; k++) {
            largest = x[k] > largest ? x[k] : largest;
        }
        for (k = 0; k < columns; k++) {
            const int32_t below = tqs_requantize(x[k] - largest, layer->multiplier, layer->shift) + 32767;

            y[k] = (int16_t)look_up(layer->exponentials, below < -32768 ? -32768 : below);
            sum += y[k];
        }
        /* sum = (1 + a) 2^shift; the table wants a in the codes of int16. */
        while ((sum >> shift) > 1) {
            shift++;
        }
        scale = (int32_t)((((int64_t)sum << (30 - shift)) + (1 << 13)) >> 14) - 3 * 32768;
        scale = look_up(layer->reciprocals, scale > 32767 ? 32767 : scale);
        for (k = 0; k < columns; k++) {
            const int32_t code = (int32_t)(((int64_t)y[k] * scale + ((int32_t)1 << (shift - 1))) >> shift);

            y[k] = (int16_t)(code > 32767 ? 32767 : code);
        }
        x += columns;
        y += columns;
    }
}
