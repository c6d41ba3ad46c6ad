/*
 * y = a b, where both are computed, int16, for Helium (Cortex-M55): eight products an instruction. See
 * tqs_matmul_s16.h.
 *
 * scratch: [K / 8][2][8] codes, K rounded up to a multiple of eight: of each eight inputs those of both columns. What
 * is filled up is not read.
 */
#include <arm_mve.h>

#include "tqs_matmul_s16.h"

static inline void pack(const tqs_matmul_t *layer, const int16_t *b, int16_t *to) {
    const uint32_t step = layer->inner_step;
    const uint16x8_t offsets = vmulq_n_u16(vidupq_n_u16(0, 1), (uint16_t)step);
    int32_t left;

    for (left = layer->inner; left > 0; left -= 8, b += 8u * step, to += 16) {
        const mve_pred16_t here = vctp16q((uint32_t)left);

        vstrhq_p_s16(to, vldrhq_gather_shifted_offset_z_s16(b, offsets, here), here);
    }
}

static inline const int16_t *meet(const int16_t *row, uint32_t inner, const uint32_t *packed, int64_t *sums) {
    const int16_t *a = row;
    const uint32_t *w = packed;
    int64_t s0 = 0; /* VMLALDAVA wants an even register and the next, which this core's int64_t are in */
    int64_t s1 = 0;
    int16x8_t x;
    int16x8_t t;
    int16x8_t u;

    __asm__ volatile("wlstp.16 lr, %[inner], 2f\n\t"
                     "1:\n\t"
                     "vldrh.16 %q[x], [%[a]], #16\n\t"
                     "vldrh.16 %q[t], [%[w]], #16\n\t"
                     "vmlaldava.s16 %Q[s0], %R[s0], %q[x], %q[t]\n\t"
                     "vldrh.16 %q[u], [%[w]], #16\n\t"
                     "vmlaldava.s16 %Q[s1], %R[s1], %q[x], %q[u]\n\t"
                     "letp lr, 1b\n\t"
                     "2:\n\t"
                     : [s0] "+r"(s0), [s1] "+r"(s1), [a] "+r"(a), [w] "+r"(w), [x] "=&w"(x), [t] "=&w"(t), [u] "=&w"(u)
                     : [inner] "r"(inner)
                     : "lr", "memory");
    sums[0] = s0;
    sums[1] = s1;
    return row + inner;
}

void tqs_matmul_s16_mve(const tqs_matmul_t *layer, const int16_t *a, const int16_t *b, int16_t *y, uint32_t *scratch) {
    tqs_matmul_pairs(layer, a, b, y, scratch, 8, pack, meet);
}
