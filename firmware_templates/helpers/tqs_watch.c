#include "tqs_watch.h"

#include <string.h>

void tqs_watch_begin(tqs_watch_t *watch) {
    memset(watch, 0, sizeof *watch);
}

tqs_watch_state_t tqs_watch_value(tqs_watch_t *watch, const tqs_watch_limit_t limits[TQS_CHANNELS], uint32_t channel,
                                  float value) {
    const tqs_watch_limit_t *limit = &limits[channel];

    /* Two bit patterns of zero are one value; the comparison is meant to be exact. */
    if (watch->same[channel] == 0u || watch->last[channel] < value || watch->last[channel] > value) {
        watch->same[channel] = 1;
    } else if (watch->same[channel] != UINT32_MAX) {
        watch->same[channel]++;
    }
    watch->last[channel] = value;
    if (!(value >= limit->least && value <= limit->greatest)) {
        return TQS_WATCH_OUT_OF_RANGE;
    }
    return limit->stuck != 0u && watch->same[channel] >= limit->stuck ? TQS_WATCH_STUCK : TQS_WATCH_OK;
}
