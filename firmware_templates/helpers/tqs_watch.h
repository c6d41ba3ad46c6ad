/*
 * What is wrong with a sensor, told from its samples and from what it did in training: the states of
 * edge-tqs-forecastd. tqs_watch_limits are of the data that the model was built with, in physical units.
 *
 *     static tqs_watch_t watch;
 *
 *     tqs_watch_begin(&watch);
 *     state = tqs_watch_value(&watch, tqs_watch_limits, channel, sample[channel]);   (each that was measured)
 */
#ifndef TQS_WATCH_H
#define TQS_WATCH_H

#include <stdint.h>

#include "model.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum {
    TQS_WATCH_OK,
    TQS_WATCH_OUT_OF_RANGE, /* by more than a tenth of the range that training had */
    TQS_WATCH_STUCK         /* the same for twice as long as it ever was in training, and six samples at least */
} tqs_watch_state_t;

/* stuck: samples in a row without a change that are too many; 0: never, of a channel that never changed in training. */
typedef struct {
    float least;
    float greatest;
    uint32_t stuck;
} tqs_watch_limit_t;

extern const tqs_watch_limit_t tqs_watch_limits[TQS_CHANNELS];

/* The caller owns it; only the functions below touch it. */
typedef struct {
    float last[TQS_CHANNELS];
    uint32_t same[TQS_CHANNELS]; /* samples in a row with this value; stays at 2^32 - 1 */
} tqs_watch_t;

void tqs_watch_begin(tqs_watch_t *watch);

/* The state with a new value that was measured, not filled. channel < TQS_CHANNELS. */
tqs_watch_state_t tqs_watch_value(tqs_watch_t *watch, const tqs_watch_limit_t limits[TQS_CHANNELS], uint32_t channel,
                                  float value);

#ifdef __cplusplus
}
#endif

#endif
