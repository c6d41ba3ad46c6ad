/*
 * Dense layer, int4 weights, for cores with nothing but a 32-bit multiplication (Cortex-M0, M0+, M3): two products
 * each.
 *
 * A word holds four rows of two inputs, nibbles with 8 added. Masked with 0x000F000F it is the number
 * w1 * 2^16 + w0, whose products with x add up to s1 * 2^16 + s0. The halves are split off every sixteen inputs, before
 * s0 overflows: 15 * 128 * 16 < 2^15. The 8 that was added is taken off with the sum of the inputs.
 *
 * weights: [R / 4][K / 2] words, K rounded up to a multiple of two: nibbles 0 and 4 are rows 0 and 1 of the first
 * input, 1 and 5 rows 2 and 3; 2 and 6, 3 and 7 those of the second. scratch: none.
 */
#include <string.h>

#include "tqs_arm.h"
#include "tqs_kernels.h"

#define RUN 16u /* inputs between two splits */

/* Adds the two sums of a pair to lower and upper. */
#define SPLIT(pair, lower, upper)                                                                                      \
    {                                                                                                                  \
        const int32_t half = (int16_t)(pair);                                                                          \
                                                                                                                       \
        lower += half;                                                                                                 \
        upper += ((int32_t)(pair) - half) >> 16;                                                                       \
    }

/* Two inputs, four rows. */
#define STEP(k)                                                                                                        \
    {                                                                                                                  \
        const uint32_t eight = w[(k) / 2];                                                                             \
        uint32_t value = (uint32_t)in[k];                                                                              \
                                                                                                                       \
        low += (eight & mask) * value;                                                                                 \
        high += ((eight >> 4) & mask) * value;                                                                         \
        value = (uint32_t)in[(k) + 1];                                                                                 \
        low += ((eight >> 8) & mask) * value;                                                                          \
        high += ((eight >> 12) & mask) * value;                                                                        \
    }

void tqs_fc_s4_lanes(const tqs_fc_t *layer, const int8_t *x, int8_t *y, uint32_t *scratch) {
    const uint32_t *w = layer->weights;
    const int32_t *bias = layer->bias;
    const int32_t *multiplier = layer->multiplier;
    const int8_t *shift = layer->shift;
    const int32_t offset = 2 * layer->zero_point + 1;
    const uint32_t inputs = layer->inputs;
    int32_t left = layer->outputs;
    int32_t added = 0;
    uint32_t mask = 0x000F000Fu;
    int8_t *out = y;
    uint32_t k;

    (void)scratch;
    __asm__("" : "+r"(mask)); /* kept in a register */
    for (k = 0; k < inputs; k++) {
        added -= x[k];
    }
    added *= 8;
    do {
        const int8_t *in = x;
        int32_t sum0 = added;
        int32_t sum1 = added;
        int32_t sum2 = added;
        int32_t sum3 = added;
        uint32_t todo = inputs;
        int8_t part[4];
        int8_t *to = left >= 4 ? out : part;

        while (todo >= RUN) {
            uint32_t low = 0;
            uint32_t high = 0;

            STEP(0)
            STEP(2)
            STEP(4)
            STEP(6)
            STEP(8)
            STEP(10)
            STEP(12)
            STEP(14)
            in += RUN;
            w += RUN / 2u;
            todo -= RUN;
            SPLIT(low, sum0, sum1)
            SPLIT(high, sum2, sum3)
        }
        if (todo > 0u) {
            uint32_t low = 0;
            uint32_t high = 0;

            for (; todo > 1u; todo -= 2u) {
                STEP(0)
                in += 2;
                w++;
            }
            if (todo > 0u) {
                const uint32_t eight = *w++;
                const uint32_t value = (uint32_t)*in;

                low += (eight & mask) * value;
                high += ((eight >> 4) & mask) * value;
            }
            SPLIT(low, sum0, sum1)
            SPLIT(high, sum2, sum3)
        }
        to[0] = (int8_t)tqs_rescale(bias[0] + sum0 * 2, multiplier[0], shift[0], offset);
        to[1] = (int8_t)tqs_rescale(bias[1] + sum1 * 2, multiplier[1], shift[1], offset);
        to[2] = (int8_t)tqs_rescale(bias[2] + sum2 * 2, multiplier[2], shift[2], offset);
        to[3] = (int8_t)tqs_rescale(bias[3] + sum3 * 2, multiplier[3], shift[3], offset);
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
