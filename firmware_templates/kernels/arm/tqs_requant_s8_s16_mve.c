/* y = x in another scale, int8 codes to int16 ones, for Helium (Cortex-M55): four at a time, for any shift. */
#include <arm_mve.h>

#include "tqs_kernels.h"

void tqs_requant_s8_s16_mve(const tqs_requant_t *layer, const int8_t *x, int16_t *y) {
    const int32_t up = layer->shift > 0 ? layer->shift : 0;
    const int32_t down = layer->shift < 0 ? layer->shift : 0;
    const int32_t rounds = layer->shift < 0 ? 1 : 0; /* a shift by 0 rounds nothing */
    const int32_t multiplier = layer->multiplier;
    const int32_t zero_point = layer->x_zero_point;
    int32_t left;

    for (left = layer->size; left > 0; left -= 4) {
        const mve_pred16_t here = vctp32q((uint32_t)left);
        int32x4_t value = vshlq_r_s32(vsubq_n_s32(vldrbq_z_s32(x, here), zero_point), up);

        value = vqrdmulhq_n_s32(value, multiplier); /* the rounding of tqs_mve_rows.h */
        value = vrshlq_n_s32(vqdmlahq_n_s32(value, value, rounds), down);
        vstrhq_p_s32(y, (int32x4_t)vqmovnbq_s32(vuninitializedq_s16(), value), here);
        x += 4;
        y += 4;
    }
}
