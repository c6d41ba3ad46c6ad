/* y = a + b or a - b. */
#include "tqs_kernels.h"
#include "tqs_requantize.h"

/* tflite's left_shift for int8 (tensorflow/lite/kernels/add.cc): operands span 9 bits, so sums stay below 2^30. */
#define HEADROOM ((int32_t)1 << 20)

void tqs_add_s8(const tqs_add_t *layer, const int8_t *a, const int8_t *b, int8_t *y) {
    uint32_t i;

    for (i = 0; i < layer->size; i++) {
        const int32_t left =
            tqs_requantize((a[i] - layer->a_zero_point) * HEADROOM, layer->a_multiplier, layer->a_shift);
        const int32_t right =
            tqs_requantize((b[i] - layer->b_zero_point) * HEADROOM, layer->b_multiplier, layer->b_shift);
        const int32_t sum = layer->subtract != 0u ? left - right : left + right;

        y[i] = tqs_saturate(tqs_requantize(sum, layer->y_multiplier, layer->y_shift), layer->y_zero_point, -128, 127);
    }
}
