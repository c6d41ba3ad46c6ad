/* The mean and the largest of some samples, for int8 and int16 activations. */
#ifndef TQS_POOL_H
#define TQS_POOL_H

#include <stdint.h>

/* Output sample t covers the samples from t * stride - left on, ``size`` of them; those beyond the window are left out.
 */
typedef struct tqs_pool {
    uint16_t samples;  /* W */
    uint16_t channels; /* C */
    uint16_t y_samples;
    uint16_t size; /* no output sample lies beyond the window altogether */
    uint16_t stride;
    uint16_t left;
} tqs_pool_t;

/* The samples of an output sample that lie within the window: count of them from first on. */
typedef struct tqs_window {
    uint32_t first;
    uint32_t count;
} tqs_window_t;

static inline tqs_window_t tqs_pool_window(const tqs_pool_t *layer, uint32_t sample) {
    const uint32_t from = sample * layer->stride; /* counted from the places before the window on */
    const uint32_t end = from + layer->size - layer->left;
    const uint32_t first = from > layer->left ? from - layer->left : 0u;
    const tqs_window_t window = {first, (end < layer->samples ? end : layer->samples) - first};

    return window;
}

/* x: [W][C], y: [y_samples][C]; they must not overlap. A mean is rounded to the nearest, halves away from code 0. */
void tqs_avg_pool_s8(const tqs_pool_t *layer, const int8_t *x, int8_t *y);
void tqs_avg_pool_s8_mve(const tqs_pool_t *layer, const int8_t *x, int8_t *y);
void tqs_avg_pool_s8_neon(const tqs_pool_t *layer, const int8_t *x, int8_t *y);
void tqs_avg_pool_s16(const tqs_pool_t *layer, const int16_t *x, int16_t *y);
void tqs_avg_pool_s16_mve(const tqs_pool_t *layer, const int16_t *x, int16_t *y);
void tqs_avg_pool_s16_neon(const tqs_pool_t *layer, const int16_t *x, int16_t *y);
void tqs_max_pool_s8(const tqs_pool_t *layer, const int8_t *x, int8_t *y);
void tqs_max_pool_s8_dsp(const tqs_pool_t *layer, const int8_t *x, int8_t *y);
void tqs_max_pool_s8_mve(const tqs_pool_t *layer, const int8_t *x, int8_t *y);
void tqs_max_pool_s8_neon(const tqs_pool_t *layer, const int8_t *x, int8_t *y);
void tqs_max_pool_s16(const tqs_pool_t *layer, const int16_t *x, int16_t *y);
void tqs_max_pool_s16_mve(const tqs_pool_t *layer, const int16_t *x, int16_t *y);
void tqs_max_pool_s16_neon(const tqs_pool_t *layer, const int16_t *x, int16_t *y);

#endif
