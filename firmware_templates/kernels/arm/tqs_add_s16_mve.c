/*
 * y = a + b or a - b, int16, for Helium (Cortex-M55): four at a time. Every shift -31 to 0. See tqs_mve_rows.h for the
 * rounding; a shift by 0 rounds nothing.
 */
#include <arm_mve.h>

#include "tqs_kernels_s16.h"

static inline int32x4_t rescale(int32x4_t values, int32_t multiplier, int32_t shift) {
    const int32x4_t high = vqrdmulhq_n_s32(values, multiplier);

    return vrshlq_n_s32(vqdmlahq_n_s32(high, high, shift < 0 ? 1 : 0), shift);
}

void tqs_add_s16_mve(const tqs_add_s16_t *layer, const int16_t *a, const int16_t *b, int16_t *y) {
    const tqs_add_s16_t held = *layer; /* y may alias it */
    const int32_t sign = held.subtract != 0u ? -1 : 1;
    int32_t left;

    for (left = held.size; left > 0; left -= 4) {
        const mve_pred16_t here = vctp32q((uint32_t)left);
        const int32x4_t from_a = rescale(vshlq_n_s32(vldrhq_z_s32(a, here), 15), held.a_multiplier, held.a_shift);
        const int32x4_t from_b = rescale(vshlq_n_s32(vldrhq_z_s32(b, here), 15), held.b_multiplier, held.b_shift);
        const int32x4_t sum = rescale(vmlaq_n_s32(from_a, from_b, sign), held.y_multiplier, held.y_shift);

        vstrhq_p_s32(y, (int32x4_t)vqmovnbq_s32(vuninitializedq_s16(), sum), here);
        a += 4;
        b += 4;
        y += 4;
    }
}
