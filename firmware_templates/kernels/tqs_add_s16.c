/* y = a + b or a - b, int16. */
#include "tqs_kernels_s16.h"
#include "tqs_requantize.h"
#include "tqs_rescale_s16.h"

/* tflite's left_shift for int16 (tensorflow/lite/kernels/add.cc): operands reach 2^30, and are halved before the sum.
 */
#define HEADROOM ((int32_t)1 << 15)

void tqs_add_s16(const tqs_add_s16_t *layer, const int16_t *a, const int16_t *b, int16_t *y) {
    uint32_t i;

    for (i = 0; i < layer->size; i++) {
        const int32_t left = tqs_requantize(a[i] * HEADROOM, layer->a_multiplier, layer->a_shift);
        const int32_t right = tqs_requantize(b[i] * HEADROOM, layer->b_multiplier, layer->b_shift);
        const int32_t sum = layer->subtract != 0u ? left - right : left + right;

        y[i] = tqs_saturate_s16(tqs_requantize(sum, layer->y_multiplier, layer->y_shift));
    }
}
