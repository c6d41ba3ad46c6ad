/*
 * The samples and states of a model as bytes, for deep sleep and restarts: what is in RAM is lost there.
 *
 *     static uint8_t kept[TQS_SNAPSHOT_SIZE];      (in memory that lasts, or written to the flash)
 *
 *     tqs_snapshot_save(&model, kept);
 *     ...
 *     if (!tqs_snapshot_load(&model, kept)) {      (damaged, or of another model: the model is as after tqs_reset)
 *     }
 *
 * A forecast in hand is not kept: begin one anew. Bytes are those of this machine, for the same model on the same
 * board.
 */
#ifndef TQS_SNAPSHOT_H
#define TQS_SNAPSHOT_H

#include "tqs_model.h"

#ifdef __cplusplus
extern "C" {
#endif

#define TQS_SNAPSHOT_VERSION 1u

/* Bytes: what it is, half of the model's hash, samples pushed, the window or the states, and a CRC-32 of all. */
#define TQS_SNAPSHOT_HEAD 24u
#if TQS_RECURRENCE == TQS_RECURRENCE_STATEFUL
#define TQS_SNAPSHOT_SIZE                                                                                              \
    (TQS_SNAPSHOT_HEAD + TQS_STATE_SIZE + (TQS_STEPS * TQS_OUTPUTS + (TQS_HELD > 0u) * TQS_CHANNELS) * TQS_CODE_SIZE + \
     4u)
#else
#define TQS_SNAPSHOT_SIZE (TQS_SNAPSHOT_HEAD + TQS_HISTORY + 4u)
#endif

void tqs_snapshot_save(const tqs_model_t *model, uint8_t bytes[TQS_SNAPSHOT_SIZE]);

/* False, and the model is reset, where the bytes are no snapshot of this model. */
bool tqs_snapshot_load(tqs_model_t *model, const uint8_t bytes[TQS_SNAPSHOT_SIZE]);

#ifdef __cplusplus
}
#endif

#endif
