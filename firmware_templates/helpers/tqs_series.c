#include "tqs_series.h"

#include <string.h>

/* Whether a time is later than the sample that is due: then nothing can be added to that. */
static bool is_over(const tqs_series_t *series, uint32_t now) {
    const uint32_t since = now - series->due;

    return since != 0u && since < 0x80000000u;
}

void tqs_series_begin(tqs_series_t *series, uint32_t now, uint32_t period, uint32_t fill) {
    memset(series, 0, sizeof *series);
    series->period = period;
    series->fill = fill;
    series->due = now + period;
}

bool tqs_series_reading(tqs_series_t *series, uint32_t now, uint32_t channel, float value) {
    if (is_over(series, now) || !(value - value == 0.0f)) { /* of NaN and infinities the difference is NaN */
        return false;
    }
    series->last[channel] = value;
    series->read[channel] = true;
    return true;
}

tqs_series_step_t tqs_series_next(tqs_series_t *series, uint32_t now, float sample[TQS_CHANNELS]) {
    tqs_series_step_t step = TQS_SERIES_SAMPLE;
    bool nothing = true; /* no channel was read, and none may be filled */
    uint32_t i;

    if (!is_over(series, now)) {
        return TQS_SERIES_NONE;
    }
    for (i = 0; i < TQS_CHANNELS; i++) {
        if (series->read[i]) {
            series->missing[i] = 0;
            series->known[i] = true;
            nothing = false;
        } else {
            if (series->missing[i] != UINT32_MAX) {
                series->missing[i]++;
            }
            if (step == TQS_SERIES_SAMPLE) {
                step = TQS_SERIES_FILLED;
            }
            if (!series->known[i] || series->missing[i] > series->fill) {
                step = TQS_SERIES_GAP;
            } else {
                nothing = false;
            }
        }
        series->read[i] = false;
    }
    memcpy(sample, series->last, sizeof series->last);
    if (step == TQS_SERIES_GAP) {
        /* A value from before the hole never fills one behind it. */
        memset(series->known, 0, sizeof series->known);
    }
    series->due += series->period;
    if (nothing && is_over(series, now)) {
        /* Nothing was read up to now: one gap stands for all samples of the hole. */
        series->due += ((now - series->due - 1u) / series->period + 1u) * series->period;
    }
    return step;
}
