/* y = a * b, for Cortex-M. */
#include "tqs_arm.h"
#include "tqs_kernels.h"

/* The values doubled, of a and b as codes. */
typedef struct mul {
    int32_t multiplier;
    int32_t shift;
    int32_t a_zero_point;
    int32_t b_zero_point;
    int32_t offset;
} mul_t;

static inline int8_t product_of(const mul_t *mul, int32_t a, int32_t b) {
    const int32_t doubled = (2 * a - mul->a_zero_point) * (b - mul->b_zero_point);

    return (int8_t)tqs_rescale(doubled, mul->multiplier, mul->shift, mul->offset);
}

void tqs_mul_s8_arm(const tqs_mul_t *layer, const int8_t *a, const int8_t *b, int8_t *y) {
    const mul_t mul = {layer->multiplier, layer->shift, 2 * layer->a_zero_point, layer->b_zero_point,
                       2 * layer->y_zero_point + 1};
    const int8_t *end = a + layer->size;

    if ((layer->size & 1u) != 0u) {
        *y++ = product_of(&mul, *a++, *b++);
    }
    while (a != end) {
        y[0] = product_of(&mul, a[0], b[0]);
        y[1] = product_of(&mul, a[1], b[1]);
        a += 2;
        b += 2;
        y += 2;
    }
}
