/*
 * y = a * b, int16, for Helium (Cortex-M55): eight at a time, the products of the even ones in one vector, of the odd
 * ones in another. Every shift -31 to -1. See tqs_mve_rows.h for the rounding.
 */
#include <arm_mve.h>

#include "tqs_kernels_s16.h"

void tqs_mul_s16_mve(const tqs_scale_s16_t *layer, const int16_t *a, const int16_t *b, int16_t *y) {
    const int32_t multiplier = layer->multiplier;
    const int32_t shift = layer->shift;
    int32_t left;

    for (left = layer->size; left > 0; left -= 8) {
        const mve_pred16_t here = vctp16q((uint32_t)left);
        const int16x8_t of_a = vldrhq_z_s16(a, here);
        const int16x8_t of_b = vldrhq_z_s16(b, here);
        int32x4_t even = vqrdmulhq_n_s32(vmullbq_int_s16(of_a, of_b), multiplier);
        int32x4_t odd = vqrdmulhq_n_s32(vmulltq_int_s16(of_a, of_b), multiplier);

        even = vrshlq_n_s32(vqdmlahq_n_s32(even, even, 1), shift);
        odd = vrshlq_n_s32(vqdmlahq_n_s32(odd, odd, 1), shift);
        vstrhq_p_s16(y, vqmovntq_s32(vqmovnbq_s32(vuninitializedq_s16(), even), odd), here);
        a += 8;
        b += 8;
        y += 8;
    }
}
