/* What the dense kernels for int16 activations share on cores with the DSP extension (Cortex-M4, M7, M33, M55). */
#ifndef TQS_FC_S16_DSP_H
#define TQS_FC_S16_DSP_H

#include <string.h>

#include "tqs_kernels_s16.h"

/* The inputs behind the last four, filled up with zeros. last: [4] */
static inline void tqs_last_inputs(const int16_t *x, uint32_t inputs, int16_t *last) {
    const uint32_t rest = inputs % 4u;

    memset(last, 0, 4u * sizeof *last);
    memcpy(last, x + (inputs - rest), rest * sizeof *last);
}

/*
 * Four outputs, or as many as are left, from the sums of the products: tqs_rescale_s16 in 32 bits but for one product.
 * The code generator has checked that each sum with its bias is below 2^31, and that shifts are at least 17 or the
 * multiplier 0. (p + 2^(s - 1)) >> s is ((p >> (s - 1)) + 1) >> 1.
 */
static inline void tqs_write_rows_s16(const tqs_fc_s16_t *layer, const tqs_rows_s16_t *rows, const int32_t sums[4],
                                      int16_t *y, uint32_t left) {
    const int32_t low = layer->low;
    const int32_t high = layer->high;
    uint32_t i;

    for (i = 0; i < 4u && i < left; i++) {
        const int64_t product = (int64_t)(rows->bias[i] + sums[i]) * rows->multiplier[i];
        const int32_t value = ((int32_t)(product >> (rows->shift[i] - 1)) + 1) >> 1;

        y[i] = (int16_t)(value < low ? low : value > high ? high : value);
    }
}

#endif
