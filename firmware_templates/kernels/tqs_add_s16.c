/* y = a + b or a - b, int16. */
#include "tqs_kernels_s16.h"
#include "tqs_requantize.h"
#include "tqs_rescale_s16.h"

/* The multiplier of a half, which that of the operand with the larger scale is: it comes to 2^14 times its codes. */
#define HALF ((int32_t)1 << 30)

/*
 * tflite's left_shift for int16 (tensorflow/lite/kernels/add.cc) is 15: operands reach 2^30, and are halved before the
 * sum. So the high half of value * 2^16 * multiplier, rounded, is what tqs_requantize makes of value * 2^15 first; and
 * neither it nor the sum, at most 2^30, leaves 32 bits with half a unit of the shift on top.
 */
void tqs_add_s16(const tqs_add_s16_t *layer, const int16_t *a, const int16_t *b, int16_t *y) {
    const int32_t sign = layer->subtract != 0u ? -1 : 1;
    const int a_is_larger = layer->a_multiplier == HALF && layer->a_shift == 0;
    const int16_t *larger = a_is_larger ? a : b;
    const int16_t *other = a_is_larger ? b : a;
    const int32_t unit = a_is_larger ? 16384 : sign * 16384;
    const int32_t of_other = a_is_larger ? sign : 1;
    const int32_t multiplier = a_is_larger ? layer->b_multiplier : layer->a_multiplier;
    const int32_t shift = a_is_larger ? -layer->b_shift : -layer->a_shift;
    const int16_t *end = larger + layer->size;

    while (larger < end) {
        const int32_t high = (int32_t)(((int64_t)(*other++ * 65536) * multiplier + ((int64_t)1 << 31)) >> 32);
        const int64_t sum = *larger++ * unit + of_other * tqs_shift_right(high, shift);
        const int32_t scaled = (int32_t)((sum * layer->y_multiplier + ((int64_t)1 << 30)) >> 31);

        *y++ = tqs_saturate_s16(tqs_shift_right(scaled, -layer->y_shift));
    }
}
