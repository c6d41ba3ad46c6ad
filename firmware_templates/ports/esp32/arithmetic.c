/* What Debian's compiler for the LX106 calls and its libgcc leaves out, since an ESP8266 has it in ROM (GCC internals,
 * "Routines for integer emulation", says what each computes). The RISC-V compiler's libgcc is whole.
 *
 * No 64-bit product and no quotient may be written here: it would be a call of the function itself. */
#include "esp32.h"

#if defined(__XTENSA__)

int64_t __muldi3(int64_t a, int64_t b);
uint32_t __udivsi3(uint32_t a, uint32_t b);
int32_t __divsi3(int32_t a, int32_t b);

/* Modulo 2^64, from products of 16 bits; those of the high words count modulo 2^32 alone. */
int64_t __muldi3(int64_t a, int64_t b) {
    const uint32_t a_low = (uint32_t)a;
    const uint32_t b_low = (uint32_t)b;
    const uint32_t a0 = a_low & 0xFFFFu;
    const uint32_t a1 = a_low >> 16;
    const uint32_t b0 = b_low & 0xFFFFu;
    const uint32_t b1 = b_low >> 16;
    const uint32_t p00 = a0 * b0;
    const uint32_t p01 = a0 * b1;
    const uint32_t p10 = a1 * b0;
    const uint32_t middle = (p00 >> 16) + (p01 & 0xFFFFu) + (p10 & 0xFFFFu);
    uint32_t high = a1 * b1 + (p01 >> 16) + (p10 >> 16) + (middle >> 16);
    high += a_low * (uint32_t)((uint64_t)b >> 32) + b_low * (uint32_t)((uint64_t)a >> 32);
    return (int64_t)((uint64_t)high << 32 | (middle << 16 | (p00 & 0xFFFFu)));
}

/* Long division. b = 0 gives 2^32 - 1; nothing divides by it. */
uint32_t __udivsi3(uint32_t a, uint32_t b) {
    uint32_t rest = 0;
    uint32_t quotient = 0;
    for (uint32_t i = 0; i < 32u; i++) {
        const uint32_t carry = rest >> 31;
        rest = rest << 1 | a >> 31;
        a <<= 1;
        quotient <<= 1;
        if (carry != 0u || rest >= b) {
            rest -= b;
            quotient |= 1u;
        }
    }
    return quotient;
}

/* Towards zero. */
int32_t __divsi3(int32_t a, int32_t b) {
    const uint32_t quotient = __udivsi3(a < 0 ? 0u - (uint32_t)a : (uint32_t)a, b < 0 ? 0u - (uint32_t)b : (uint32_t)b);
    return (int32_t)((a ^ b) < 0 ? 0u - quotient : quotient);
}

#endif
