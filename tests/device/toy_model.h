/* A forecaster that is easy to follow by hand, for tests of the server: one state per channel, a few additions. */
#ifndef TQS_MODEL_CONSTANTS_H
#define TQS_MODEL_CONSTANTS_H

#include <stdint.h>

#define TQS_MODEL_NAME "toy"

#define TQS_WINDOW 4u
#define TQS_CHANNELS 3u
#define TQS_OUTPUTS 3u
#define TQS_STEPS 1u
#define TQS_EXOGENOUS 0u
#define TQS_HELD 0u
#define TQS_DRIVEN 0
#define TQS_TASK_FORECAST 0
#define TQS_TASK_RECONSTRUCTION 1
#define TQS_TASK_CLASSES 2
#define TQS_TASK TQS_TASK_FORECAST

typedef int8_t tqs_code_t;
#define TQS_CODE_SIZE 1u

#define TQS_RECURRENCE_NONE 0
#define TQS_RECURRENCE_WINDOWED 1
#define TQS_RECURRENCE_STATEFUL 2
#define TQS_RECURRENCE TQS_RECURRENCE_STATEFUL

#define TQS_HISTORY 0u
#define TQS_STATE_SIZE 3u
#define TQS_ARENA_SIZE 1u

#define TQS_ZERO_POINT (-2)
#define TQS_OUTPUT_ZERO_POINT (-2)
#define TQS_RESCALED 0

extern const uint8_t tqs_model_hash[32];

#endif
