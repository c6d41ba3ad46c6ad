/*
 * The forecaster: push samples, then roll a forecast forward. docs/c-api.md explains it with an example.
 *
 *     static tqs_model_t model;
 *
 *     tqs_reset(&model);
 *     while (!tqs_ready(&model)) {
 *         tqs_push(&model, sample);          (TQS_CHANNELS floats, physical units)
 *     }
 *     tqs_forecast(&model, 24, forecast);    (24 * TQS_OUTPUTS floats, physical units)
 *
 * There are no globals, no heap and no hidden state: any number of tqs_model_t may be used, each by one thread at a
 * time. The functions with floats are in tqs_model_float.c alone; a program that uses codes only links no floating
 * point.
 */
#ifndef TQS_MODEL_H
#define TQS_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#include "model.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A forecaster in use. The caller owns it; only the functions below touch it. */
typedef struct tqs_model {
#if TQS_HISTORY > 0u
    /* [TQS_WINDOW][TQS_CHANNELS], the samples pushed last, oldest first */
    tqs_code_t history[TQS_HISTORY / TQS_CODE_SIZE];
    tqs_code_t work[TQS_HISTORY / TQS_CODE_SIZE]; /* the same, moved on by the forecast */
#endif
#if TQS_STATE_SIZE > 0u
    tqs_code_t work_state[TQS_STATE_SIZE / TQS_CODE_SIZE]; /* after the last step of the forecast */
#endif
#if TQS_RECURRENCE == TQS_RECURRENCE_STATEFUL
    tqs_code_t state[TQS_STATE_SIZE / TQS_CODE_SIZE]; /* after the sample pushed last */
    tqs_code_t said[TQS_STEPS * TQS_OUTPUTS];         /* y after that sample: the first block of each forecast */
#endif
    tqs_code_t y[TQS_STEPS * TQS_OUTPUTS]; /* the block of samples that the graph predicted last, oldest first */
#if TQS_HELD > 0u && TQS_RECURRENCE == TQS_RECURRENCE_STATEFUL
    tqs_code_t last[TQS_CHANNELS];      /* the sample pushed last, for the channels that hold their value */
    tqs_code_t work_last[TQS_CHANNELS]; /* the sample that the forecast fed last */
#endif
#if TQS_EXOGENOUS > 0u
    tqs_code_t known[TQS_EXOGENOUS]; /* what is known of the time of the last step of the forecast */
#endif
#if TQS_STEPS > 1u
    uint32_t place; /* samples of the block that the forecast has given */
#endif
    uint32_t arena[(TQS_ARENA_SIZE + 3u) / 4u]; /* words: kernels keep halfwords and words in it */
    uint32_t pushed;
    uint32_t step; /* steps of the forecast so far; stays at 2^32 - 1 */
} tqs_model_t;

/* As after power-up: a history of zeros (TQS_ZERO_POINT), zero states, nothing pushed. Call it first. */
void tqs_reset(tqs_model_t *model);

/* One sample in codes. */
void tqs_push_q(tqs_model_t *model, const tqs_code_t sample[TQS_CHANNELS]);

/* One sample in physical units, each value encoded by tqs_encode. */
void tqs_push(tqs_model_t *model, const float sample[TQS_CHANNELS]);

/* Samples pushed since the reset; stays at 2^32 - 1 when it gets there. */
uint32_t tqs_pushed(const tqs_model_t *model);

/* Whether at least TQS_WINDOW samples were pushed. A forecast before that takes the missing ones for zeros. */
bool tqs_ready(const tqs_model_t *model);

/*
 * What the model says of the samples pushed so far, in codes: all values of one evaluation, the oldest sample first.
 * This is the whole of a model that nothing is fed back to (TQS_DRIVEN): push a sample, then ask. A forecast in hand
 * ends.
 */
void tqs_predict_q(tqs_model_t *model, tqs_code_t y[TQS_STEPS * TQS_OUTPUTS]);

/* The same in physical units. */
void tqs_predict(tqs_model_t *model, float out[TQS_STEPS * TQS_OUTPUTS]);

#if TQS_TASK == TQS_TASK_CLASSES
/* The class with the most evidence in y, as tqs_predict_q gives it; of equals the first. */
uint32_t tqs_class(const tqs_code_t y[TQS_OUTPUTS]);
#endif

#if TQS_TASK == TQS_TASK_RECONSTRUCTION && TQS_HISTORY > 0u
/*
 * How far the window pushed last is from what the model makes of it: the sum of squared differences of codes, exact on
 * every machine. It evaluates the model.
 */
uint64_t tqs_residual(tqs_model_t *model);

/* The same as the mean squared difference in the model's units: the score of an anomaly detector. */
float tqs_anomaly(tqs_model_t *model);
#endif

/* Starts a forecast on a copy of what was pushed, which a forecast never changes. */
void tqs_forecast_begin(tqs_model_t *model);

#if TQS_EXOGENOUS == 0u
/* The next step of the forecast in codes, in the order of the model's outputs. It is fed back for the one after it. */
void tqs_forecast_next(tqs_model_t *model, tqs_code_t y[TQS_OUTPUTS]);
#else
/*
 * The same where inputs are known ahead: `known` are their codes, in the order of the channels, at the time that y is
 * predicted for. They are fed with y for the step after it.
 */
void tqs_forecast_next_ahead(tqs_model_t *model, const tqs_code_t known[TQS_EXOGENOUS], tqs_code_t y[TQS_OUTPUTS]);
#endif

/*
 * The states after the last tqs_forecast_next, in the graph's order; *size becomes TQS_STATE_SIZE, their bytes. A model
 * without any gives NULL and 0.
 */
const tqs_code_t *tqs_forecast_state(const tqs_model_t *model, uint32_t *size);

#if TQS_EXOGENOUS == 0u
/* A whole forecast. out: [horizon][TQS_OUTPUTS], physical units. Begins anew each time. */
void tqs_forecast(tqs_model_t *model, uint32_t horizon, float *out);
#else
/* The same where inputs are known ahead. ahead: [horizon][TQS_EXOGENOUS], physical units, of the times predicted. */
void tqs_forecast_ahead(tqs_model_t *model, uint32_t horizon, const float *ahead, float *out);
#endif

/*
 * The code nearest to a value of a sample, in physical units; halfway cases go away from zero. Values out of range and
 * infinities saturate, NaN gives TQS_ZERO_POINT. channel < TQS_CHANNELS.
 */
tqs_code_t tqs_encode(float value, uint32_t channel);

/* The value, in physical units, that a code of a forecast stands for. channel < TQS_OUTPUTS. */
float tqs_decode(tqs_code_t code, uint32_t channel);

#ifdef __cplusplus
}
#endif

#endif
