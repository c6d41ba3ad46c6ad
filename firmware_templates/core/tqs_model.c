/* Pushing and forecasting in codes: closed_loop of graph/rollout.py, one sample at a time. No floating point. */
#include "tqs_model.h"

#include <stddef.h>
#include <string.h>

#include "tqs_graph.h"

/* Bytes of a sample. */
#define SAMPLE_SIZE (TQS_CHANNELS * TQS_CODE_SIZE)

/* Bytes of a block of predicted samples. */
#define BLOCK_SIZE (TQS_GRAPH_OUTPUT * TQS_CODE_SIZE)

/* The samples of the block that the forecast has given; without blocks, the one that there is. */
#if TQS_STEPS > 1u
#define GIVEN(model) ((model)->place)
#else
#define GIVEN(model) 1u
#endif

#if TQS_RECURRENCE != TQS_RECURRENCE_STATEFUL
#define LAST_SAMPLE ((TQS_WINDOW - 1u) * TQS_CHANNELS)
#endif

/* The sample that the last step of the forecast becomes. sample: [TQS_CHANNELS]. */
static void feed_back(const tqs_model_t *model, tqs_code_t *sample) {
#if TQS_DRIVEN
    memcpy(sample, model->known, SAMPLE_SIZE);
#else
    const tqs_code_t *y = model->y + (GIVEN(model) - 1u) * TQS_OUTPUTS;
#if TQS_HELD > 0u && TQS_RECURRENCE == TQS_RECURRENCE_STATEFUL
    const tqs_code_t *last = model->work_last;
#elif TQS_HELD > 0u
    const tqs_code_t *last = model->work + LAST_SAMPLE;
#endif
    uint32_t i;

    for (i = 0; i < TQS_CHANNELS; i++) {
#if TQS_HELD > 0u
        if (tqs_feedback[i] == TQS_OUTPUTS + TQS_EXOGENOUS) {
            sample[i] = last[i];
            continue;
        }
#endif
#if TQS_EXOGENOUS > 0u
        if (tqs_feedback[i] >= TQS_OUTPUTS) {
            sample[i] = model->known[tqs_feedback[i] - TQS_OUTPUTS];
            continue;
        }
#endif
#if TQS_RESCALED
        sample[i] = tqs_rescaled[128 + y[tqs_feedback[i]]];
#else
        sample[i] = y[tqs_feedback[i]];
#endif
    }
#endif
}

#if TQS_RECURRENCE != TQS_RECURRENCE_STATEFUL
/* Drops the oldest sample of a window [TQS_WINDOW][TQS_CHANNELS] and appends one [TQS_CHANNELS]. */
static void append(tqs_code_t *window, const tqs_code_t *sample) {
    memmove(window, window + TQS_CHANNELS, TQS_HISTORY - SAMPLE_SIZE);
    memcpy(window + LAST_SAMPLE, sample, SAMPLE_SIZE);
}
#endif

/* TQS_ZERO_POINT is set byte by byte: a byte is a code, or it is 0. */
void tqs_reset(tqs_model_t *model) {
    memset(model, 0, sizeof *model);
#if TQS_RECURRENCE == TQS_RECURRENCE_STATEFUL
    tqs_graph_reset(model->state);
    memset(model->said, TQS_OUTPUT_ZERO_POINT, BLOCK_SIZE);
#if TQS_HELD > 0u
    memset(model->last, TQS_ZERO_POINT, SAMPLE_SIZE);
#endif
#else
    memset(model->history, TQS_ZERO_POINT, TQS_HISTORY);
#endif
    tqs_forecast_begin(model);
}

void tqs_push_q(tqs_model_t *model, const tqs_code_t sample[TQS_CHANNELS]) {
#if TQS_RECURRENCE == TQS_RECURRENCE_STATEFUL
    tqs_graph_run(sample, model->state, model->said, (tqs_code_t *)model->arena);
#if TQS_HELD > 0u
    memcpy(model->last, sample, SAMPLE_SIZE);
#endif
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
    memcpy(model->y, model->said, BLOCK_SIZE);
#if TQS_HELD > 0u
    memcpy(model->work_last, model->last, SAMPLE_SIZE);
#endif
#else
    memcpy(model->work, model->history, TQS_HISTORY);
    memset(model->y, TQS_OUTPUT_ZERO_POINT, BLOCK_SIZE);
#endif
#if TQS_RECURRENCE == TQS_RECURRENCE_WINDOWED
    tqs_graph_reset(model->work_state);
#endif
#if TQS_STEPS > 1u
    /* A stateful model has said its first block; any other starts with one that is used up. */
    model->place = TQS_RECURRENCE == TQS_RECURRENCE_STATEFUL ? 0u : TQS_STEPS;
#endif
    model->step = 0;
}

/* Makes y hold the next sample, computing a block where none is left. Samples reach the graph one step late, so that a
 * step costs nothing after its y. */
static void advance(tqs_model_t *model) {
    if (model->step > 0u) {
        tqs_code_t sample[TQS_CHANNELS];

        feed_back(model, sample);
#if TQS_HELD > 0u && TQS_RECURRENCE == TQS_RECURRENCE_STATEFUL
        memcpy(model->work_last, sample, SAMPLE_SIZE);
#endif
#if TQS_RECURRENCE == TQS_RECURRENCE_STATEFUL
        /* Step 0 is what the graph said after the last push. */
#if TQS_STEPS > 1u
        if (model->place < TQS_STEPS) {
            tqs_graph_advance(sample, model->work_state, (tqs_code_t *)model->arena);
        } else
#endif
        {
            tqs_graph_run(sample, model->work_state, model->y, (tqs_code_t *)model->arena);
        }
#else
        append(model->work, sample);
#endif
    }
#if TQS_STEPS > 1u
    if (model->place < TQS_STEPS) {
        model->place++;
        return;
    }
    model->place = 1;
#endif
#if TQS_RECURRENCE == TQS_RECURRENCE_WINDOWED
    {
        const tqs_code_t *sample = model->work;
        const tqs_code_t *last = model->work + LAST_SAMPLE;

        tqs_graph_reset(model->work_state);
        for (; sample != last; sample += TQS_CHANNELS) {
            tqs_graph_advance(sample, model->work_state, (tqs_code_t *)model->arena);
        }
        tqs_graph_run(last, model->work_state, model->y, (tqs_code_t *)model->arena);
    }
#elif TQS_RECURRENCE == TQS_RECURRENCE_NONE
    tqs_graph_run(model->work, model->y, (tqs_code_t *)model->arena);
#endif
}

void tqs_predict_q(tqs_model_t *model, tqs_code_t y[TQS_STEPS * TQS_OUTPUTS]) {
    tqs_forecast_begin(model);
    advance(model);
    memcpy(y, model->y, BLOCK_SIZE);
    tqs_forecast_begin(model);
}

#if TQS_TASK == TQS_TASK_CLASSES
uint32_t tqs_class(const tqs_code_t y[TQS_OUTPUTS]) {
    uint32_t best = 0;
    uint32_t i;

    for (i = 1; i < TQS_OUTPUTS; i++) {
        if (y[i] > y[best]) {
            best = i;
        }
    }
    return best;
}
#endif

#if TQS_TASK == TQS_TASK_RECONSTRUCTION && TQS_HISTORY > 0u
uint64_t tqs_residual(tqs_model_t *model) {
    uint64_t sum = 0;
    uint32_t i;

    tqs_forecast_begin(model);
    advance(model);
    for (i = 0; i < TQS_GRAPH_OUTPUT; i++) {
        const int32_t difference = model->history[i] - model->y[i];
        const uint32_t distance = (uint32_t)(difference < 0 ? -difference : difference);

        /* Half of the range at most is 65535, whose square has 32 bits. */
        sum += distance * distance;
    }
    tqs_forecast_begin(model);
    return sum;
}
#endif

#if TQS_EXOGENOUS == 0u
void tqs_forecast_next(tqs_model_t *model, tqs_code_t y[TQS_OUTPUTS]) {
#else
void tqs_forecast_next_ahead(tqs_model_t *model, const tqs_code_t known[TQS_EXOGENOUS], tqs_code_t y[TQS_OUTPUTS]) {
#endif
    advance(model);
#if TQS_EXOGENOUS > 0u
    memcpy(model->known, known, TQS_EXOGENOUS * TQS_CODE_SIZE);
#endif
    memcpy(y, model->y + (GIVEN(model) - 1u) * TQS_OUTPUTS, TQS_OUTPUTS * TQS_CODE_SIZE);
    if (model->step != UINT32_MAX) {
        model->step++;
    }
}

const tqs_code_t *tqs_forecast_state(const tqs_model_t *model, uint32_t *size) {
    *size = TQS_STATE_SIZE;
#if TQS_STATE_SIZE > 0u
    return model->work_state;
#else
    (void)model;
    return NULL;
#endif
}
