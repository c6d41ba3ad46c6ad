/* y = logistic(x) or tanh(x), int16: one function, since both read one table. */
#include "tqs_requantize.h" /* for its check of >> */
#include "tqs_sigmoid.h"

/* x in units of 1 / 12288. */
static int32_t scaled(const tqs_sigmoid_s16_t *layer, int32_t x) {
    const int32_t half = (int32_t)(((uint32_t)1 << layer->shift) >> 1);

    return (x * layer->multiplier + half) >> layer->shift;
}

/* The table at entry + rest / 2^bits, with as many more bits. entry: 0 to 254. */
static int32_t between(uint32_t entry, uint32_t rest, uint32_t bits) {
    const uint32_t low = tqs_sigmoid_table[entry];

    return (int32_t)((low << bits) + rest * (tqs_sigmoid_table[entry + 1u] - low));
}

void tqs_sigmoid_s16(const tqs_sigmoid_s16_t *layer, const int16_t *x, int16_t *y) {
    /* tanh(x) is 2 logistic(2 x) - 1: the same magnitude is twice as far in the table. */
    const uint32_t bits = layer->tanh != 0u ? 8u : 9u;
    uint32_t i;

    for (i = 0; i < layer->size; i++) {
        const int32_t value = scaled(layer, x[i]);
        const uint32_t magnitude = (uint32_t)(value < 0 ? -value : value);
        const uint32_t entry = magnitude >> bits;

        if (layer->tanh != 0u) {
            const int32_t found = entry >= 255u ? 0xFFFF << 8 : between(entry, magnitude & 255u, 8);

            y[i] = (int16_t)((value >= 0 ? found - (1 << 23) + 128 : (1 << 23) - found + 127) >> 8);
        } else {
            const int32_t found = entry >= 255u ? 0x7FFF << 10 : between(entry, magnitude & 511u, 9);

            y[i] = (int16_t)((value >= 0 ? found + 512 : (1 << 25) - found + 511) >> 10);
        }
    }
}
