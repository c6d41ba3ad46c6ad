/*
 * y = exp(x) over its sum, row by row, int16, for cores with the DSP extension (Cortex-M4, M7, M33): two codes a load.
 * A difference is shifted to the left by 13 at most, or to the right by 15.
 *
 * SMMLAR is the first rounding of a difference, which is doubled before; half a code and the one less of negative
 * numbers that the second adds, and 32767, go into its sum: where the difference is 0, one less is rounded to 0 all the
 * same. Between two entries of a table, e and f, (e (128 - r) + f r + 64) >> 7 is what lies r parts behind e.
 */
#include "tqs_attention.h"
#include "tqs_requantize.h" /* for its check of >> */

/* At entry[at], two entries. */
static inline int32_t look_up(const int16_t *table, int32_t x) {
    const int16_t *entry = table + 256 + (x >> 7);

    return entry[0] + (((entry[1] - entry[0]) * (x & 127) + 64) >> 7);
}

/* The largest of x: [size]. */
static inline int32_t largest_of(const int16_t *x, uint32_t size) {
    const int16_t *end = x + size;
    uint32_t largest = (uint32_t)(uint16_t)x[0] * 0x10001u;
    uint32_t pair;
    int32_t low;
    int32_t high;

    x += size & 1u;
    while (x != end) {
        __asm__ volatile("ldr %0, [%1], #4\n\tssub16 %2, %0, %3\n\tsel %3, %0, %3"
                         : "=&r"(pair), "+r"(x), "=&r"(low), "+r"(largest)
                         :
                         : "memory");
    }
    low = (int16_t)largest;
    high = (int32_t)largest >> 16;
    return low > high ? low : high;
}

/* A code's power in v, 7 bits more, from its difference in the ``half`` of p, with f and w to work in. */
#define POWER(v, half)                                                                                                 \
    "smla" half "b " v ", %[p], %[unit], %[largest]\n\t"                                                               \
    "smmlar " v ", " v ", %[multiplier], %[added]\n\t"                                                                 \
    "asr " v ", " v ", %[right]\n\t"                                                                                   \
    "ssat " v ", #16, " v "\n\t"                                                                                       \
    "ubfx %[f], " v ", #0, #7\n\t"                                                                                     \
    "asr " v ", " v ", #7\n\t"                                                                                         \
    "ldr %[w], [%[table], " v ", lsl #1]\n\t"                                                                          \
    "rsb " v ", %[f], #128\n\t"                                                                                        \
    "pkhbt %[f], " v ", %[f], lsl #16\n\t"                                                                             \
    "smlad " v ", %[w], %[f], %[half]\n\t"                                                                             \
    "add %[sum], %[sum], " v ", asr #7\n\t"

/* unit, largest: a code times unit and that is its difference from the largest, shifted and doubled. */
typedef struct differences {
    int32_t unit;
    int32_t largest;
    int32_t multiplier;
    int32_t added;
    int32_t right;
} differences_t;

static inline int32_t powers_of(const differences_t *held, const int16_t *table, const int16_t *x, int16_t *y,
                                uint32_t size) {
    const int16_t *end = x + size;
    int32_t sum = 0;
    uint32_t p;
    uint32_t v;
    uint32_t f;
    uint32_t w;

    if ((size & 1u) != 0u) {
        p = (uint32_t)*x++;
        __asm__ volatile(
            POWER("%[v]", "b")
            : [sum] "+r"(sum), [v] "=&r"(v), [f] "=&r"(f), [w] "=&r"(w)
            : [p] "r"(p), [unit] "r"(held->unit), [largest] "r"(held->largest), [multiplier] "r"(held->multiplier),
              [added] "r"(held->added), [right] "r"(held->right), [table] "r"(table + 256), [half] "r"(64)
            : "memory");
        *y++ = (int16_t)((int32_t)v >> 7);
    }
    if (x != end) {
        __asm__ volatile(
            "1: ldr %[p], [%[x]], #4\n\t" POWER("%[v]", "b") POWER("%[p]", "t") "lsl %[p], %[p], #9\n\t"
                                                                                "pkhtb %[p], %[p], %[v], asr #7\n\t"
                                                                                "str %[p], [%[y]], #4\n\t"
                                                                                "ldr %[w], %[end]\n\t"
                                                                                "cmp %[x], %[w]\n\t"
                                                                                "bne 1b\n\t"
            : [x] "+r"(x), [y] "+r"(y), [sum] "+r"(sum), [p] "=&r"(p), [v] "=&r"(v), [f] "=&r"(f), [w] "=&r"(w)
            : [unit] "r"(held->unit), [largest] "r"(held->largest), [multiplier] "r"(held->multiplier),
              [added] "r"(held->added), [right] "r"(held->right), [table] "r"(table + 256), [half] "r"(64),
              [end] "m"(end)
            : "cc", "memory");
    }
    return sum;
}

/* (y * scale + half) >> shift, at most 32767. No power or scale is negative. */
static inline void scale_all(int16_t *y, uint32_t size, int32_t scale, int32_t half, int32_t shift) {
    int16_t *end = y + size;
    uint32_t p;
    uint32_t v;

    if ((size & 1u) != 0u) {
        const int32_t code = (*y * scale + half) >> shift;

        *y++ = (int16_t)(code > 32767 ? 32767 : code);
    }
    while (y != end) {
        __asm__ volatile("ldr %[p], [%[y]]\n\t"
                         "smlabb %[v], %[p], %[scale], %[half]\n\t"
                         "smlatb %[p], %[p], %[scale], %[half]\n\t"
                         "asr %[v], %[v], %[shift]\n\t"
                         "asr %[p], %[p], %[shift]\n\t"
                         "usat %[v], #15, %[v]\n\t"
                         "usat %[p], #15, %[p]\n\t"
                         "pkhbt %[v], %[v], %[p], lsl #16\n\t"
                         "str %[v], [%[y]], #4\n\t"
                         : [y] "+r"(y), [p] "=&r"(p), [v] "=&r"(v)
                         : [scale] "r"(scale), [half] "r"(half), [shift] "r"(shift)
                         : "memory");
    }
}

void tqs_softmax_s16_dsp(const tqs_softmax_s16_t *layer, const int16_t *x, int16_t *y) {
    const uint32_t columns = layer->columns;
    const int32_t right = layer->shift < 0 ? -layer->shift : 0;
    const int32_t unit = 2 * (layer->shift > 0 ? 1 << layer->shift : 1);
    const int32_t rounding = right > 0 ? (1 << (right - 1)) - 1 : 0;
    differences_t held = {unit, 0, layer->multiplier, rounding + 32767 * (1 << right), right};
    const int16_t *exponentials = layer->exponentials;
    const int16_t *reciprocals = layer->reciprocals;
    uint32_t row;

    for (row = layer->rows; row > 0u; row--) {
        uint32_t sum;
        int32_t shift;
        int32_t scale;

        held.largest = -largest_of(x, columns) * unit;
        sum = (uint32_t)powers_of(&held, exponentials, x, y, columns);
        /* sum = (1 + a) 2^shift; the table wants a in the codes of int16. */
        shift = 31 - __builtin_clz(sum);
        scale = (int32_t)(((sum << (30 - shift)) + (1u << 13)) >> 14) - 3 * 32768;
        scale = look_up(reciprocals, scale > 32767 ? 32767 : scale);
        scale_all(y, columns, scale, 1 << (shift - 1), shift);
        x += columns;
        y += columns;
    }
}
