/*
 * y = a b, where both are computed, for Helium (Cortex-M55). See tqs_matmul_s8_mve.h, and tqs_mve_rows.h for the
 * rounding. Every shift -31 to -1.
 */
#include "tqs_matmul_s8_mve.h"

static inline void put(const tqs_matmul_t *layer, int32x4_t sums, int8_t *y) {
    sums = vqrdmulhq_n_s32(sums, layer->multiplier);
    sums = vrshlq_n_s32(vqdmlahq_n_s32(sums, sums, 1), layer->shift);
    sums = vaddq_n_s32(sums, layer->y_zero_point);
    __asm__ volatile("vqmovnb.s32 %q[x], %q[x]\n\t"
                     "vqmovnb.s16 %q[x], %q[x]\n\t" /* the low byte of each word */
                     "vstrb.32 %q[x], [%[y]]\n\t"
                     : [x] "+w"(sums)
                     : [y] "l"(y)
                     : "memory");
}

static inline void meet(const tqs_matmul_t *layer, const int8_t *a, uint32_t rows, const uint32_t *packed, int8_t *y,
                        uint32_t y_step) {
    tqs_meet_chunks(layer, a, rows, packed, y, y_step, put);
}

void tqs_matmul_s8_mve(const tqs_matmul_t *layer, const int8_t *a, const int8_t *b, int8_t *y, uint32_t *scratch) {
    tqs_matmul_blocks(layer, a, b, y, 1, scratch, tqs_pack_columns, meet);
}
