#include "string.h"
#include <stdint.h>

/* Words where both are aligned: windows and states are moved with it at each step. */
void *memcpy(void *restrict to, const void *restrict from, size_t count) {
    uint8_t *target = to;
    const uint8_t *source = from;
    if ((((uintptr_t)target | (uintptr_t)source) & 3u) == 0u) {
        for (; count >= 4u; count -= 4u) {
            *(uint32_t *)(void *)target = *(const uint32_t *)(const void *)source;
            target += 4;
            source += 4;
        }
    }
    for (; count > 0u; count--) {
        *target++ = *source++;
    }
    return to;
}

void *memmove(void *to, const void *from, size_t count) {
    uint8_t *target = to;
    const uint8_t *source = from;
    if ((uintptr_t)target <= (uintptr_t)source) {
        for (size_t i = 0; i < count; i++) {
            target[i] = source[i];
        }
    } else {
        for (size_t i = count; i > 0u; i--) {
            target[i - 1u] = source[i - 1u];
        }
    }
    return to;
}

void *memset(void *to, int value, size_t count) {
    uint8_t *target = to;
    for (size_t i = 0; i < count; i++) {
        target[i] = (uint8_t)value;
    }
    return to;
}
