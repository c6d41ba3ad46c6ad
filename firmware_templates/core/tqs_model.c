/* Pushing and forecasting in codes: closed_loop of edge_tqs/rollout.py, one sample at a time. No floating point. */
#include "tqs_model.h"

#include <stddef.h>
#include <string.h>

#include "tqs_graph.h"

/* The sample that follows y. y: [TQS_CHANNELS], sample: [TQS_CHANNELS]. */
static void feed_back(const int8_t *y, int8_t *sample) {
    uint32_t i;

    for (i = 0; i < TQS_CHANNELS; i++) {
        sample[i] = y[tqs_feedback[i]];
    }
}

#if TQS_RECURRENCE != TQS_RECURRENCE_STATEFUL
/* Drops the oldest sample of a window [TQS_WINDOW][TQS_CHANNELS] and appends one [TQS_CHANNELS]. */
static void append(int8_t *window, const int8_t *sample) {
    memmove(window, window + TQS_CHANNELS, TQS_HISTORY - TQS_CHANNELS);
    memcpy(window + (TQS_HISTORY - TQS_CHANNELS), sample, TQS_CHANNELS);
}
#endif

void tqs_reset(tqs_model_t *model) {
    memset(model, 0, sizeof *model);
#if TQS_RECURRENCE == TQS_RECURRENCE_STATEFUL
    tqs_graph_reset(model->state);
    memset(model->said, TQS_ZERO_POINT, TQS_CHANNELS);
#else
    memset(model->history, TQS_ZERO_POINT, TQS_HISTORY);
#endif
    tqs_forecast_begin(model);
}

void tqs_push_q(tqs_model_t *model, const int8_t sample[TQS_CHANNELS]) {
#if TQS_RECURRENCE == TQS_RECURRENCE_STATEFUL
    tqs_graph_run(sample, model->state, model->said, (int8_t *)model->arena);
#else
    append(model->history, sample);
#endif
    if (model->pushed != UINT32_MAX) {
        model->pushed++;
    }
}

uint32_t tqs_pushed(const tqs_model_t *model) {
    return model->pushed;
}

bool tqs_ready(const tqs_model_t *model) {
    return model->pushed >= TQS_WINDOW;
}

void tqs_forecast_begin(tqs_model_t *model) {
#if TQS_RECURRENCE == TQS_RECURRENCE_STATEFUL
    memcpy(model->work_state, model->state, TQS_STATE_SIZE);
    memcpy(model->y, model->said, TQS_CHANNELS);
#else
    memcpy(model->work, model->history, TQS_HISTORY);
    memset(model->y, TQS_ZERO_POINT, TQS_CHANNELS);
#endif
#if TQS_RECURRENCE == TQS_RECURRENCE_WINDOWED
    tqs_graph_reset(model->work_state);
#endif
    model->step = 0;
}

/* Computes the next y. Samples reach the graph one step late, so that a step costs nothing after its y. */
static void advance(tqs_model_t *model) {
#if TQS_RECURRENCE == TQS_RECURRENCE_STATEFUL
    /* Step 0 is what the graph said after the last push. */
    if (model->step > 0u) {
        int8_t sample[TQS_CHANNELS];

        feed_back(model->y, sample);
        tqs_graph_run(sample, model->work_state, model->y, (int8_t *)model->arena);
    }
#else
    if (model->step > 0u) {
        int8_t sample[TQS_CHANNELS];

        feed_back(model->y, sample);
        append(model->work, sample);
    }
#if TQS_RECURRENCE == TQS_RECURRENCE_WINDOWED
    {
        const int8_t *sample = model->work;
        const int8_t *last = model->work + (TQS_HISTORY - TQS_CHANNELS);

        tqs_graph_reset(model->work_state);
        for (; sample != last; sample += TQS_CHANNELS) {
            tqs_graph_advance(sample, model->work_state, (int8_t *)model->arena);
        }
        tqs_graph_run(last, model->work_state, model->y, (int8_t *)model->arena);
    }
#else
    tqs_graph_run(model->work, model->y, (int8_t *)model->arena);
#endif
#endif
}

void tqs_forecast_next(tqs_model_t *model, int8_t y[TQS_CHANNELS]) {
    advance(model);
    memcpy(y, model->y, TQS_CHANNELS);
    if (model->step != UINT32_MAX) {
        model->step++;
    }
}

const int8_t *tqs_forecast_state(const tqs_model_t *model, uint32_t *size) {
    *size = TQS_STATE_SIZE;
#if TQS_STATE_SIZE > 0u
    return model->work_state;
#else
    (void)model;
    return NULL;
#endif
}
