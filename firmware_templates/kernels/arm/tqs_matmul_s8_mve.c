/*
 * y = a b, where both are computed, for Helium (Cortex-M55): sixteen products an instruction. See tqs_matmul_chunks.h,
 * and tqs_mve_rows.h for the rounding. Every shift -31 to -1; K * 255 * 255 below 2^30.
 */
#include <arm_mve.h>

#include "tqs_matmul_chunks.h"

#define COLUMN(sum) "vldrb.8 %q[t], [%[w]], #16\n\tvmladava.s8 %[" sum "], %q[x], %q[t]\n\t"

static inline void meet(const tqs_matmul_t *layer, const int8_t *a, uint32_t rows, const uint32_t *packed, int8_t *y,
                        uint32_t y_step) {
    const uint32_t inner = layer->inner;
    const int32_t b_zero_point = layer->b_zero_point;
    const int32x4_t constants = vldrwq_s32((const int32_t *)packed);
    const int32x4_t multiplier = vdupq_n_s32(layer->multiplier);
    const int32x4_t shift = vdupq_n_s32(layer->shift);
    const int32x4_t y_zero_point = vdupq_n_s32(layer->y_zero_point);

    for (; rows > 0u; rows--) {
        const int8_t *in = a;
        const int8_t *w = (const int8_t *)(packed + TQS_CODES);
        register int32_t sum0 __asm__("r0") = 0; /* VMLADAVA wants an even one */
        register int32_t sum1 __asm__("r2") = 0;
        register int32_t sum2 __asm__("r4") = 0;
        register int32_t sum3 __asm__("r6") = 0;
        register int32_t sum_a __asm__("r8") = 0;
        int32x4_t sums;
        int8x16_t t;

        __asm__ volatile("wlstp.8 lr, %[inner], 2f\n\t"
                         "1:\n\t"
                         "vldrb.8 %q[x], [%[in]], #16\n\t" COLUMN("sum0") COLUMN("sum1") COLUMN("sum2")
                             COLUMN("sum3") "vaddva.s8 %[sum_a], %q[x]\n\t"
                                            "letp lr, 1b\n\t"
                                            "2:\n\t"
                                            "vmov %q[x][2], %q[x][0], %[sum0], %[sum2]\n\t"
                                            "vmov %q[x][3], %q[x][1], %[sum1], %[sum3]\n\t"
                         : [in] "+r"(in), [w] "+r"(w), [sum0] "+r"(sum0), [sum1] "+r"(sum1), [sum2] "+r"(sum2),
                           [sum3] "+r"(sum3), [sum_a] "+r"(sum_a), [x] "=&w"(sums), [t] "=&w"(t)
                         : [inner] "r"(inner)
                         : "lr", "memory");
        sums = vsubq_n_s32(vaddq_s32(sums, constants), sum_a * b_zero_point);
        sums = vqrdmulhq_s32(sums, multiplier);
        sums = vrshlq_s32(vqdmlahq_n_s32(sums, sums, 1), shift);
        sums = vaddq_s32(sums, y_zero_point);
        __asm__ volatile("vqmovnb.s32 %q[x], %q[x]\n\t"
                         "vqmovnb.s16 %q[x], %q[x]\n\t" /* the low byte of each word */
                         "vstrb.32 %q[x], [%[y]]\n\t"
                         : [x] "+w"(sums)
                         : [y] "l"(y)
                         : "memory");
        a += inner;
        y += y_step;
    }
}

void tqs_matmul_s8_mve(const tqs_matmul_t *layer, const int8_t *a, const int8_t *b, int8_t *y, uint32_t *scratch) {
    tqs_matmul_blocks(layer, a, b, y, scratch, tqs_pack_columns, meet);
}
