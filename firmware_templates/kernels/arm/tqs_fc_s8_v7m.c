/*
 * Dense layer, int8 weights, for Cortex-M3: two products an instruction with SMLAL.
 *
 * A word holds four rows of one input: bytes 0 and 2 are rows 0 and 2 with 128 added, bytes 3 and 1 rows 1 and 3,
 * signed. Masked with 0xFF0000FF it is the number w1 * 2^24 + w0, and rotated by half a word w3 * 2^24 + w2; a 64-bit
 * sum of such numbers times x holds s1 * 2^24 + s0. The 128 that was added is taken off, with the sum of the inputs,
 * before the sum is split. Exact for up to 512 inputs and |w| <= 127: 127 * 128 * 512 < 2^23.
 *
 * weights: [R / 4][K] words. scratch: none.
 */
#include <string.h>

#include "tqs_arm.h"
#include "tqs_kernels.h"

/* The lower sum of a pair, 24 bits. */
static inline int32_t lower_sum(int64_t pair) {
    return (int32_t)((uint32_t)pair << 8) >> 8;
}

static inline int32_t upper_sum(int64_t pair, int32_t lower) {
    return (int32_t)((pair - lower) >> 24);
}

/* One input, four rows. */
#define STEP(k)                                                                                                        \
    {                                                                                                                  \
        const uint32_t four = w[k];                                                                                    \
        const int32_t value = in[k];                                                                                   \
                                                                                                                       \
        low += (int64_t)(int32_t)(four & mask) * value;                                                                \
        high += (int64_t)(int32_t)((four >> 16 | four << 16) & mask) * value;                                          \
    }

void tqs_fc_s8_v7m(const tqs_fc_t *layer, const int8_t *x, int8_t *y, uint32_t *scratch) {
    const uint32_t *w = layer->weights;
    const int32_t *bias = layer->bias;
    const int32_t *multiplier = layer->multiplier;
    const int8_t *shift = layer->shift;
    const int32_t offset = 2 * layer->zero_point + 1;
    const uint32_t inputs = layer->inputs;
    const int8_t *end = x + inputs;
    int32_t left = layer->outputs;
    int32_t added = 0;
    uint32_t mask = 0xFF0000FFu;
    int8_t *out = y;
    const int8_t *in;

    (void)scratch;
    __asm__("" : "+r"(mask)); /* no constant: the compiler would make two instructions of each use */
    for (in = x; in != end; in++) {
        added -= *in;
    }
    added *= 128;
    do {
        int64_t low = added;
        int64_t high = added;
        int32_t sum;
        uint32_t k;
        int8_t part[4];
        int8_t *to = left >= 4 ? out : part;

        in = x;
        for (k = inputs & 3u; k > 0u; k--) {
            STEP(0)
            w++;
            in++;
        }
        while (in != end) {
            STEP(0)
            STEP(1)
            STEP(2)
            STEP(3)
            w += 4;
            in += 4;
        }
        sum = lower_sum(low);
        to[0] = (int8_t)tqs_rescale(bias[0] + sum * 2, multiplier[0], shift[0], offset);
        sum = upper_sum(low, sum);
        to[1] = (int8_t)tqs_rescale(bias[1] + sum * 2, multiplier[1], shift[1], offset);
        sum = lower_sum(high);
        to[2] = (int8_t)tqs_rescale(bias[2] + sum * 2, multiplier[2], shift[2], offset);
        sum = upper_sum(high, sum);
        to[3] = (int8_t)tqs_rescale(bias[3] + sum * 2, multiplier[3], shift[3], offset);
        if (left < 4) {
            memcpy(out, part, (uint32_t)left);
        }
        out += 4;
        bias += 4;
        multiplier += 4;
        shift += 4;
        left -= 4;
    } while (left > 0);
    tqs_clamp(y, layer->outputs, layer->low, layer->high);
}
