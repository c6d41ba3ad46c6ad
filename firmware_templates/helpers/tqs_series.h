/*
 * Samples at the model's period from readings at any times: the rules of edge-tqs-forecastd with "resample": "last".
 * The sample of time T holds what was read last in (T - period, T].
 *
 *     static tqs_series_t series;
 *     float sample[TQS_CHANNELS];
 *
 *     tqs_series_begin(&series, now(), 1800000u, 3u);          (every half hour; up to three samples are filled)
 *     for (;;) {
 *         for (;;) {                                           (as often as you like, and before each reading)
 *             const tqs_series_step_t step = tqs_series_next(&series, now(), sample);
 *
 *             if (step == TQS_SERIES_NONE) {
 *                 break;
 *             }
 *             if (step == TQS_SERIES_GAP) {
 *                 tqs_reset(&model);                           (a hole that is too long: the window begins anew)
 *             } else {
 *                 tqs_push(&model, sample);
 *             }
 *         }
 *         tqs_series_reading(&series, now(), channel, value);  (whenever a sensor says something)
 *     }
 *
 * Times are a counter of any unit that runs up modulo 2^32, as milliseconds since power-up; call tqs_series_next at
 * least once in 2^31 of them.
 */
#ifndef TQS_SERIES_H
#define TQS_SERIES_H

#include <stdbool.h>
#include <stdint.h>

#include "model.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum {
    TQS_SERIES_NONE,   /* nothing is due */
    TQS_SERIES_SAMPLE, /* a sample, all of it measured */
    TQS_SERIES_FILLED, /* a sample; what was not measured holds its last value */
    TQS_SERIES_GAP     /* there is no sample of this time */
} tqs_series_step_t;

/* The caller owns it; only the functions below write to it. missing[channel] is 0 of what was measured. */
typedef struct {
    float last[TQS_CHANNELS];       /* the sample before, or what was read since */
    bool read[TQS_CHANNELS];        /* since the sample before */
    bool known[TQS_CHANNELS];       /* last is a value that may fill */
    uint32_t missing[TQS_CHANNELS]; /* samples in a row without a reading */
    uint32_t due;                   /* the time of the next sample */
    uint32_t period;
    uint32_t fill; /* samples in a row that may be filled */
} tqs_series_t;

/* The first sample is due one period from now. period: 1 to 2^31 - 1, of the counter's unit. */
void tqs_series_begin(tqs_series_t *series, uint32_t now, uint32_t period, uint32_t fill);

/*
 * One value that was read now, in physical units. False, and nothing is kept, where it is not finite, or where a sample
 * is due that tqs_series_next was not asked for. channel < TQS_CHANNELS.
 */
bool tqs_series_reading(tqs_series_t *series, uint32_t now, uint32_t channel, float value);

/* What is due before now, one at a time, the oldest first; of a hole longer than is filled one gap is said. */
tqs_series_step_t tqs_series_next(tqs_series_t *series, uint32_t now, float sample[TQS_CHANNELS]);

#ifdef __cplusplus
}
#endif

#endif
