/*
 * y = table[x], for NEON (Cortex-A): sixteen at a time from a table in sixteen registers, which AArch64 alone has.
 *
 * TBL gives 0 for an index beyond its 64 bytes, TBX leaves what is there.
 */
#include <arm_neon.h>
#include <string.h>

#include "tqs_kernels.h"

#if defined(__aarch64__)

static inline int8x16x4_t quarter(const int8_t *table) {
    const int8x16x4_t four = {{vld1q_s8(table), vld1q_s8(table + 16), vld1q_s8(table + 32), vld1q_s8(table + 48)}};

    return four;
}

typedef struct table {
    int8x16x4_t quarters[4];
} table_t;

static inline int8x16_t look_up(const table_t *table, int8x16_t codes) {
    /* A code with its sign changed is an index. */
    const uint8x16_t index = veorq_u8(vreinterpretq_u8_s8(codes), vdupq_n_u8(0x80));
    int8x16_t value = vqtbl4q_s8(table->quarters[0], index);

    value = vqtbx4q_s8(value, table->quarters[1], vsubq_u8(index, vdupq_n_u8(64)));
    value = vqtbx4q_s8(value, table->quarters[2], vsubq_u8(index, vdupq_n_u8(128)));
    return vqtbx4q_s8(value, table->quarters[3], vsubq_u8(index, vdupq_n_u8(192)));
}

#endif

void tqs_lut_s8_neon(const tqs_lut_t *layer, const int8_t *x, int8_t *y) {
#if defined(__aarch64__)
    const table_t table = {
        {quarter(layer->table), quarter(layer->table + 64), quarter(layer->table + 128), quarter(layer->table + 192)}};
    const uint32_t rest = layer->size % 16u;
    const int8_t *end = x + (layer->size - rest);

    for (; x != end; x += 16, y += 16) {
        vst1q_s8(y, look_up(&table, vld1q_s8(x)));
    }
    if (rest > 0u) {
        int8_t last[16] = {0};

        memcpy(last, x, rest);
        vst1q_s8(last, look_up(&table, vld1q_s8(last)));
        memcpy(y, last, rest);
    }
#else
    const int8_t *table = layer->table + 128;
    const int8_t *end = x + layer->size;

    while (x != end) {
        *y++ = table[*x++];
    }
#endif
}
