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

/* What a block finds in memory, in the order in which the code below reads it. */
typedef struct tqs_mve_layer {
    const int8_t *x; /* the first of the chunks that are loaded anew */
    uint32_t count;  /* of them */
    uint32_t next;   /* the code after the half chunk; written there */
    int8_t *part; /* where the last block goes if it has fewer than four rows, once the whole ones are done; or NULL */
    uint32_t blocks; /* that are left; written there while chunks are loaded anew */
} tqs_mve_layer_t;

/* x[0] to x[count - 1], and zeros; all sixteen where count is more. */
static inline int8x16_t tqs_mve_load(const int8_t *x, uint32_t count) {
    int8x16_t values;

    __asm__("vctp.8 %[count]\n\tvpst\n\tvldrbt.8 %q[values], [%[x]]"
            : [values] "=w"(values)
            : [x] "r"(x), [count] "r"(count)
            : "p0", "memory");
    return values;
}

/* The first eight values twice. */
static inline int8x16_t tqs_mve_twice(int8x16_t values) {
    int32_t low;
    int32_t high;

    __asm__("vmov %[low], %[high], %e[values]\n\tvmov %f[values], %[low], %[high]"
            : [values] "+w"(values), [low] "=&r"(low), [high] "=&r"(high));
    return values;
}

/* y within [low, high]; most layers need no more than what saturation does. y: [size] */
static inline void tqs_mve_clamp(int8_t *y, uint32_t size, int8_t low, int8_t high) {
    if (low > -128 || high < 127) {
        const int8x16_t least = vdupq_n_s8(low);
        const int8x16_t most = vdupq_n_s8(high);
        int8x16_t codes;

        __asm__ volatile("wlstp.8 lr, %[size], 2f\n\t"
                         "1:\n\t"
                         "vldrb.8 %q[codes], [%[y]]\n\t"
                         "vmax.s8 %q[codes], %q[codes], %q[least]\n\t"
                         "vmin.s8 %q[codes], %q[codes], %q[most]\n\t"
                         "vstrb.8 %q[codes], [%[y]], #16\n\t"
                         "letp lr, 1b\n\t"
                         "2:\n\t"
                         : [y] "+r"(y), [codes] "=&w"(codes)
                         : [size] "r"(size), [least] "w"(least), [most] "w"(most)
                         : "lr", "memory");
    }
}

/*
 * CHUNK(x) multiplies the inputs x with the next weights in eight instructions; HALF does the half chunk, %q[twice],
 * under a predicate that is true for the first eight lanes. Both add to the sums %[a0] to %[a3], move %[w] on, and may
 * write over %q[t] and %q[u]; HALF also over %q[s]. SUMS_SCALAR makes of %[a0] to %[a3], and SUMS_VECTOR of the vector
 * %q[s] of them, the sums of the four rows, whose registers are in the order that LDM wants.
 *
 * Rounded twice: VQRDMULH is SaturatingRoundingDoublingHighMul. RoundingDivideByPOT(h, e) for e > 0 is (h - (h < 0) +
 * 2^(e - 1)) >> e, that is VRSHL of h + (h >> 31), which VQDMLAH computes: h * 2^32 + 2 * h, its high word.
 */
#define TQS_MVE_HELD(CHUNK) CHUNK("%q[x0]") CHUNK("%q[x1]") CHUNK("%q[x2]") CHUNK("%q[x3]")
#define TQS_MVE_BLOCKS(CHUNK, HALF, SUMS_SCALAR, SUMS_VECTOR)                                                          \
    __asm__ volatile("ldr lr, [%[layer], #16]\n\t"                                                                     \
                     "adr.w %[a0], 4f\n\t"                                                                             \
                     "add %[start], %[start], %[a0]\n\t"                                                               \
                     "ldr %[a0], [%[layer], #4]\n\t"                                                                   \
                     "cmp %[a0], #0\n\tbeq 0f\n\t"                                                                     \
                     "adr.w %[start], 2f\n\t"                                                                          \
                     "0:\n\t"                                                                                          \
                     "orr %[start], %[start], #1\n\t" /* Thumb code */                                                 \
                     "cmp %[in], #0\n\tbeq 0f\n\t"                                                                     \
                     "str %[start], [%[layer], #8]\n\t"                                                                \
                     "adr.w %[start], 1f\n\t"                                                                          \
                     "orr %[start], %[start], #1\n\t"                                                                  \
                     "mov %[in], #8\n\t"                                                                               \
                     "vctp.8 %[in]\n\t"                                                                                \
                     "0:\n\t"                                                                                          \
                     "ldm %[rows]!, {%[a0], %[a1], %[a2], %[a3]}\n\t"                                                  \
                     "bx %[start]\n\t"                                                                                 \
                     "1:\n\t" HALF "ldr pc, [%[layer], #8]\n\t"                                                        \
                     "2:\n\t"                                                                                          \
                     "str lr, [%[layer], #16]\n\t"                                                                     \
                     "ldrd %[in], lr, [%[layer]]\n\t"                                                                  \
                     "3:\n\t"                                                                                          \
                     "vldrb.8 %q[s], [%[in]], #16\n\t" CHUNK("%q[s]") "le lr, 3b\n\t"                                  \
                                                                      "ldr lr, [%[layer], #16]\n\t"                    \
                                                                      "4:\n\t" TQS_MVE_HELD(CHUNK) SUMS_SCALAR         \
                     "vmov %q[s][2], %q[s][0], %[a0], %[a2]\n\t"                                                       \
                     "vmov %q[s][3], %q[s][1], %[a1], %[a3]\n\t"                                                       \
                     "vldrw.32 %q[t], [%[rows]], #16\n\t" SUMS_VECTOR "vqrdmulh.s32 %q[s], %q[s], %q[t]\n\t"           \
                     "vldrb.s32 %q[t], [%[rows]], #4\n\t"                                                              \
                     "vqdmlah.s32 %q[s], %q[s], %[one]\n\t"                                                            \
                     "vrshl.s32 %q[s], %q[s], %q[t]\n\t"                                                               \
                     "vadd.i32 %q[s], %q[s], %[zero_point]\n\t"                                                        \
                     "vqmovnb.s32 %q[s], %q[s]\n\t"                                                                    \
                     "vqmovnb.s16 %q[s], %q[s]\n\t" /* the low byte of each word */                                    \
                     "vstrb.32 %q[s], [%[y]], #4\n\t"                                                                  \
                     "le lr, 0b\n\t"                                                                                   \
                     "ldr %[a0], [%[layer], #12]\n\t"                                                                  \
                     "cmp %[a0], #0\n\tbeq 5f\n\t"                                                                     \
                     "mov %[y], %[a0]\n\t"                                                                             \
                     "mov lr, #0\n\t"                                                                                  \
                     "str lr, [%[layer], #12]\n\t"                                                                     \
                     "mov lr, #1\n\t"                                                                                  \
                     "b.w 0b\n\t"                                                                                      \
                     "5:\n\t"                                                                                          \
                     : [a0] "=&r"(a0), [a1] "=&r"(a1), [a2] "=&r"(a2), [a3] "=&r"(a3), [w] "+r"(w), [rows] "+l"(rows), \
                       [y] "+l"(to), [start] "+&r"(start), [in] "+&r"(half), [s] "=&w"(s), [t] "=&w"(t), [u] "=&w"(u)  \
                     : [layer] "r"(held), [zero_point] "r"(zero_point), [one] "r"(1), [x0] "w"(x0), [x1] "w"(x1),      \
                       [x2] "w"(x2), [x3] "w"(x3), [twice] "w"(twice)                                                  \
                     : "lr", "p0", "cc", "memory")

/* What does not change from one output sample to the next. */
typedef struct tqs_mve_plan {
    const int8_t *weights;
    const tqs_rows_t *rows;
    uint32_t half;   /* inputs of the half chunk */
    uint32_t chunks; /* the last of them may be filled up */
    uint32_t last;   /* inputs of that */
    uint32_t start;  /* of the code of the chunks that are held, from that of four */
    uint32_t blocks; /* of four rows */
    uint32_t left;   /* rows behind them */
    int32_t zero_point;
} tqs_mve_plan_t;

/* held: what TQS_MVE_SAMPLE does not write there. */
static inline void tqs_mve_begin(const tqs_fc_t *layer, tqs_mve_plan_t *plan, tqs_mve_layer_t *held) {
    const uint32_t inputs = layer->inputs;
    const uint32_t rest = inputs % TQS_CHUNK_INPUTS;
    const uint32_t half = rest <= 8u ? rest : 0u;
    const uint32_t chunks = (inputs - half + TQS_CHUNK_INPUTS - 1u) / TQS_CHUNK_INPUTS;

    plan->weights = layer->weights;
    plan->rows = layer->rows;
    plan->half = half;
    plan->chunks = chunks;
    plan->last = inputs - (chunks - 1u) * TQS_CHUNK_INPUTS;
    plan->blocks = layer->outputs / 4u;
    plan->left = layer->outputs % 4u;
    plan->zero_point = layer->zero_point;
    plan->start = 0;
    held->count = 0;
    held->part = NULL;
    if (chunks < TQS_HELD_CHUNKS) {
        plan->start = (TQS_HELD_CHUNKS - chunks) * TQS_CHUNK_CODE;
    } else {
        held->count = chunks - TQS_HELD_CHUNKS;
    }
}

/*
 * One output sample of a dense kernel, from x to y: not clamped yet. The last chunks, those that are held, are ``step``
 * codes apart; that is 16 where there are more, or a half chunk. fewer: [4], the
 * last block where it has fewer than four rows. See TQS_MVE_BLOCKS.
 */
#define TQS_MVE_SAMPLE(plan, held, fewer, x, step, y, CHUNK, HALF, SUMS_SCALAR, SUMS_VECTOR)                           \
    do {                                                                                                               \
        const uint32_t left = (plan)->left;                                                                            \
        const uint32_t chunks = (plan)->chunks;                                                                        \
        const int32_t zero_point = (plan)->zero_point;                                                                 \
        const int8_t *w = (plan)->weights;                                                                             \
        const tqs_rows_t *rows = (plan)->rows;                                                                         \
        uint32_t half = (plan)->half;                                                                                  \
        uint32_t start = (plan)->start;                                                                                \
        int8x16_t x0 = vuninitializedq_s8();                                                                           \
        int8x16_t x1 = x0;                                                                                             \
        int8x16_t x2 = x0;                                                                                             \
        int8x16_t x3 = x0;                                                                                             \
        int8x16_t twice = x0;                                                                                          \
        int8x16_t s;                                                                                                   \
        int8x16_t t;                                                                                                   \
        int8x16_t u;                                                                                                   \
        int8_t *to = y;                                                                                                \
        register int32_t a0 __asm__("r0"); /* VMLADAVA wants an even one */                                            \
        register int32_t a1 __asm__("r2");                                                                             \
        register int32_t a2 __asm__("r4");                                                                             \
        register int32_t a3 __asm__("r6");                                                                             \
                                                                                                                       \
        if (half > 0u) {                                                                                               \
            twice = tqs_mve_twice(tqs_mve_load(x + chunks * TQS_CHUNK_INPUTS, half));                                  \
        }                                                                                                              \
        if (chunks > 0u) {                                                                                             \
            const int8_t *from = x + (chunks - 1u) * (step);                                                           \
                                                                                                                       \
            x3 = tqs_mve_load(from, (plan)->last);                                                                     \
            if (chunks > 1u) {                                                                                         \
                x2 = vldrbq_s8(from - (step));                                                                         \
                if (chunks > 2u) {                                                                                     \
                    x1 = vldrbq_s8(from - 2u * (step));                                                                \
                    if (chunks > 3u) {                                                                                 \
                        x0 = vldrbq_s8(from - 3u * (step));                                                            \
                    }                                                                                                  \
                }                                                                                                      \
            }                                                                                                          \
        }                                                                                                              \
        (held)->x = x;                                                                                                 \
        (held)->blocks = (plan)->blocks;                                                                               \
        if (left > 0u) {                                                                                               \
            if ((plan)->blocks > 0u) {                                                                                 \
                (held)->part = fewer;                                                                                  \
            } else {                                                                                                   \
                to = fewer;                                                                                            \
                (held)->blocks = 1;                                                                                    \
            }                                                                                                          \
        }                                                                                                              \
        TQS_MVE_BLOCKS(CHUNK, HALF, SUMS_SCALAR, SUMS_VECTOR);                                                         \
        if (left > 0u) {                                                                                               \
            memcpy((y) + 4u * (plan)->blocks, fewer, left);                                                            \
        }                                                                                                              \
    } while (0)

/* What a dense kernel does, whose parameters are layer, x and y. */
#define TQS_MVE_DENSE(CHUNK, HALF, SUMS_SCALAR, SUMS_VECTOR)                                                           \
    do {                                                                                                               \
        tqs_mve_plan_t plan;                                                                                           \
        tqs_mve_layer_t found;                                                                                         \
        tqs_mve_layer_t *held = &found;                                                                                \
        int8_t last[4];                                                                                                \
                                                                                                                       \
        tqs_mve_begin(layer, &plan, held);                                                                             \
        TQS_MVE_SAMPLE(&plan, held, last, x, 16u, y, CHUNK, HALF, SUMS_SCALAR, SUMS_VECTOR);                           \
        tqs_mve_clamp(y, layer->outputs, layer->low, layer->high);                                                     \
    } while (0)

#endif
