/* Dense layer, int4 weights, for cores with Helium (Cortex-M55). See tqs_fc_s4_mve.h. */
#include "tqs_fc_s4_mve.h"

#include "tqs_kernels.h"

void tqs_fc_s4_mve(const tqs_fc_t *layer, const int8_t *x, int8_t *y, uint32_t *scratch) {
    (void)scratch;
    TQS_MVE_DENSE(TQS_CHUNK_S4, TQS_HALF_S4, TQS_SUMS_SCALAR_S4, TQS_SUMS_VECTOR_S4);
}
