/*
 * What the kernels for Cortex-M share: tflite-micro's double rounding in as few instructions as each core has for it.
 *
 * The layer structs are those of tqs_kernels.h, but for what is said of each kernel in
 * edge_tqs/emit_c/dense_kernels.py: weights lie in the kernel's own order, biases are doubled, and shifts are kept as
 * -1 - shift. The code generator gives a layer to these kernels only where every shift is -31 to -1 and every
 * accumulator stays below 2^30.
 */
#ifndef TQS_ARM_H
#define TQS_ARM_H

#include <stdint.h>
#include <string.h>

#include "tqs_kernels.h"

/* (a * b + 2^31) >> 32. With a doubled value it is gemmlowp's SaturatingRoundingDoublingHighMul. |a| < 2^31. */
static inline int32_t tqs_high_half(int32_t a, int32_t b) {
#if defined(__ARM_FEATURE_DSP)
    int32_t high;

    __asm__("smmulr %0, %1, %2" : "=r"(high) : "r"(a), "r"(b));
    return high;
#elif defined(__ARM_ARCH_6M__) || defined(__ARM_ARCH_8M_BASE__)
    /* These cores multiply to 32 bits. Four products of halves; b is not negative. */
    const int32_t a_high = a >> 16;
    const uint32_t a_low = (uint32_t)a & 0xFFFFu;
    const int32_t b_high = b >> 16;
    const uint32_t b_low = (uint32_t)b & 0xFFFFu;
    const uint32_t middle = a_low * (uint32_t)b_high + ((a_low * b_low) >> 16); /* below 2^31 + 2^16 */
    const int32_t other = a_high * (int32_t)b_low + (int32_t)((middle & 0xFFFFu) + 0x8000u);

    return a_high * b_high + (int32_t)(middle >> 16) + (other >> 16);
#else
    const int64_t product = (int64_t)a * b;

    return (int32_t)(product >> 32) + (int32_t)((uint32_t)product >> 31);
#endif
}

/* value within [-128, 127]. */
static inline int32_t tqs_saturate_s8(int32_t value) {
#if defined(__ARM_FEATURE_SAT)
    int32_t result;

    __asm__("ssat %0, #8, %1" : "=r"(result) : "r"(value));
    return result;
#else
    if ((uint32_t)(value + 128) > 255u) {
        value = (value >> 31) ^ 127;
    }
    return value;
#endif
}

/*
 * The code of doubled / 2 * multiplier * 2^-(shift + 32), rounded twice, with the zero point in offset = 2 * zero_point
 * + 1.
 *
 * RoundingDivideByPOT(h, e) for e > 0 is (h - (h < 0) + 2^(e - 1)) >> e; shifting by e - 1 first, then adding 1 and
 * shifting once more, gives the same and needs no power of two. shift: e - 1.
 */
static inline int32_t tqs_rescale(int32_t doubled, int32_t multiplier, int32_t shift, int32_t offset) {
    int32_t high = tqs_high_half(doubled, multiplier);

    high += high >> 31;
    high = (high >> shift) + offset;
#if defined(__ARM_FEATURE_SAT)
    __asm__("ssat %0, #8, %0, asr #1" : "+r"(high));
    return high;
#else
    return tqs_saturate_s8(high >> 1);
#endif
}

/* The code of a sum that was scaled by 2^22. */
static inline int32_t tqs_code_of_sum(int32_t sum) {
#if defined(__ARM_FEATURE_SAT)
    __asm__("ssat %0, #8, %0, asr #22" : "+r"(sum));
    return sum;
#else
    return tqs_saturate_s8(sum >> 22);
#endif
}

/* The code at *from, and *from moved on: in one instruction, which compilers do not find in an unrolled loop. */
static inline int32_t tqs_take(const int8_t **from) {
#if __ARM_ARCH >= 7
    int32_t code;

    __asm__ volatile("ldrsb %0, [%1], #1" : "=r"(code), "+r"(*from) : : "memory");
    return code;
#else
    return *(*from)++;
#endif
}

/* The low byte of code to *to, and *to moved on. */
static inline void tqs_put(int8_t **to, int32_t code) {
#if __ARM_ARCH >= 7
    __asm__ volatile("strb %1, [%0], #1" : "+r"(*to) : "r"(code) : "memory");
#else
    *(*to)++ = (int8_t)code;
#endif
}

/* Four outputs, or as many as are left, from their sums, doubled. y: [4], or [left]. */
static inline void tqs_write_rows(const tqs_rows_t *rows, int32_t sum0, int32_t sum1, int32_t sum2, int32_t sum3,
                                  int32_t offset, int8_t *y, int32_t left) {
    int8_t part[4];
    int8_t *to = left >= 4 ? y : part;

    to[0] = (int8_t)tqs_rescale(rows->bias[0] + sum0, rows->multiplier[0], rows->shift[0], offset);
    to[1] = (int8_t)tqs_rescale(rows->bias[1] + sum1, rows->multiplier[1], rows->shift[1], offset);
    to[2] = (int8_t)tqs_rescale(rows->bias[2] + sum2, rows->multiplier[2], rows->shift[2], offset);
    to[3] = (int8_t)tqs_rescale(rows->bias[3] + sum3, rows->multiplier[3], rows->shift[3], offset);
    if (left < 4) {
        memcpy(y, part, (uint32_t)left);
    }
}

#if defined(__ARM_FEATURE_DSP)
/*
 * What tqs_fc_s8_dsp and tqs_fc_s4_dsp share: the loop over blocks of four rows is one piece of assembly, for all
 * fourteen registers are in use and what a compiler spills costs as much as the products of a short row.
 */
typedef struct tqs_enter {
    const uint32_t *in; /* the first of the widened inputs */
    uint32_t odd;       /* steps, modulo those of the loop */
} tqs_enter_t;

typedef struct tqs_leave {
    uint32_t left_offset; /* blocks after this one in the upper halfword, 2 * zero_point + 1 in the lower */
    int8_t *to;           /* the next output */
} tqs_leave_t;

/* The last size % 4 codes, which begin at x, as a word filled up with zeros: from a word that ends with them. */
static inline uint32_t tqs_last_codes(const int8_t *x, uint32_t size) {
    uint32_t rest = size & 3u;
    uint32_t four = 0;

    if (size >= 4u) {
        memcpy(&four, x - (4u - rest), 4);
        return four >> (8u * (4u - rest));
    }
    for (; rest > 0u; rest--) {
        four = four << 8 | (uint8_t)x[rest - 1u];
    }
    return four;
}

/* A loop of four or eight steps, entered at the step that leaves a multiple of so many: after odd, which is in p. */
#define TQS_FOUR_STEPS(step)                                                                                           \
    "tbb [pc, %[p]]\n"                                                                                                 \
    "90: .byte (94f - 90b) / 2, (91f - 90b) / 2, (92f - 90b) / 2, (93f - 90b) / 2\n"                                   \
    "94:\n\t" step "93:\n\t" step "92:\n\t" step "91:\n\t" step "cmp %[in], %[end]\n\tbne 94b\n\t"

#define TQS_EIGHT_STEPS(step)                                                                                          \
    "tbb [pc, %[p]]\n"                                                                                                 \
    "90: .byte (98f - 90b) / 2, (91f - 90b) / 2, (92f - 90b) / 2, (93f - 90b) / 2\n"                                   \
    ".byte (94f - 90b) / 2, (95f - 90b) / 2, (96f - 90b) / 2, (97f - 90b) / 2\n"                                       \
    "98:\n\t" step "97:\n\t" step "96:\n\t" step "95:\n\t" step "94:\n\t" step "93:\n\t" step "92:\n\t" step           \
    "91:\n\t" step "cmp %[in], %[end]\n\tbne 98b\n\t"

#define TQS_ROW(sum, next)                                                                                             \
    "add %[" sum "], %[" sum "], %[" sum "], asr #31\n\t"                                                              \
    "asr %[" sum "], %[" sum "], r4\n\t" next "sxtah %[" sum "], %[" sum "], %[p]\n\t"                                 \
    "ssat %[" sum "], #8, %[" sum "], asr #1\n\t"                                                                      \
    "strb %[" sum "], [%[in]], #1\n\t"
#define TQS_NEXT_SHIFT "lsr r4, #8\n\t" /* a shift by a register takes its low byte */

/*
 * tqs_write_rows in as few instructions as there are: four words a load, and the doubling in the addition of the bias.
 * The sums of rows 1 and 3 come times 2^4 (odd = "3") or 2^8 ("7"). Then the next block, from label 8 on.
 */
#define TQS_WRITE_ROWS(s0, s1, s2, s3, odd)                                                                            \
    "ldmia %[rows]!, {r4, r5, r6, r8}\n\t"                                                                             \
    "add %[" s0 "], r4, %[" s0 "], lsl #1\n\t"                                                                         \
    "add %[" s1 "], r5, %[" s1 "], asr #" odd "\n\t"                                                                   \
    "add %[" s2 "], r6, %[" s2 "], lsl #1\n\t"                                                                         \
    "add %[" s3 "], r8, %[" s3 "], asr #" odd "\n\t"                                                                   \
    "ldmia %[rows]!, {r4, r5, r6, r8}\n\t"                                                                             \
    "smmulr %[" s0 "], %[" s0 "], r4\n\t"                                                                              \
    "smmulr %[" s1 "], %[" s1 "], r5\n\t"                                                                              \
    "smmulr %[" s2 "], %[" s2 "], r6\n\t"                                                                              \
    "smmulr %[" s3 "], %[" s3 "], r8\n\t"                                                                              \
    "ldr r4, [%[rows]], #4\n\t"                                                                                        \
    "ldrd %[p], %[in], %[leave]\n\t" TQS_ROW(s0, TQS_NEXT_SHIFT) TQS_ROW(s1, TQS_NEXT_SHIFT)                           \
        TQS_ROW(s2, TQS_NEXT_SHIFT) TQS_ROW(s3, "") "subs %[p], #65536\n\t"                                            \
                                                    "strd %[p], %[in], %[leave]\n\t"                                   \
                                                    "bcs 8b\n\t"
#endif

/* y within [low, high]; most layers need no more than what saturation does. */
static inline void tqs_clamp(int8_t *y, uint32_t size, int32_t low, int32_t high) {
    uint32_t i;

    if (low > -128 || high < 127) {
        for (i = 0; i < size; i++) {
            const int32_t value = y[i];

            y[i] = (int8_t)(value < low ? low : value > high ? high : value);
        }
    }
}

#endif
