/* y = table[x], for cores with ARMv7-M's addressing (Cortex-M3, M4, M7, M33). */
#include "tqs_arm.h"
#include "tqs_kernels.h"

void tqs_lut_s8_arm(const tqs_lut_t *layer, const int8_t *x, int8_t *y) {
    const int8_t *table = layer->table + 128;
    const int8_t *end = x + layer->size;

    if ((layer->size & 1u) != 0u) {
        tqs_put(&y, table[tqs_take(&x)]);
    }
    while (x != end) {
        tqs_put(&y, table[tqs_take(&x)]);
        tqs_put(&y, table[tqs_take(&x)]);
    }
}
