/* The same in physical units. Apart from tqs_model.c, so that a program of codes only links no floating point. */
#include "tqs_model.h"

#include "tqs_graph.h"

int8_t tqs_encode(float value, uint32_t channel) {
    const float codes = (value - tqs_sample_mean[channel]) / tqs_sample_step[channel];
    float rest;
    int32_t code;

    if (codes != codes) { /* NaN */
        return TQS_ZERO_POINT;
    }
    /* Beyond a span of 256 codes all values saturate; inside it the conversion to an integer is defined. */
    if (codes >= 256.0f) {
        return 127;
    }
    if (codes <= -256.0f) {
        return -128;
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
    if (code > 127) {
        code = 127;
    }
    if (code < -128) {
        code = -128;
    }
    return (int8_t)code;
}

float tqs_decode(int8_t code, uint32_t channel) {
    return tqs_output_mean[channel] + tqs_output_step[channel] * (float)(code - TQS_ZERO_POINT);
}

void tqs_push(tqs_model_t *model, const float sample[TQS_CHANNELS]) {
    int8_t codes[TQS_CHANNELS];
    uint32_t i;

    for (i = 0; i < TQS_CHANNELS; i++) {
        codes[i] = tqs_encode(sample[i], i);
    }
    tqs_push_q(model, codes);
}

void tqs_forecast(tqs_model_t *model, uint32_t horizon, float *out) {
    uint32_t t;

    tqs_forecast_begin(model);
    for (t = 0; t < horizon; t++) {
        int8_t y[TQS_CHANNELS];
        uint32_t i;

        tqs_forecast_next(model, y);
        for (i = 0; i < TQS_CHANNELS; i++) {
            *out++ = tqs_decode(y[i], i);
        }
    }
}
