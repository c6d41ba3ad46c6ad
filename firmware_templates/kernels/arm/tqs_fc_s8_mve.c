/* Dense layer, int8 weights, for cores with Helium (Cortex-M55). See tqs_fc_s8_mve.h. */
#include "tqs_fc_s8_mve.h"

#include "tqs_kernels.h"

void tqs_fc_s8_mve(const tqs_fc_t *layer, const int8_t *x, int8_t *y, uint32_t *scratch) {
    (void)scratch;
    TQS_MVE_DENSE(TQS_CHUNK_S8, TQS_HALF_S8, "", "");
}
