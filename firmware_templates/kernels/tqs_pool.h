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

/* x: [W][C], y: [y_samples][C]; they must not overlap. A mean is rounded to the nearest, halves away from code 0. */
void tqs_avg_pool_s8(const tqs_pool_t *layer, const int8_t *x, int8_t *y);
void tqs_avg_pool_s16(const tqs_pool_t *layer, const int16_t *x, int16_t *y);
void tqs_max_pool_s8(const tqs_pool_t *layer, const int8_t *x, int8_t *y);
void tqs_max_pool_s16(const tqs_pool_t *layer, const int16_t *x, int16_t *y);

#endif
