/*
 * y = x in another scale and zero point, for cores with the DSP extension (Cortex-M4, M7, M33).
 *
 * A shift to the left is part of the factor that codes are multiplied by, and nothing is rounded after the high
 * product. A shift to the right rounds as in tqs_mul_s8_dsp. The high products stay below 2^9 then, so a shift by more
 * than 22 gives what one by 22 does, the zero point.
 */
#include "tqs_arm.h"
#include "tqs_kernels.h"

/* high: (code * factor + start) * multiplier >> 32, rounded. y: high + offset - (high < 0 ? below : 0) >> shift. */
typedef struct scale {
    int32_t factor;
    int32_t start;
    int32_t multiplier;
    int32_t offset;
    int32_t shift;
} scale_t;

static inline void put_code(int8_t **y, const scale_t *scale, int32_t code, int32_t below) {
    const int32_t scaled = code * scale->factor + scale->start;
    const int32_t offset = below != 0 ? scale->offset + (scaled >> 31) : scale->offset;
    int32_t high;

    __asm__("smmlar %0, %1, %2, %3" : "=r"(high) : "r"(scaled), "r"(scale->multiplier), "r"(offset));
    tqs_put(y, tqs_saturate_s8(below != 0 ? high >> scale->shift : high));
}

static inline void put_codes(int8_t *y, const scale_t *scale, const int8_t *x, uint32_t size, int32_t below) {
    const int8_t *end = x + size;

    for (size &= 3u; size > 0u; size--) {
        put_code(&y, scale, tqs_take(&x), below);
    }
    while (x != end) {
        put_code(&y, scale, tqs_take(&x), below);
        put_code(&y, scale, tqs_take(&x), below);
        put_code(&y, scale, tqs_take(&x), below);
        put_code(&y, scale, tqs_take(&x), below);
    }
}

void tqs_requant_s8_dsp(const tqs_requant_t *layer, const int8_t *x, int8_t *y) {
    const int32_t right = layer->shift < -22 ? 22 : -layer->shift;
    const int32_t factor = right > 0 ? 2 : 2 << -right;
    scale_t scale = {factor, -layer->x_zero_point * factor, layer->multiplier, layer->y_zero_point, right};

    if (right <= 0) {
        put_codes(y, &scale, x, layer->size, 0);
    } else {
        scale.offset = (2 * layer->y_zero_point + 1) * (1 << (right - 1));
        put_codes(y, &scale, x, layer->size, 1);
    }
}
