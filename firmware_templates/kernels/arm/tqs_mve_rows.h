/*
 * The loop over blocks of four rows that the dense kernels for Helium (Cortex-M55) share: where the inputs are held and
 * how sums become codes. A kernel adds its products.
 *
 * Sixteen inputs are a chunk. The last inputs of a layer, if they are one to eight more than whole chunks, are its half
 * chunk: they lie twice in one vector, so that one vector of weights serves two rows. If they are more, the last chunk
 * is filled up with zeros. Each block of weights is
 *
 *     the half chunk, if there is one        (held)
 *     chunks whose inputs are loaded anew    (a loop)
 *     the last four chunks, or all           (held)
 *
 * and a block jumps over what its layer does not have. All is one statement, for no compiler keeps nine pointers and
 * eight vectors in registers by itself.
 *
 * The layer struct is that of tqs_kernels.h; shifts are -31 to -1.
 */
#ifndef TQS_MVE_ROWS_H
#define TQS_MVE_ROWS_H

#include <arm_mve.h>
#include <string.h>

#include "tqs_kernels.h"

#define TQS_CHUNK_INPUTS 16u
#define TQS_HELD_CHUNKS 4u
#define TQS_CHUNK_CODE 32u /* bytes of machine code of a CHUNK: eight instructions of four */

/* What is not held in registers: read in this order. */
typedef struct tqs_mve_chunks {
    const int8_t *x; /* the first of the chunks that are loaded anew */
    uint32_t count;  /* of them */
    uint32_t next;   /* where a block goes on after its half chunk; written by TQS_MVE_BLOCKS */
} tqs_mve_chunks_t;

/* The inputs of a layer in registers. */
typedef struct tqs_mve_inputs {
    tqs_mve_chunks_t chunks;
    uint32_t held; /* chunks in x0 to x3, the last one in x3 */
    uint32_t half; /* inputs of the half chunk */
    int8x16_t x0;
    int8x16_t x1;
    int8x16_t x2;
    int8x16_t x3;
    int8x16_t twice; /* the half chunk */
} tqs_mve_inputs_t;

/* x: [inputs]; nothing behind it is read. */
static inline __attribute__((always_inline)) tqs_mve_inputs_t tqs_mve_hold(const int8_t *x, uint32_t inputs) {
    tqs_mve_inputs_t in;
    const uint32_t rest = inputs % TQS_CHUNK_INPUTS;
    const uint32_t half = rest <= 8u ? rest : 0u;
    const uint32_t chunks = (inputs - half + TQS_CHUNK_INPUTS - 1u) / TQS_CHUNK_INPUTS;
    const uint32_t held = chunks < TQS_HELD_CHUNKS ? chunks : TQS_HELD_CHUNKS;

    in.chunks.x = x;
    in.chunks.count = chunks - held;
    in.chunks.next = 0;
    in.held = held;
    in.half = half;
    in.x0 = in.x1 = in.x2 = in.x3 = in.twice = vdupq_n_s8(0);
    if (half > 0u) {
        const int8_t *from = x + chunks * TQS_CHUNK_INPUTS;
        const uint8x16_t twice = vandq_u8(vidupq_n_u8(0, 1), vdupq_n_u8(7)); /* 0 to 7, 0 to 7 */

        in.twice = vldrbq_gather_offset_z_s8(from, twice, vcmphiq_u8(vdupq_n_u8((uint8_t)half), twice));
    }
    if (held > 0u) {
        const uint32_t first = (chunks - 1u) * TQS_CHUNK_INPUTS;
        const int8_t *from = x + first;

        in.x3 = vldrbq_z_s8(from, vctp8q(inputs - first));
        if (held > 1u) {
            in.x2 = vldrbq_s8(from - 16);
            if (held > 2u) {
                in.x1 = vldrbq_s8(from - 32);
                if (held > 3u) {
                    in.x0 = vldrbq_s8(from - 48);
                }
            }
        }
    }
    return in;
}

/* y within [low, high]; most layers need no more than what saturation does. y: [size] */
static inline void tqs_mve_clamp(int8_t *y, uint32_t size, int8_t low, int8_t high) {
    if (low > -128 || high < 127) {
        const int8x16_t least = vdupq_n_s8(low);
        const int8x16_t most = vdupq_n_s8(high);
        int32_t left;

        for (left = (int32_t)size; left > 0; left -= 16, y += 16) {
            const mve_pred16_t here = vctp8q((uint32_t)left);

            vstrbq_p_s8(y, vminq_s8(vmaxq_s8(vldrbq_z_s8(y, here), least), most), here);
        }
    }
}

/*
 * CHUNK(x) multiplies the inputs x with the next weights in eight instructions; HALF does the half chunk, %q[twice],
 * under a predicate that is true for the first eight lanes. Both add to the sums %[a0] to %[a3], move %[w] on, and may
 * write over %q[t] and %q[u]; HALF also over %q[s]. SUMS_SCALAR makes of %[a0] to %[a3], and SUMS_VECTOR of the vector
 * %q[s] of them, the sums of the four rows.
 *
 * Rounded twice: VQRDMULH is SaturatingRoundingDoublingHighMul. RoundingDivideByPOT(h, e) for e > 0 is (h - (h < 0) +
 * 2^(e - 1)) >> e, that is VRSHL of h + (h >> 31).
 */
#define TQS_MVE_HELD(CHUNK) CHUNK("%q[x0]") CHUNK("%q[x1]") CHUNK("%q[x2]") CHUNK("%q[x3]")
#define TQS_MVE_BLOCKS(CHUNK, HALF, SUMS_SCALAR, SUMS_VECTOR)                                                          \
    __asm__ volatile("adr.w %[a0], 3f\n\t"                                                                             \
                     "add %[start], %[start], %[a0]\n\t"                                                               \
                     "ldr %[a0], [%[chunks], #4]\n\t"                                                                  \
                     "cmp %[a0], #0\n\t"                                                                               \
                     "it ne\n\t"                                                                                       \
                     "adrne.w %[start], 2f\n\t"                                                                        \
                     "orr %[start], %[start], #1\n\t" /* Thumb code */                                                 \
                     "cmp %[in], #0\n\t"                                                                               \
                     "ittt ne\n\t"                                                                                     \
                     "strne %[start], [%[chunks], #8]\n\t"                                                             \
                     "adrne.w %[start], 1f\n\t"                                                                        \
                     "orrne %[start], %[start], #1\n\t"                                                                \
                     "mov %[in], #8\n\t"                                                                               \
                     "vctp.8 %[in]\n\t"                                                                                \
                     "0:\n\t"                                                                                          \
                     "ldrd %[a0], %[a1], [%[rows]], #8\n\t"                                                            \
                     "ldrd %[a2], %[a3], [%[rows]], #8\n\t"                                                            \
                     "bx %[start]\n\t"                                                                                 \
                     "1:\n\t" HALF "ldr pc, [%[chunks], #8]\n\t"                                                       \
                     "2:\n\t"                                                                                          \
                     "ldrd %[in], lr, [%[chunks]]\n\t"                                                                 \
                     "dls lr, lr\n\t"                                                                                  \
                     "4:\n\t"                                                                                          \
                     "vldrb.8 %q[s], [%[in]], #16\n\t" CHUNK("%q[s]") "le lr, 4b\n\t"                                  \
                                                                      "3:\n\t" TQS_MVE_HELD(CHUNK) SUMS_SCALAR         \
                     "vmov %q[s][2], %q[s][0], %[a0], %[a2]\n\t"                                                       \
                     "vmov %q[s][3], %q[s][1], %[a1], %[a3]\n\t"                                                       \
                     "vldrw.32 %q[t], [%[rows]], #16\n\t" SUMS_VECTOR "vqrdmulh.s32 %q[s], %q[s], %q[t]\n\t"           \
                     "vldrb.s32 %q[t], [%[rows]], #4\n\t"                                                              \
                     "vshr.s32 %q[u], %q[s], #31\n\t"                                                                  \
                     "vadd.i32 %q[s], %q[s], %q[u]\n\t"                                                                \
                     "vrshl.s32 %q[s], %q[s], %q[t]\n\t"                                                               \
                     "vadd.i32 %q[s], %q[s], %[zero_point]\n\t"                                                        \
                     "vqmovnb.s32 %q[s], %q[s]\n\t"                                                                    \
                     "vqmovnb.s16 %q[s], %q[s]\n\t" /* the low byte of each word */                                    \
                     "vstrb.32 %q[s], [%[y]], #4\n\t"                                                                  \
                     "subs %[blocks], #1\n\t"                                                                          \
                     "bne.w 0b\n\t"                                                                                    \
                     : [a0] "=&Te"(a0), [a1] "=&Te"(a1), [a2] "=&Te"(a2), [a3] "=&Te"(a3), [w] "+r"(w),                \
                       [rows] "+r"(rows), [y] "+r"(to), [blocks] "+r"(blocks), [start] "+&r"(start), [in] "+&r"(half), \
                       [s] "=&w"(s), [t] "=&w"(t), [u] "=&w"(u)                                                        \
                     : [chunks] "r"(&in.chunks), [zero_point] "r"(zero_point), [x0] "w"(in.x0), [x1] "w"(in.x1),       \
                       [x2] "w"(in.x2), [x3] "w"(in.x3), [twice] "w"(in.twice)                                         \
                     : "lr", "p0", "cc", "memory")

/*
 * What a dense kernel does, whose parameters are layer, x and y; see TQS_MVE_BLOCKS. The rows that are left over go
 * through a buffer.
 */
#define TQS_MVE_DENSE(CHUNK, HALF, SUMS_SCALAR, SUMS_VECTOR)                                                           \
    do {                                                                                                               \
        tqs_mve_inputs_t in = tqs_mve_hold(x, layer->inputs);                                                          \
        const int8_t *w = layer->weights;                                                                              \
        const tqs_rows_t *rows = layer->rows;                                                                          \
        const int32_t zero_point = layer->zero_point;                                                                  \
        const uint32_t left = layer->outputs % 4u;                                                                     \
        uint32_t blocks = layer->outputs / 4u;                                                                         \
        int8_t part[4];                                                                                                \
        int8_t *to = y;                                                                                                \
                                                                                                                       \
        for (;;) {                                                                                                     \
            uint32_t start = (TQS_HELD_CHUNKS - in.held) * TQS_CHUNK_CODE;                                             \
            uint32_t half = in.half;                                                                                   \
            int8x16_t s;                                                                                               \
            int8x16_t t;                                                                                               \
            int8x16_t u;                                                                                               \
            int32_t a0;                                                                                                \
            int32_t a1;                                                                                                \
            int32_t a2;                                                                                                \
            int32_t a3;                                                                                                \
                                                                                                                       \
            if (blocks > 0u) {                                                                                         \
                TQS_MVE_BLOCKS(CHUNK, HALF, SUMS_SCALAR, SUMS_VECTOR);                                                 \
            }                                                                                                          \
            if (left == 0u || to == part + 4) {                                                                        \
                break;                                                                                                 \
            }                                                                                                          \
            to = part;                                                                                                 \
            blocks = 1;                                                                                                \
        }                                                                                                              \
        if (left > 0u) {                                                                                               \
            memcpy(y + layer->outputs - left, part, left);                                                             \
        }                                                                                                              \
        tqs_mve_clamp(y, layer->outputs, layer->low, layer->high);                                                     \
    } while (0)

#endif
