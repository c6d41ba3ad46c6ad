/* The same in physical units. Apart from tqs_model.c, so that a program of codes only links no floating point. */
#include "tqs_model.h"

#include "tqs_graph.h"

#define MOST_CODE ((int32_t)(127u + (TQS_CODE_SIZE - 1u) * (32767u - 127u)))
#define LEAST_CODE (-MOST_CODE - 1)

tqs_code_t tqs_encode(float value, uint32_t channel) {
    const float codes = (value - tqs_sample_mean[channel]) / tqs_sample_step[channel];
    float rest;
    int32_t code;

    if (codes != codes) { /* NaN */
        return TQS_ZERO_POINT;
    }
    /* Beyond a span of 65536 codes all values saturate; inside it the conversion to an integer is defined. */
    if (codes >= 65536.0f) {
        return MOST_CODE;
    }
    if (codes <= -65536.0f) {
        return LEAST_CODE;
    }
    code = (int32_t)codes;
    rest = codes - (float)code; /* exact; adding 0.5 first would round 0.49999997 up to 1 */
    if (rest >= 0.5f) {
        code++;
    }
    if (rest <= -0.5f) {
        code--;
    }
    code += TQS_ZERO_POINT;
    if (code > MOST_CODE) {
        code = MOST_CODE;
    }
    if (code < LEAST_CODE) {
        code = LEAST_CODE;
    }
    return (tqs_code_t)code;
}

float tqs_decode(tqs_code_t code, uint32_t channel) {
    return tqs_output_mean[channel] + tqs_output_step[channel] * (float)(code - TQS_OUTPUT_ZERO_POINT);
}

void tqs_predict(tqs_model_t *model, float out[TQS_STEPS * TQS_OUTPUTS]) {
    tqs_code_t y[TQS_STEPS * TQS_OUTPUTS];
    uint32_t i;

    tqs_predict_q(model, y);
    for (i = 0; i < TQS_STEPS * TQS_OUTPUTS; i++) {
        out[i] = tqs_decode(y[i], i % TQS_OUTPUTS);
    }
}

#if TQS_TASK == TQS_TASK_RECONSTRUCTION && TQS_HISTORY > 0u
float tqs_anomaly(tqs_model_t *model) {
    const float values = (float)(TQS_STEPS * TQS_OUTPUTS);

    return (float)tqs_residual(model) * (tqs_code_step * tqs_code_step / values);
}
#endif

void tqs_push(tqs_model_t *model, const float sample[TQS_CHANNELS]) {
    tqs_code_t codes[TQS_CHANNELS];
    uint32_t i;

    for (i = 0; i < TQS_CHANNELS; i++) {
        codes[i] = tqs_encode(sample[i], i);
    }
    tqs_push_q(model, codes);
}

#if TQS_EXOGENOUS == 0u
void tqs_forecast(tqs_model_t *model, uint32_t horizon, float *out) {
#else
void tqs_forecast_ahead(tqs_model_t *model, uint32_t horizon, const float *ahead, float *out) {
#endif
    uint32_t t;

    tqs_forecast_begin(model);
    for (t = 0; t < horizon; t++) {
        tqs_code_t y[TQS_OUTPUTS];
        uint32_t i;

#if TQS_EXOGENOUS == 0u
        tqs_forecast_next(model, y);
#else
        tqs_code_t known[TQS_EXOGENOUS];

        for (i = 0; i < TQS_CHANNELS; i++) {
            if (tqs_feedback[i] >= TQS_OUTPUTS && tqs_feedback[i] < TQS_OUTPUTS + TQS_EXOGENOUS) {
                known[tqs_feedback[i] - TQS_OUTPUTS] = tqs_encode(*ahead++, i);
            }
        }
        tqs_forecast_next_ahead(model, known, y);
#endif
        for (i = 0; i < TQS_OUTPUTS; i++) {
            *out++ = tqs_decode(y[i], i);
        }
    }
}
