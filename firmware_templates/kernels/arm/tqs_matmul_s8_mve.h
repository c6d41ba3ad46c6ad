/*
 * Products of two activations of int8 codes for Helium (Cortex-M55): sixteen products an instruction. See
 * tqs_matmul_chunks.h. K * 255 * 255 below 2^30.
 */
#ifndef TQS_MATMUL_S8_MVE_H
#define TQS_MATMUL_S8_MVE_H

#include <arm_mve.h>

#include "tqs_matmul_chunks.h"

#define TQS_COLUMN(sum) "vldrb.8 %q[t], [%[w]], #16\n\tvmladava.s8 %[" sum "], %q[x], %q[t]\n\t"

/* Writes the codes of four sums. */
typedef void (*tqs_mve_put_t)(const tqs_matmul_t *layer, int32x4_t sums, int8_t *y);

static inline void tqs_meet_chunks(const tqs_matmul_t *layer, const int8_t *a, uint32_t rows, const uint32_t *packed,
                                   int8_t *y, uint32_t y_step, tqs_mve_put_t write) {
    const uint32_t inner = layer->inner;
    const int32_t b_zero_point = layer->b_zero_point;
    const int32x4_t constants = vldrwq_s32((const int32_t *)packed);

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
                         "vldrb.8 %q[x], [%[in]], #16\n\t" TQS_COLUMN("sum0") TQS_COLUMN("sum1") TQS_COLUMN("sum2")
                             TQS_COLUMN("sum3") "vaddva.s8 %[sum_a], %q[x]\n\t"
                                                "letp lr, 1b\n\t"
                                                "2:\n\t"
                                                "vmov %q[x][2], %q[x][0], %[sum0], %[sum2]\n\t"
                                                "vmov %q[x][3], %q[x][1], %[sum1], %[sum3]\n\t"
                         : [in] "+r"(in), [w] "+r"(w), [sum0] "+r"(sum0), [sum1] "+r"(sum1), [sum2] "+r"(sum2),
                           [sum3] "+r"(sum3), [sum_a] "+r"(sum_a), [x] "=&w"(sums), [t] "=&w"(t)
                         : [inner] "r"(inner)
                         : "lr", "memory");
        sums = vsubq_n_s32(vaddq_s32(sums, constants), sum_a * b_zero_point);
        write(layer, sums, y);
        a += inner;
        y += y_step;
    }
}

#endif
