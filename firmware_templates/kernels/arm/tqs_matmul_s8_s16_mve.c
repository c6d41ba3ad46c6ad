/*
 * y = a b, where both are computed, of int8 codes to int16 ones, for Helium (Cortex-M55). See tqs_matmul_s8_mve.h, and
 * tqs_fc_s16_mve.h for the rounding. K * 255 * 255 below 2^29, every shift at least 15: sums are taken times four.
 */
#include "tqs_matmul_s8_mve.h"

static inline void put(const tqs_matmul_t *layer, int32x4_t sums, int8_t *y) {
    sums = vmulhq_s32(vshlq_n_s32(sums, 2), vdupq_n_s32(layer->multiplier * 65536));
    sums = vrshlq_n_s32(sums, 14 - layer->shift);
    vstrhq_s32((int16_t *)y, (int32x4_t)vqmovnbq_s32(vuninitializedq_s16(), sums));
}

static inline void meet(const tqs_matmul_t *layer, const int8_t *a, uint32_t rows, const uint32_t *packed, int8_t *y,
                        uint32_t y_step) {
    tqs_meet_chunks(layer, a, rows, packed, y, y_step, put);
}

void tqs_matmul_s8_s16_mve(const tqs_matmul_t *layer, const int8_t *a, const int8_t *b, int16_t *y, uint32_t *scratch) {
    tqs_matmul_blocks(layer, a, b, (int8_t *)y, 2, scratch, tqs_pack_columns, meet);
}
