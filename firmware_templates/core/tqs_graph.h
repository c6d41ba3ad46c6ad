/*
 * What the generated model.c provides to tqs_model.c and tqs_model_float.c. Not for applications: use tqs_model.h.
 */
#ifndef TQS_GRAPH_H
#define TQS_GRAPH_H

#include "model.h"

/* What the graph takes in one evaluation: a window, or one sample. */
#if TQS_RECURRENCE == TQS_RECURRENCE_NONE
#define TQS_GRAPH_INPUT (TQS_WINDOW * TQS_CHANNELS)
#else
#define TQS_GRAPH_INPUT TQS_CHANNELS
#endif

/* What one evaluation predicts: a block of samples, the oldest first. */
#define TQS_GRAPH_OUTPUT (TQS_STEPS * TQS_OUTPUTS)

/* tqs_feedback[i] is the output channel that becomes channel i of the next sample; TQS_OUTPUTS + k says that channel i
 * is the k-th of those that are known ahead, TQS_OUTPUTS + TQS_EXOGENOUS that it holds its last value. */
extern const uint16_t tqs_feedback[TQS_CHANNELS];

/* The code of a sample for each code of a forecast, that of -128 first. */
#if TQS_RESCALED
extern const int8_t tqs_rescaled[256];
#endif

/* physical = mean + step * (code - TQS_ZERO_POINT), per channel of a sample. */
extern const float tqs_sample_mean[TQS_CHANNELS];
extern const float tqs_sample_step[TQS_CHANNELS];
/* The same per channel of a forecast, with TQS_OUTPUT_ZERO_POINT. */
extern const float tqs_output_mean[TQS_OUTPUTS];
extern const float tqs_output_step[TQS_OUTPUTS];
/* The real value of a step of the codes of x, in the model's units. */
extern const float tqs_code_step;

/* Evaluates the graph. x: [TQS_GRAPH_INPUT], y: [TQS_GRAPH_OUTPUT], arena: TQS_ARENA_SIZE bytes, at a word's address.
 */
#if TQS_STATE_SIZE == 0u
void tqs_graph_run(const tqs_code_t *x, tqs_code_t *y, tqs_code_t *arena);
#else
/* state: TQS_STATE_SIZE bytes, brought to the next step in place. */
void tqs_graph_run(const tqs_code_t *x, tqs_code_t *state, tqs_code_t *y, tqs_code_t *arena);

/* All states to the codes of 0.0. */
void tqs_graph_reset(tqs_code_t *state);
#endif

#if TQS_RECURRENCE == TQS_RECURRENCE_WINDOWED || (TQS_RECURRENCE == TQS_RECURRENCE_STATEFUL && TQS_STEPS > 1u)
/* tqs_graph_run without y and without what only y needs. */
void tqs_graph_advance(const tqs_code_t *x, tqs_code_t *state, tqs_code_t *arena);
#endif

/*
 * What an evaluation holds at a point of it: x (point 0), then each state before it, then what each operator has just
 * written. A probe build (make clean all PROBE=1) hands it to the server; in any other nothing is left of these lines.
 */
#ifdef TQS_PROBE
void tqs_probe(uint32_t point, const tqs_code_t *codes, uint32_t count);
#define TQS_PROBE_POINT(point, codes, count) tqs_probe(point, codes, count)
#else
#define TQS_PROBE_POINT(point, codes, count) ((void)(codes))
#endif

#endif
