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

/* x: [size] to pairs (x0, x2), (x1, x3), filled up with zeros to a multiple of four. Returns the sum of x. */
static int32_t widen(const int8_t *x, uint32_t size, uint32_t *scratch) {
    const uint32_t ones = 0x00010001u;
    int32_t sum = 0;
    uint32_t k;

    for (k = size >> 2; k > 0u; k--) {
        uint32_t four;
        uint32_t even;
        uint32_t odd;

        memcpy(&four, x, 4);
        x += 4;
        __asm__("sxtb16 %0, %3\n\tsxtb16 %1, %3, ror #8\n\tsmlad %2, %0, %4, %2\n\tsmlad %2, %1, %4, %2"
                : "=&r"(even), "=&r"(odd), "+r"(sum)
                : "r"(four), "r"(ones));
        scratch[0] = even;
        scratch[1] = odd;
        scratch += 2;
    }
    if ((size & 3u) != 0u) {
        const int32_t rest = (int32_t)(size & 3u);

        scratch[0] = (uint16_t)x[0] | (rest > 2 ? (uint32_t)(uint16_t)x[2] << 16 : 0u);
        scratch[1] = rest > 1 ? (uint16_t)x[1] : 0u;
        sum += x[0] + (rest > 1 ? x[1] : 0) + (rest > 2 ? x[2] : 0);
    }
    return sum;
}

/* Two inputs, four rows. */
#define PAIR(word, pair)                                                                                               \
    "smlad %[a], " word ", " pair ", %[a]\n\t"                                                                         \
    "uxtb16 %[t], " word "\n\t"                                                                                        \
    "smlad %[b], %[t], " pair ", %[b]\n\t"                                                                             \
    "and %[t], %[mask], " word ", lsr #8\n\t"                                                                          \
    "smlad %[d], %[t], " pair ", %[d]\n\t"                                                                             \
    "and %[t], %[mask], " word "\n\t"                                                                                  \
    "smlad %[c], %[t], " pair ", %[c]\n\t"

#define STEP                                                                                                           \
    __asm__ volatile("ldrd %[p], %[q], [%[in]], #8\n\t"                                                                \
                     "ldrd %[u], %[v], [%[w]], #8\n\t" PAIR("%[u]", "%[p]") PAIR("%[v]", "%[q]")                       \
                     : [a] "+r"(a), [b] "+r"(b), [c] "+r"(c), [d] "+r"(d), [in] "+r"(in), [w] "+r"(w), [p] "=&r"(p),   \
                       [q] "=&r"(q), [u] "=&r"(u), [v] "=&r"(v), [t] "=&r"(t)                                          \
                     : [mask] "r"(mask)                                                                                \
                     : "memory")

void tqs_fc_s4_dsp(const tqs_fc_t *layer, const int8_t *x, int8_t *y, uint32_t *scratch) {
    const uint32_t *w = layer->weights;
    const tqs_rows_t *rows = layer->rows;
    const int32_t offset = 2 * layer->zero_point + 1;
    const uint32_t mask = 0x000F000Fu;
    const int32_t added = -8 * widen(x, layer->inputs, scratch);
    const uint32_t words = ((uint32_t)layer->inputs + 3u) / 4u * 2u;
    const uint32_t odd = words & 6u;
    const uint32_t *end = scratch + words;
    int32_t left = layer->outputs;
    int8_t *out = y;

    do {
        const uint32_t *in = scratch;
        int32_t a = added * (256 + 16 + 1);
        int32_t b = added * (16 + 1);
        int32_t c = added;
        int32_t d = added;
        int32_t s0;
        int32_t s1;
        int32_t s2;
        int32_t s3;
        int8_t part[4];
        int8_t *to = left >= 4 ? out : part;
        uint32_t p;
        uint32_t q;
        int32_t t;
        int32_t u;
        uint32_t v;

        if (odd != 0u) {
            if ((odd & 2u) != 0u) {
                STEP;
            }
            if ((odd & 4u) != 0u) {
                STEP;
                STEP;
            }
        }
        while (in != end) {
            STEP;
            STEP;
            STEP;
            STEP;
        }
        s0 = c;
        s1 = b - c;
        s2 = d;
        s3 = ((a - b) >> 8) - d;
        TQS_WRITE_ROWS("3");
        if (left < 4) {
            memcpy(out, part, (uint32_t)left);
        }
        out += 4;
        rows++;
        left -= 4;
    } while (left > 0);
    tqs_clamp(y, layer->outputs, layer->low, layer->high);
}
