/* The forecaster as a shared library, for programs that load it by dlopen: ctypes, cffi, a plug-in. Only what is
 * declared here is exported, and only integers and pointers are passed, which every calling convention passes alike. */
#include <string.h>

#include "tqs_model.h"

#define EXPORT __attribute__((visibility("default")))

/* What `tqs_library_about` fills: numbers of model.h, in this order; LIBRARY_VERSION is of this list and of the calls.
 */
enum { LIBRARY_VERSION = 1, ABOUT = 11 };

EXPORT void tqs_library_about(uint32_t about[ABOUT]);
EXPORT void tqs_library_hash(uint8_t hash[32]);
EXPORT void tqs_library_reset(void *model);
EXPORT void tqs_library_push(void *model, const float *sample);
EXPORT uint32_t tqs_library_ready(const void *model);
EXPORT void tqs_library_forecast(void *model, uint32_t horizon, const float *ahead, float *out);
EXPORT void tqs_library_predict(void *model, float *out);
EXPORT uint32_t tqs_library_anomaly(void *model, float *score);

void tqs_library_about(uint32_t about[ABOUT]) {
    const uint32_t numbers[ABOUT] = {
        LIBRARY_VERSION, (uint32_t)sizeof(tqs_model_t),
        TQS_WINDOW,      TQS_CHANNELS,
        TQS_OUTPUTS,     TQS_STEPS,
        TQS_EXOGENOUS,   TQS_HELD,
        TQS_DRIVEN,      TQS_TASK,
        TQS_CODE_SIZE,
    };

    memcpy(about, numbers, sizeof numbers);
}

void tqs_library_hash(uint8_t hash[32]) {
    memcpy(hash, tqs_model_hash, 32);
}

/* model: as many bytes as `tqs_library_about` says, at a multiple of 8; they are all that a forecaster knows, so that a
 * copy of them is another one that has seen the same. */
void tqs_library_reset(void *model) {
    tqs_reset((tqs_model_t *)model);
}

void tqs_library_push(void *model, const float *sample) {
    tqs_push((tqs_model_t *)model, sample);
}

uint32_t tqs_library_ready(const void *model) {
    return tqs_ready((const tqs_model_t *)model) ? 1u : 0u;
}

/* ahead: [horizon][TQS_EXOGENOUS]; not read where that is 0. */
void tqs_library_forecast(void *model, uint32_t horizon, const float *ahead, float *out) {
#if TQS_EXOGENOUS == 0u
    (void)ahead;
    tqs_forecast((tqs_model_t *)model, horizon, out);
#else
    tqs_forecast_ahead((tqs_model_t *)model, horizon, ahead, out);
#endif
}

void tqs_library_predict(void *model, float *out) {
    tqs_predict((tqs_model_t *)model, out);
}

/* Returns 0 for a model that has no score. */
uint32_t tqs_library_anomaly(void *model, float *score) {
#if TQS_TASK == TQS_TASK_RECONSTRUCTION && TQS_HISTORY > 0u
    *score = tqs_anomaly((tqs_model_t *)model);
    return 1u;
#else
    (void)model;
    *score = 0.0f;
    return 0u;
#endif
}
