/*
 * y = table[x], for NEON (Cortex-A): 32 at a time from a table in sixteen registers, which AArch64 alone has.
 *
 * TBL gives 0 for an index beyond its 64 bytes, TBX leaves what is there. A code without its sign is an index, of a
 * table whose halves change places. In assembly: compilers keep four registers in a row in memory.
 */
#include <arm_neon.h>
#include <string.h>

#include "tqs_kernels.h"

#if defined(__aarch64__)

#define STEP                                                                                                           \
    "sub v0.16b, v0.16b, v4.16b\n\t"                                                                                   \
    "sub v1.16b, v1.16b, v4.16b\n\t"
#define QUARTER(operation, registers)                                                                                  \
    operation " v2.16b, {" registers "}, v0.16b\n\t" operation " v3.16b, {" registers "}, v1.16b\n\t"

/* size: a multiple of 32, not 0. */
static inline void look_up(const int8_t *table, const int8_t *x, int8_t *y, uint64_t size) {
    const int8_t *upper = table + 128;
    const int8_t *end = x + size;

    __asm__ volatile("ld1 {v16.16b-v19.16b}, [%[upper]], #64\n\t"
                     "ld1 {v20.16b-v23.16b}, [%[upper]]\n\t"
                     "ld1 {v24.16b-v27.16b}, [%[table]], #64\n\t"
                     "ld1 {v28.16b-v31.16b}, [%[table]]\n\t"
                     "movi v4.16b, #64\n"
                     "1:\n\t"
                     "ldp q0, q1, [%[x]], #32\n\t" QUARTER("tbl", "v16.16b-v19.16b")
                         STEP QUARTER("tbx", "v20.16b-v23.16b") STEP QUARTER("tbx", "v24.16b-v27.16b")
                             STEP QUARTER("tbx", "v28.16b-v31.16b") "stp q2, q3, [%[y]], #32\n\t"
                                                                    "cmp %[x], %[end]\n\t"
                                                                    "b.ne 1b\n\t"
                     : [x] "+r"(x), [y] "+r"(y), [table] "+r"(table), [upper] "+r"(upper)
                     : [end] "r"(end)
                     : "memory", "cc", "v0", "v1", "v2", "v3", "v4", "v16", "v17", "v18", "v19", "v20", "v21", "v22",
                       "v23", "v24", "v25", "v26", "v27", "v28", "v29", "v30", "v31");
}

#endif

void tqs_lut_s8_neon(const tqs_lut_t *layer, const int8_t *x, int8_t *y) {
#if defined(__aarch64__)
    const int8_t *table = layer->table;
    const uint32_t rest = layer->size % 32u;
    const uint32_t whole = layer->size - rest;

    if (whole > 0u) {
        look_up(table, x, y, whole);
    }
    if (rest > 0u) {
        int8_t last[32] = {0};

        memcpy(last, x + whole, rest);
        look_up(table, last, last, 32);
        memcpy(y + whole, last, rest);
    }
#else
    const int8_t *table = layer->table + 128;
    const int8_t *end = x + layer->size;

    while (x != end) {
        *y++ = table[*x++];
    }
#endif
}
