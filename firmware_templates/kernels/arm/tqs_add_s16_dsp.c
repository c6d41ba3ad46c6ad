/*
 * y = a + b or a - b, int16, for cores with the DSP extension (Cortex-M4, M7, M33): two codes a load. Every shift -31
 * to 0, that of y -30 to -1; a has the larger scale, or b of a sum.
 *
 * The operand with the larger scale comes to 2^14 times its codes. What is rounded is doubled, so that SMMLAR and
 * SMMLSR are the first rounding; half and the one less of negative numbers that the second adds go into its sum, as in
 * tqs_mul_s8_dsp. -2^15 is a halfword and 2^15 is none, so twice the sum is computed negated.
 */
#include "tqs_arm.h"
#include "tqs_kernels_s16.h"

#define HALF ((int32_t)1 << 30)

/*
 * The code in r of r, an operand with the larger scale in one of its halves, and o, the other one with zeros below; u
 * to work in. unit: -2^15 in its upper half, what the other operand is shifted by in its lowest byte. below: half - 1.
 */
#define CODE(r, half, o, u)                                                                                            \
    "add " u ", %[other_half], " o ", asr #31\n\t"                                                                     \
    "smmlar " o ", " o ", %[other_multiplier], " u "\n\t"                                                              \
    "asr " o ", " o ", %[unit]\n\t"                                                                                    \
    "smul" half "t " u ", " r ", %[unit]\n\t"                                                                          \
    "mla " u ", " o ", %[sign], " u "\n\t"                                                                             \
    "add " o ", %[below], " u ", lsr #31\n\t"                                                                          \
    "smmlsr " u ", " u ", %[multiplier], " o "\n\t"                                                                    \
    "asr " u ", " u ", %[shift]\n\t"                                                                                   \
    "ssat " u ", #16, " u "\n\t"

/* Of operands of one scale: the sum is 2^14 (a + b). */
static inline int16_t code_of(int32_t sum, int32_t multiplier, int32_t half, int32_t shift) {
    int32_t code;

    __asm__("smmlar %0, %1, %2, %3" : "=r"(code) : "r"(sum * 32768), "r"(multiplier), "r"(half + (sum >> 31)));
    __asm__("ssat %0, #16, %1" : "=r"(code) : "r"(code >> shift));
    return (int16_t)code;
}

void tqs_add_s16_dsp(const tqs_add_s16_t *layer, const int16_t *a, const int16_t *b, int16_t *y) {
    const int a_is_larger = layer->a_multiplier == HALF && layer->a_shift == 0;
    const int32_t other_multiplier = a_is_larger ? layer->b_multiplier : layer->a_multiplier;
    const int32_t down = a_is_larger ? -layer->b_shift : -layer->a_shift;
    const int32_t other_shift = down > 0 ? down : 1; /* of an operand that counts for nothing */
    const int32_t multiplier = layer->y_multiplier;
    const int32_t shift = -layer->y_shift;
    const int32_t half = 1 << (shift - 1);
    const int32_t sign = layer->subtract != 0u ? 1 : -1;
    const uint32_t rest = layer->size & 1u;
    const int16_t *larger = a_is_larger ? a : b;
    const int16_t *other = a_is_larger ? b : a;
    const int16_t *end = larger + (layer->size - rest);
    int16_t last[2][2] = {{0, 0}, {0, 0}};
    int16_t *to = y;

    if (down == 0 && other_multiplier == HALF) {
        for (end += rest; larger != end; larger++) {
            *y++ = code_of(*larger - sign * *other++, multiplier, half, shift);
        }
        return;
    }
    if (rest != 0u) {
        last[0][0] = *end;
        last[1][0] = other[layer->size - 1u];
    }
    for (;;) {
        int32_t p;
        int32_t q;
        int32_t u;
        int32_t v;

        if (larger != end) {
            __asm__ volatile("1: ldr %[p], [%[larger]], #4\n\t"
                             "ldr %[q], [%[other]], #4\n\t"
                             "lsl %[u], %[q], #16\n\t"
                             "sub %[q], %[q], %[u], lsr #16\n\t" CODE("%[p]", "b", "%[u]", "%[v]")
                                 CODE("%[p]", "t", "%[q]", "%[u]") "pkhbt %[u], %[v], %[u], lsl #16\n\t"
                                                                   "ldr %[v], %[end]\n\t"
                                                                   "str %[u], [%[to]], #4\n\t"
                                                                   "cmp %[larger], %[v]\n\t"
                                                                   "bne 1b\n\t"
                             : [larger] "+r"(larger), [other] "+r"(other), [to] "+r"(to), [p] "=&r"(p), [q] "=&r"(q),
                               [u] "=&r"(u), [v] "=&r"(v)
                             : [other_half] "r"(1 << (other_shift - 1)), [other_multiplier] "r"(other_multiplier),
                               [unit] "r"((int32_t)(0x80000000u | (uint32_t)other_shift)), [sign] "r"(2 * sign),
                               [below] "r"(half - 1), [multiplier] "r"(multiplier), [shift] "r"(shift), [end] "m"(end)
                             : "cc", "memory");
        }
        if (rest == 0u || end == last[0] + 2) {
            break;
        }
        larger = last[0];
        other = last[1];
        end = last[0] + 2;
        to = last[0];
    }
    if (rest != 0u) {
        y[layer->size - 1u] = last[0][0];
    }
}
