/*
 * y = exp(x) over its sum, row by row, for cores with the DSP extension (Cortex-M4, M7, M33): four codes a comparison,
 * and two rounded shifts of each share in as few instructions as there are.
 */
#include "tqs_softmax.h"

/* The largest of x: [size]. */
static inline int32_t largest_of(const int8_t *x, uint32_t size) {
    const int8_t *end = x + size;
    uint32_t four = 0x80808080u;
    uint32_t next;
    uint32_t differences;
    int32_t largest = -128;
    uint32_t i;

    for (; size >= 4u; size -= 4u) {
        __asm__ volatile("ldr %0, [%1], #4\n\tssub8 %2, %0, %3\n\tsel %3, %0, %3"
                         : "=&r"(next), "+r"(x), "=&r"(differences), "+r"(four)
                         :
                         : "memory");
    }
    for (i = 0; i < 4u; i++) {
        const int32_t code = (int8_t)(four >> (8u * i));

        largest = code > largest ? code : largest;
    }
    while (x != end) {
        largest = *x > largest ? *x : largest;
        x++;
    }
    return largest;
}

void tqs_softmax_s8_dsp(const tqs_softmax_t *layer, const int8_t *x, int8_t *y) {
    const uint32_t columns = layer->columns;
    const uint32_t known = (uint32_t)layer->known;
    const int32_t *table = layer->table; /* y may alias anything */
    uint32_t row;

    for (row = layer->rows; row > 0u; row--) {
        const int32_t largest = largest_of(x, columns);
        const int8_t *end = x + columns;
        const int8_t *in;
        uint32_t sum = 0;
        tqs_share_t share;
        uint32_t scale;
        uint32_t shift;

        for (in = x; in != end;) {
            const uint32_t below = (uint32_t)(largest - *in++);

            if (below < known) {
                sum += ((uint32_t)table[below] + (1u << 11)) >> 12;
            }
        }
        share = tqs_share_of(sum);
        scale = (uint32_t)share.scale;
        shift = (uint32_t)share.shift - 2u;
        for (in = x; in != end;) {
            const uint32_t below = (uint32_t)(largest - *in++);
            int32_t code = -128;

            if (below < known) {
                uint32_t low = 1u << 30;
                uint32_t high = 0;

                /* The product and half of what it is rounded to, below 2^62 + 2^30; then shifted, rounded and
                 * saturated: (h + 1) / 2 - 128 is half of h - 255. */
                __asm__("umlal %0, %1, %2, %3" : "+r"(low), "+r"(high) : "r"(scale), "r"(table[below]));
                code = (int32_t)(high >> shift) - 255;
                __asm__("ssat %0, #8, %0, asr #1" : "+r"(code));
            }
            *y++ = (int8_t)code;
        }
        x += columns;
    }
}
