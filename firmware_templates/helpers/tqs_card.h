/*
 * How good the forecasts are on this board: each waits until its truth arrives. For one lead, TQS_CARD_LEAD samples
 * ahead; -DTQS_CARD_LEAD=24 and -DTQS_CARD_ROLLING=336 set it and the samples that errors are means of.
 *
 *     static tqs_card_t card;
 *
 *     tqs_card_begin(&card);
 *     tqs_push(&model, sample);
 *     tqs_forecast(&model, TQS_CARD_LEAD, forecast);
 *     tqs_card_sample(&card, truth, forecast + (TQS_CARD_LEAD - 1) * TQS_OUTPUTS);   (each sample)
 *     if (tqs_card_is_worse(&card, 0)) { the last value would have been better }
 *
 * Errors are running means with a weight of 1 / min(truths, TQS_CARD_ROLLING) for the newest one, so that no past error
 * is kept: after TQS_CARD_ROLLING truths older ones fade out.
 */
#ifndef TQS_CARD_H
#define TQS_CARD_H

#include <stdbool.h>
#include <stdint.h>

#include "model.h"

#ifndef TQS_CARD_LEAD
#define TQS_CARD_LEAD 1u
#endif
#ifndef TQS_CARD_ROLLING
#define TQS_CARD_ROLLING 48u
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* The caller owns it; errors may be read, physical units. */
typedef struct {
    float mae[TQS_OUTPUTS];       /* mean absolute error of the forecasts */
    float naive[TQS_OUTPUTS];     /* the same of repeating the value that was the last one then */
    uint32_t truths[TQS_OUTPUTS]; /* that they are means of; stays at TQS_CARD_ROLLING */
    float forecast[TQS_CARD_LEAD][TQS_OUTPUTS];
    float base[TQS_CARD_LEAD][TQS_OUTPUTS];
    bool waits[TQS_CARD_LEAD];
    uint32_t place;
} tqs_card_t;

void tqs_card_begin(tqs_card_t *card);

/*
 * A new sample. truth: what is measured now of each output; NaN where it is not. forecast: what is forecast for
 * TQS_CARD_LEAD samples from now; NULL where there is none. Physical units.
 */
void tqs_card_sample(tqs_card_t *card, const float truth[TQS_OUTPUTS], const float *forecast);

/* After a hole: what waits would be judged by samples of other times. Errors stay. */
void tqs_card_gap(tqs_card_t *card);

/* Whether forecasts are worse than the last value, by half of TQS_CARD_ROLLING truths at least. output < TQS_OUTPUTS.
 */
bool tqs_card_is_worse(const tqs_card_t *card, uint32_t output);

#ifdef __cplusplus
}
#endif

#endif
