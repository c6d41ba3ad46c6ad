/* y = x in another scale, int16 codes to int8 ones, for Helium (Cortex-M55): four at a time, for any shift. */
#include <arm_mve.h>

#include "tqs_kernels.h"

void tqs_requant_s16_s8_mve(const tqs_requant_t *layer, const int16_t *x, int8_t *y) {
    const int32_t up = layer->shift > 0 ? layer->shift : 0;
    const int32_t down = layer->shift < 0 ? layer->shift : 0;
    const int32_t rounds = layer->shift < 0 ? 1 : 0; /* a shift by 0 rounds nothing */
    const int32_t multiplier = layer->multiplier;
    const int16_t zero_point = layer->y_zero_point;
    int32_t left;

    for (left = layer->size; left > 0; left -= 4) {
        const mve_pred16_t here = vctp32q((uint32_t)left);
        int32x4_t value = vqrdmulhq_n_s32(vshlq_r_s32(vldrhq_z_s32(x, here), up), multiplier);
        int16x8_t code;

        value = vrshlq_n_s32(vqdmlahq_n_s32(value, value, rounds), down); /* the rounding of tqs_mve_rows.h */
        code = vqaddq_n_s16(vqmovnbq_s32(vuninitializedq_s16(), value), zero_point);
        vstrbq_p_s32(y, (int32x4_t)vqmovnbq_s16(vuninitializedq_s8(), code), here);
        x += 4;
        y += 4;
    }
}
