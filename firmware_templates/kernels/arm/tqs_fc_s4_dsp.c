/*
 * Dense layer, int4 weights, for cores with the DSP extension (Cortex-M4, M7, M33).
 *
 * A halfword holds four rows of one input: the nibbles of rows 0, 1 and 2 with 8 added, that of row 3 signed, lowest
 * first. As a number it is 4096 * w3 + 256 * w2 + 16 * w1 + w0, so four SMLADs with ever less of it give all sums, and
 * seven instructions eight products:
 *
 *     a = 4096 * s3 + 256 * s2 + 16 * s1 + s0     (the halfword)        b = 16 * s1 + s0     (its low byte)
 *     c = s0     (its lowest nibble)                                    d = s2     (its third nibble)
 *
 * The 8 that was added is taken off beforehand, with the sum of the inputs. Exact for up to 512 inputs: 32767 * 128 *
 * 512 < 2^31.
 *
 * weights: [R / 4][K / 4][2] words, K rounded up to a multiple of four: of each four inputs the even, then the odd
 * pair. scratch: K halfwords, the inputs widened.
 */
#include <string.h>

#include "tqs_arm.h"
#include "tqs_kernels.h"

/* Four codes to pairs (x0, x2), (x1, x3) at to. Returns sum and theirs. */
static inline int32_t widen_four(uint32_t four, int32_t sum, uint32_t **to) {
    const uint32_t ones = 0x00010001u;
    uint32_t odd;

    __asm__ volatile("sxtb16 %1, %0, ror #8\n\tsxtb16 %0, %0\n\tsmlad %2, %0, %4, %2\n\tsmlad %2, %1, %4, %2\n\t"
                     "strd %0, %1, [%3], #8"
                     : "+r"(four), "=&r"(odd), "+r"(sum), "+r"(*to)
                     : "r"(ones)
                     : "memory");
    return sum;
}

/* x: [size] to pairs, filled up with zeros to a multiple of four, at *to, which moves on. Returns the sum of x. */
static int32_t widen(const int8_t *x, uint32_t size, uint32_t **to) {
    int32_t sum = 0;
    uint32_t k;

    for (k = size >> 2; k > 0u; k--) {
        uint32_t four;

        memcpy(&four, x, 4);
        x += 4;
        sum = widen_four(four, sum, to);
    }
    return (size & 3u) != 0u ? widen_four(tqs_last_codes(x, size), sum, to) : sum;
}

/* Two inputs, four rows. */
#define PAIR(word, pair)                                                                                               \
    "smlad %[a], " word ", " pair ", %[a]\n\t"                                                                         \
    "uxtb16 %[p], " word "\n\t"                                                                                        \
    "smlad %[b], %[p], " pair ", %[b]\n\t"                                                                             \
    "and %[p], %[mask], " word ", lsr #8\n\t"                                                                          \
    "smlad %[d], %[p], " pair ", %[d]\n\t"                                                                             \
    "and %[p], %[mask], " word "\n\t"                                                                                  \
    "smlad %[c], %[p], " pair ", %[c]\n\t"

#define STEP                                                                                                           \
    "ldrd r4, r5, [%[in]], #8\n\t"                                                                                     \
    "ldrd r6, r8, [%[w]], #8\n\t" PAIR("r6", "r4") PAIR("r8", "r5")

typedef struct sums {
    int32_t first;
    int32_t second;
} sums_t;

void tqs_fc_s4_dsp(const tqs_fc_t *layer, const int8_t *x, int8_t *y, uint32_t *scratch) {
    const uint32_t *w = layer->weights;
    const tqs_rows_t *rows = layer->rows;
    uint32_t *end = scratch;
    const int32_t added = -8 * widen(x, layer->inputs, &end);
    const uint32_t rest = layer->outputs & 3u;
    const uint32_t offset = (uint32_t)(2 * layer->zero_point + 1) & 0xFFFFu;
    uint32_t blocks = layer->outputs / 4u;
    int8_t part[4];
    const tqs_enter_t enter = {scratch, ((uint32_t)(end - scratch) >> 1) & 7u};
    tqs_leave_t leave = {0, y};
    const int32_t added_b = 16 * added + added;
    const sums_t ab = {256 * added + added_b, added_b};
    const sums_t cd = {added, added};

    for (;;) {
        int32_t a;
        int32_t b;
        int32_t c;
        int32_t d;
        const uint32_t *in;
        uint32_t p;

        if (blocks != 0u) {
            leave.left_offset = ((blocks - 1u) << 16) | offset;
            __asm__ volatile("8: ldrd %[in], %[p], %[enter]\n\t"
                             "ldrd %[a], %[b], %[ab]\n\t"
                             "ldrd %[c], %[d], %[cd]\n\t" TQS_EIGHT_STEPS(
                                 STEP) "sub %[a], %[a], %[b]\n\t"
                                       "sub %[b], %[b], %[c]\n\t"
                                       "rsb %[a], %[d], %[a], asr #8\n\t" TQS_WRITE_ROWS("c", "b", "d", "a", "3")
                             : [a] "=&r"(a), [b] "=&r"(b), [c] "=&r"(c), [d] "=&r"(d), [in] "=&r"(in), [p] "=&r"(p),
                               [w] "+r"(w), [rows] "+r"(rows), [leave] "+m"(leave)
                             : [end] "r"(end), [mask] "r"(0x000F000Fu), [enter] "m"(enter), [ab] "m"(ab), [cd] "m"(cd)
                             : "r4", "r5", "r6", "r8", "cc", "memory");
        }
        if (rest == 0u || leave.to == part + sizeof part) {
            break;
        }
        leave.to = part;
        blocks = 1;
    }
    if (rest != 0u) {
        memcpy(y + layer->outputs - rest, part, rest);
    }
    tqs_clamp(y, layer->outputs, layer->low, layer->high);
}
