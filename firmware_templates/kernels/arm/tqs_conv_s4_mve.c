/*
 * A convolution over time, or a dense layer at each sample, int4 weights, for cores with Helium (Cortex-M55). A dense
 * layer is one of one sample and one tap.
 *
 * weights: as tqs_fc_s4_mve.h has them. buffer: [K][I], if there are more taps than one.
 */
#include "tqs_fc_s4_mve.h"
#include "tqs_kernels.h"
#include "tqs_windows.h"

/* A function of its own: there are no registers for a loop around it. */
static void sample(tqs_mve_run_t *run, const int8_t *x, uint32_t step, int8_t *y) __attribute__((noinline));

static void sample(tqs_mve_run_t *run, const int8_t *x, uint32_t step, int8_t *y) {
    tqs_mve_layer_t *held = &run->held;

    TQS_MVE_SAMPLE(&run->plan, held, run->part, x, step, y, TQS_CHUNK_S4, TQS_HALF_S4, TQS_SUMS_SCALAR_S4,
                   TQS_SUMS_VECTOR_S4);
}

void tqs_conv_s4_mve(const tqs_fc_t *layer, const tqs_taps_t *taps, const int8_t *x, uint32_t samples, int8_t *y,
                     int8_t *buffer) {
    tqs_conv_mve(layer, taps, x, samples, y, buffer, sample);
}
